"""The service file, as systemd itself reads it."""

import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "wastebin.service"
WATCHDOG = UNIT.with_name("wastebin-watchdog.conf")
PROGRAMS = "/opt/wastebin/bin"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy whose program exists, since `systemd-analyze verify` insists on it."""
    for name in ("wastebin", "python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(PROGRAMS, str(tmp_path)))
    return copy


def settings() -> list[tuple[str, str]]:
    return re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_accepts_the_unit_without_a_word(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_complain_about_a_unit_that_is_wrong(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("RestartSec=2", "RestartSteps=5"))
    assert "RestartSteps" in analyze("verify", "--man=no", str(unit)).stderr


def test_the_service_is_shut_in(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(unit))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_service_comes_back_after_everything_but_a_wrong_configuration() -> None:
    assert [entry for entry in settings() if entry[0].startswith(("Restart", "StartLimit"))] == [
        ("StartLimitIntervalSec", "0"),
        ("Restart", "always"),
        ("RestartSec", "2"),
        ("RestartPreventExitStatus", "78"),
    ]


def test_systemd_hears_of_a_bin_that_is_ready_and_ends_one_that_hangs() -> None:
    names = ("Type", "NotifyAccess", "TimeoutStartSec", "WatchdogSec", "TimeoutAbortSec", "TimeoutStopSec")
    assert {key: value for key, value in settings() if key in names} == {
        "Type": "notify",
        "NotifyAccess": "main",
        "TimeoutStartSec": "60",
        "WatchdogSec": "10",
        "TimeoutAbortSec": "3",
        "TimeoutStopSec": "10",
    }


def test_the_boards_own_watchdog_is_the_last_net(tmp_path: Path) -> None:
    # The manager's own configuration has no checker: systemd-analyze shows what it would read.
    folder = tmp_path / "etc" / "systemd" / "system.conf.d"
    folder.mkdir(parents=True)
    (folder / WATCHDOG.name).write_text(WATCHDOG.read_text())
    done = analyze("cat-config", f"--root={tmp_path}", "systemd/system.conf")
    read = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    assert read == ["[Manager]", "RuntimeWatchdogSec=10", "RebootWatchdogSec=2min"]


def test_the_flaps_are_parked_also_after_a_kill() -> None:
    commands = dict(settings())
    assert commands["ExecStart"] == f"{PROGRAMS}/wastebin run --config /etc/wastebin/config.toml"
    assert commands["ExecStopPost"] == f"-{PROGRAMS}/python -P -m device.park /etc/wastebin/config.toml"


def test_lgpio_and_python_write_to_memory_only_and_keep_little_of_it() -> None:
    found = [value for key, value in settings() if key in ("WorkingDirectory", "Environment", "RuntimeDirectory")]
    assert found == [
        "wastebin",
        "%t/wastebin",
        "LG_WD=%t/wastebin",
        "PYTHONPYCACHEPREFIX=%t/wastebin/pycache",
        "MALLOC_MMAP_THRESHOLD_=1048576",
        "MALLOC_TRIM_THRESHOLD_=4194304",
    ]


def test_every_device_that_a_bin_needs_is_allowed_by_class() -> None:
    assert [value for key, value in settings() if key == "DeviceAllow"] == [
        "char-gpiochip rw",
        "char-video4linux rw",
        "char-media rw",
        "char-dma_heap rw",
        "/dev/vcio rw",
    ]
    # Each of these would hide what camera and pins need: devices, and the Pi's revision in /proc.
    assert not {"PrivateDevices", "ProcSubset", "PrivateUsers"} & {key for key, _ in settings()}
