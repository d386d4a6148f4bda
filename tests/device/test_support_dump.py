"""What leaves the house in a dump, and what does not."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from device.doctor import check_all
from device.errors import UsageError
from device.events import Event, EventLog
from device.machine import Machine, Ran
from device.support_dump import Part, collect, redact, write_dump

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGzI4Y0v2o3uW6o7m6y8V3P6nD5lKqkq0V5l9y2mW1aB"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('password = "hunter2"', "password = <taken out>"),
        ("  mqtt_password: hunter2 # x", "  mqtt_password: <taken out>"),
        ('"api_key": "abc",', '"api_key": <taken out>'),
        ("Environment=A=1 WASTEBIN_TOKEN=abc", "Environment=A=1 WASTEBIN_TOKEN=<taken out>"),
        ('broker = "mqtt://anna:hunter2@broker:1883"', 'broker = "mqtt://<login>@broker:1883"'),
        (f"ssh-ed25519 {KEY} anna@laptop", "<public key>"),
        (f'restrict,command="x" ssh-ed25519 {KEY}', 'restrict,command="x" <public key>'),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx\ny\n-----END OPENSSH PRIVATE KEY-----", "<private key>"),
        ("link up dc:a6:32:01:ab:CD", "link up <hardware address>"),
        ("from 192.168.1.17 port 22", "from <address> port 22"),
        ("from fe80::1c2d:3ff:fe00:1 port 22", "from <address> port 22"),
        ("from 2001:db8:1:2:3:4:5:6", "from <address>"),
        ("mail anna.b@example.org now", "mail <e-mail address> now"),
        ("/home/anna/bin.toml", "/home/<user>/bin.toml"),
        ("ssid=Annas WLAN", "ssid=<taken out>"),
        ("Serial\t\t: 100000001234abcd", "Serial\t\t: <taken out>"),
    ],
)
def test_what_is_nobodys_business_leaves_a_mark(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 and 0.0.0.0",
        "onnxruntime 1.27.0, opencv 4.11.0",
        "2025-11-23T00:00:00.000+00:00 12:34:56",
        "[  12.345678] camera usb:0: no new frame for 2 s",
        "/var/lib/wastebin/events.db",
        "error: camera usb:0: not there",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact(text) == text


def machine(root: Path) -> Machine:
    def run(command: Sequence[str]) -> Ran:
        if command[0] == "systemctl":
            return Ran(0, "Environment=TOKEN=abc\nActiveState=active")
        return Ran(127, f"{command[0]} is not installed")

    (root / "etc").mkdir()
    (root / "etc/os-release").write_text('PRETTY_NAME="Debian"\n')
    return Machine(
        64, "aarch64", (3, 11, 2), root, frozenset(), False, 1763856000.0, run, lambda _: 10**9, lambda _: True
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "bin.toml"
    path.write_text('[events]\npath = "events.db"\n')
    with EventLog(tmp_path / "events.db") as log:
        log.add(Event("fault", "camera at 10.1.2.3 is gone"))
        log.count("jam", 2)
    return path


def test_a_dump_holds_every_part_redacted(config: Path, tmp_path: Path) -> None:
    parts = {part.name: part.text for part in collect(config, machine(tmp_path))}
    assert set(parts) == {
        "about.txt", "doctor.jsonl", "config.toml", "events.jsonl", "counts.json", "etc-os-release.txt",
        "proc-device-tree-model.txt", "proc-meminfo.txt", "proc-cmdline.txt", "proc-mounts.txt", "models.txt",
        "models-status.txt", "packages.txt", "service.txt", "journal.txt", "kernel.txt", "disk.txt", "cameras.txt",
    }  # fmt: skip
    assert json.loads(parts["events.jsonl"])["detail"] == "camera at <address> is gone"
    assert json.loads(parts["counts.json"]) == {"jam": 2}
    assert parts["config.toml"] == config.read_text()
    assert "ActiveState=active\n(ended with 0)" in parts["service.txt"]
    assert "abc" not in parts["service.txt"]
    # What cannot be had says why.
    assert parts["journal.txt"].splitlines()[1] == "journalctl is not installed"
    assert parts["proc-meminfo.txt"].endswith("No such file or directory\n")
    checks = [json.loads(line)["name"] for line in parts["doctor.jsonl"].splitlines()]
    assert checks == [check.name for check in check_all(config, machine=machine(tmp_path / "etc"))]


def test_a_bin_without_events_says_so_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "bin.toml").write_text('[events]\npath = "none.db"\n')
    parts = {part.name: part.text for part in collect(tmp_path / "bin.toml", machine(tmp_path))}
    assert "none.db" in parts["events.jsonl"]
    assert "counts.json" not in parts


def test_a_dump_is_a_new_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "dump.tar.gz"
    assert write_dump(path, iter([Part("a.txt", "é"), Part("b.txt", "")])) == ["a.txt", "b.txt"]
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["wastebin-support/a.txt", "wastebin-support/b.txt"]
        member = archive.extractfile("wastebin-support/a.txt")
        assert member is not None
        assert member.read() == "é".encode()
    with pytest.raises(UsageError, match="File exists; name a new file"):
        write_dump(path, iter([]))
