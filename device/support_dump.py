"""Put what helps to find a fault into one file that may be sent to a stranger.

    doctor, configuration, service, journal, kernel, events, models -> [Part] -> redact -> .tar.gz of texts

Nobody reads a dump before sending it, so that it must be clean by itself: no picture, no password, no address, no name
of a network or a person. What is taken out leaves a mark. A part that cannot be had says why instead of being missing.
"""

import io
import json
import re
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import device
from device.config import load_config
from device.doctor import check_all
from device.errors import UsageError, WastebinError
from device.event_reader import read_counts, read_events
from device.machine import Machine

__all__ = ["Part", "collect", "redact", "write_dump"]

EVENTS: Final = 500
JOURNAL_LINES: Final = 2000

_SECRET_KEY: Final = re.compile(
    r"""(?i)([\w.-]*(?:pass(?:word|phrase|wd)?|secret|token|api_?key|credentials?|psk)["']?\s*[=:]\s*).+"""
)
_BROKEN_OUT: Final = (
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"), "<private key>"),
    (re.compile(r"(?i)\b((?:[a-z][a-z0-9+.-]*)://)[^\s/@:]+:[^\s/@]+@"), r"\1<login>@"),
    (re.compile(r"\b(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-\S+) +[A-Za-z0-9+/=]{40,}(?: +\S+)?"), "<public key>"),
    (re.compile(r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<hardware address>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"), "<e-mail address>"),
    (re.compile(r"\b(?!127\.|0\.)(?:\d{1,3}\.){3}\d{1,3}\b"), "<address>"),
    (re.compile(r"(?i)(?<![\w:.])(?:[0-9a-f]{1,4}:){3,7}(?::?[0-9a-f]{1,4})+\b"), "<address>"),
    (re.compile(r"(?i)\bfe80::[0-9a-f:]+\b"), "<address>"),
    (re.compile(r"/home/[^/\s\"']+"), "/home/<user>"),
    (re.compile(r"(?i)\b(ssid|serial)(\s*[=:]\s*).+"), r"\1\2<taken out>"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a dump: a file name and what is in it."""

    name: str
    text: str


def redact(text: str) -> str:
    """Take out of a text what is nobody's business: keys, passwords, addresses, names of people and networks."""
    text = _SECRET_KEY.sub(r"\1<taken out>", text)
    for pattern, mark in _BROKEN_OUT:
        text = pattern.sub(mark, text)
    return text


def collect(config_path: Path | None, machine: Machine) -> Iterator[Part]:
    """Everything that helps, redacted, part after part; a part that cannot be had tells why."""
    for part in _parts(config_path, machine):
        yield Part(part.name, redact(part.text))


def write_dump(path: Path, parts: Iterator[Part]) -> list[str]:
    """Write the parts into a new `.tar.gz` that only its owner may read, and give their names.

    Raises:
        UsageError: there is something already, or the place cannot be written.
    """
    names = []
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for part in parts:
                    data = part.text.encode("utf-8", "replace")
                    entry = tarfile.TarInfo(f"wastebin-support/{part.name}")
                    entry.size, entry.mtime = len(data), int(time.time())
                    archive.addfile(entry, io.BytesIO(data))
                    names.append(part.name)
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror}; name a new file in a folder of yours") from exc
    return names


def _parts(config_path: Path | None, machine: Machine) -> Iterator[Part]:
    yield Part("about.txt", f"wastebin {device.__version__}, Python {'.'.join(map(str, machine.python))}\n")
    checks = [json.dumps(asdict(check)) for check in check_all(config_path, machine=machine)]
    yield Part("doctor.jsonl", "\n".join(checks) + "\n")
    if config_path is not None:
        yield Part("config.toml", _file(config_path))
    yield from _events(config_path)
    for name in ("etc/os-release", "proc/device-tree/model", "proc/meminfo", "proc/cmdline", "proc/mounts"):
        yield Part(name.replace("/", "-") + ".txt", _file(machine.root / name))
    for name, command in _commands(config_path).items():
        ran = machine.run(command)
        yield Part(name, f"$ {' '.join(command)}\n{ran.output}\n(ended with {ran.returncode})\n")


def _commands(config_path: Path | None) -> dict[str, Sequence[str]]:
    journal = ("journalctl", "--no-pager", "--output", "short-monotonic", "--lines", str(JOURNAL_LINES))
    config = () if config_path is None else ("--config", str(config_path))
    wastebin = str(Path(sys.prefix) / "bin" / "wastebin")
    return {
        "models.txt": (wastebin, "models", "list", "--json", *config),
        "models-status.txt": (wastebin, "models", "status", "--json", *config),
        "packages.txt": (sys.executable, "-m", "pip", "freeze", "--all"),
        "service.txt": ("systemctl", "show", "wastebin.service"),
        "journal.txt": (*journal, "--unit", "wastebin.service"),
        "kernel.txt": (*journal, "--dmesg"),
        "disk.txt": ("df", "-h"),
        "cameras.txt": ("v4l2-ctl", "--list-devices"),
    }


def _events(config_path: Path | None) -> Iterator[Part]:
    try:
        path = load_config(config_path).events_path
        events = [json.dumps(asdict(event)) for event in read_events(path, EVENTS)]
        counts = json.dumps(read_counts(path), indent=1)
    except WastebinError as error:
        yield Part("events.jsonl", f"{error}\n")
        return
    yield Part("events.jsonl", "\n".join(events) + "\n")
    yield Part("counts.json", counts + "\n")


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    except OSError as exc:
        return f"{path}: {exc.strerror}\n"
