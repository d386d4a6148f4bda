"""Look at this machine and say what keeps it from being a bin, each with its cure.

    system, imports, devices, disk, model, configuration -> check_all -> [Check] -> `wastebin doctor`

Must never change anything, touch a pin or open the camera, and never die of what it examines: libraries are imported in
child processes, since a wrong onnxruntime ends Python with SIGILL instead of an error (onnxruntime#23957).
Imports nothing but the standard library at first, so that it also speaks where numpy does not exist.
"""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from device.errors import ConfigError, EventsError, WastebinError
from device.machine import Machine, this_machine

if TYPE_CHECKING:  # it loads numpy
    from device.config import Config

__all__ = ["BundleFacts", "Check", "check_all"]

LEAST_FREE_BYTES: Final = 500_000_000
EARLIEST_S: Final = 1_735_689_600  # 2025-01-01: no wastebin is older
LATEST_S: Final = 4_102_444_800  # 2100-01-01

_IMPORT_PI: Final = "pip install 'wastebin[pi]' (on Raspberry Pi OS also: sudo apt install python3-lgpio)"
_THROTTLED_BITS: Final = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "too hot"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at, a word or two.
        ok: True, False for what must be mended, None for what is worth knowing.
        found: what is there.
        cure: what to do; empty when there is nothing to do.
    """

    name: str
    ok: bool | None
    found: str
    cure: str = ""


class BundleFacts(Protocol):
    """What is told of a verified `bundle.Bundle`."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> str:
        """Sequence number and hash."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Its materials."""
        ...


def check_all(
    config_path: Path | None,
    *,
    machine: Machine | None = None,
    load_bundle: Callable[[Path], BundleFacts] | None = None,
) -> list[Check]:
    """Everything that can be told without touching the hardware, in the order in which to mend it.

    Args:
        config_path: the configuration; None for the built-in one.
        machine: where to look; this one if None.
        load_bundle: verifies the bundle in a folder; `bundle.load_bundle` if None.

    Returns:
        One check only, a refusal, on a 32-bit system: nothing else matters there.
    """
    machine = machine or this_machine()
    system = _check_system(machine)
    if not system.ok:
        return [system]
    checks = [system, _check_python(machine), _check_onnxruntime(machine)]
    checks += [_check_import(machine, "opencv", "cv2", "pip install 'opencv-python-headless>=4.11'")]
    config = None
    if all(check.ok for check in checks):
        config, settings = _check_settings(config_path, load_bundle)
        checks += settings
    else:
        # Reading a configuration loads OpenCV.
        checks += [Check("configuration", None, "not looked at", "mend the lines above, then run: wastebin doctor")]
    checks += _check_camera(machine, config.camera.source if config else "picamera2")
    checks += _check_pins(machine)
    checks += _check_groups(machine)
    if config is not None:
        checks += _check_state(machine, config.events_path)
        checks += _check_calibration(config)
    checks += [_check_clock(machine), _check_throttling(machine), _check_service(machine)]
    return checks


# ---------------------------------------------------------------------------------------------- software


def _check_system(machine: Machine) -> Check:
    if machine.bits == 64:
        return Check("system", True, f"64-bit {machine.arch}")
    return Check(
        "system",
        False,
        f"a {machine.bits}-bit system ({machine.arch}), and onnxruntime has no 32-bit Arm build",
        "write the 64-bit Raspberry Pi OS to the card with Raspberry Pi Imager",
    )


def _check_python(machine: Machine) -> Check:
    found = ".".join(map(str, machine.python))
    if (3, 11) <= machine.python[:2] <= (3, 13):
        return Check("python", True, found)
    return Check(
        "python", False, f"{found}, expected 3.11 to 3.13", "make the venv with another one: python3.11 -m venv"
    )


def _check_import(machine: Machine, name: str, module: str, cure: str) -> Check:
    code = f"import {module}; print('version', getattr({module}, '__version__', 'found'))"
    ran = machine.run([sys.executable, "-c", code])
    lines = ran.output.strip().splitlines() or [""]
    if ran.returncode == 0:
        return Check(name, True, lines[-1].removeprefix("version "))
    if ran.returncode < 0:
        died = signal.Signals(-ran.returncode).name
        return Check(name, False, f"import {module} dies with {died} on this processor", cure)
    return Check(name, False, f"import {module} fails: {lines[-1]}", cure)


def _check_onnxruntime(machine: Machine) -> Check:
    cure = "pip install 'onnxruntime>=1.27,<1.28'"
    check = _check_import(machine, "onnxruntime", "onnxruntime", cure)
    if check.ok and not check.found.startswith("1.27."):
        return Check(
            "onnxruntime", False, f"{check.found}, expected 1.27.x (1.21 crashes, 1.24 to 1.26 leak on Arm)", cure
        )
    return check


# ------------------------------------------------------------------------------------- model and configuration


def _check_settings(
    config_path: Path | None, load: Callable[[Path], BundleFacts] | None
) -> "tuple[Config | None, list[Check]]":
    from device.bundle import load_bundle
    from device.config import load_config
    from device.model import served_path

    where = str(config_path) if config_path else "the built-in one"
    name, cure = "configuration", "correct the file, then run: wastebin doctor"
    try:
        config = load_config(config_path)
    except ConfigError as exc:
        return None, [Check(name, False, problem, cure) for problem in exc.problems]
    try:
        bundle = (load or load_bundle)(served_path(config, None))
    except WastebinError as exc:
        cure = "go back: wastebin models rollback; or install wastebin again, or name another bundle: [model] path"
        model = Check("model", False, str(exc), cure)
        return config, [Check(name, True, where), model]
    model = Check("model", True, f"{bundle.name} {bundle.version}")
    try:
        load_config(config_path, labels=bundle.labels)
    except ConfigError as exc:
        return config, [*(Check(name, False, problem, cure) for problem in exc.problems), model]
    return config, [Check(name, True, where), model]


# ---------------------------------------------------------------------------------------------- hardware


def _check_camera(machine: Machine, source: str) -> list[Check]:
    kind, _, rest = source.partition(":")
    if kind not in ("picamera2", "usb"):
        return [Check("camera", True, f"{source}: needs no hardware")]
    devices = sorted(path.name for path in (machine.root / "dev").glob("video*"))
    if not devices:
        cure = (
            "switch off, seat the ribbon cable, check with: rpicam-hello --list-cameras"
            if kind == "picamera2"
            else "plug the camera in, check with: v4l2-ctl --list-devices"
        )
        return [_needs_hardware(machine, "camera", "there is no /dev/video*", cure)]
    if kind == "usb":
        wanted = f"video{rest}"
        if rest.isdecimal() and wanted not in devices:
            cure = f"[camera] source: choose one of {', '.join('usb:' + name[5:] for name in devices)}"
            return [Check("camera", False, f"there is no /dev/{wanted}", cure)]
        return [Check("camera", True, f"/dev/{wanted}")]
    cure = (
        "sudo apt install python3-picamera2, then make the venv with: python3 -m venv --system-site-packages "
        "(pip cannot build it)"
    )
    return [Check("camera", True, f"/dev/{devices[0]}"), _check_import(machine, "picamera2", "picamera2", cure)]


def _check_pins(machine: Machine) -> list[Check]:
    chips = sorted((machine.root / "dev").glob("gpiochip*"))
    if not chips:
        cure = "use a Raspberry Pi OS kernel; without pins: wastebin run --pins mock"
        return [_needs_hardware(machine, "pins", "there is no /dev/gpiochip*", cure)]
    closed = [chip.name for chip in chips if not machine.can_write(chip)]
    if closed:
        cure = "sudo usermod -aG gpio $USER, then log in anew"
        check = Check("pins", False, f"no permission for {', '.join('/dev/' + name for name in closed)}", cure)
    else:
        check = Check("pins", True, ", ".join(f"/dev/{chip.name}" for chip in chips))
    return [check, _check_import(machine, "lgpio", "lgpio", _IMPORT_PI)]


def _needs_hardware(machine: Machine, name: str, found: str, cure: str) -> Check:
    if machine.is_pi:
        return Check(name, False, found, cure)
    return Check(name, None, f"{found}; this is no Raspberry Pi", "try it with a simulated bin: wastebin demo")


def _check_groups(machine: Machine) -> list[Check]:
    if machine.is_root:
        return [Check("groups", True, "root")]
    if not machine.is_pi:
        return []
    missing = [name for name in ("video", "gpio") if name not in machine.groups]
    if missing:
        cure = f"sudo usermod -aG {','.join(missing)} $USER, then log in anew"
        return [Check("groups", False, f"this user is not in {' and '.join(missing)}", cure)]
    return [Check("groups", True, "video, gpio")]


def _check_throttling(machine: Machine) -> Check:
    """Under-voltage and heat, now and since the start: bits 0-3 and 16-19 of the firmware's word."""
    name, cure = (
        "power and heat",
        "use the official 5 V supply and a short cable, servos on a supply of their own; add a heat sink",
    )
    found = _read_throttled(machine)
    if found is None:
        return Check(name, None, "the firmware does not tell" if machine.is_pi else "known on a Raspberry Pi only")
    now = [word for bit, word in _THROTTLED_BITS.items() if found >> bit & 1]
    past = [word for bit, word in _THROTTLED_BITS.items() if found >> (bit + 16) & 1]
    if now:
        return Check(name, False, f"now: {', '.join(now)}", cure)
    if past:
        return Check(name, None, f"since the start: {', '.join(past)}", cure)
    return Check(name, True, "good, now and since the start")


def _read_throttled(machine: Machine) -> int | None:
    # soc/soc:firmware up to the Pi 4, soc@107c000000/... on the Pi 5
    for path in sorted((machine.root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        try:
            return int(path.read_text(encoding="ascii"), 16)
        except (OSError, ValueError):
            continue
    ran = machine.run(["vcgencmd", "get_throttled"])
    text = ran.output.strip().removeprefix("throttled=")
    try:
        return int(text, 16) if ran.returncode == 0 else None
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------- disk and clock


def _check_state(machine: Machine, events_path: Path) -> list[Check]:
    folder = events_path.parent
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = machine.free_bytes(there)
    free_text = f"{free / 1e6:,.0f} MB free at {there}"
    cure = "free some space: sudo apt clean; sudo journalctl --vacuum-size=50M"
    enough = Check("disk", True, free_text) if free >= LEAST_FREE_BYTES else Check("disk", False, free_text, cure)
    if not machine.can_write(there):
        cure = f"sudo mkdir -p {folder} && sudo chown $USER {folder}; or set [events] path"
        return [enough, Check("state folder", False, f"{there} is not writable for this user", cure)]
    return [enough, Check("state folder", True, str(folder)), _check_events(events_path)]


def _check_calibration(config: "Config") -> list[Check]:
    """What `wastebin calibrate` has left; nothing is said where it never ran."""
    from device.calibration import load_calibration

    found, damaged = load_calibration(config.events_path.parent)
    name, cure = "calibration", "run: wastebin calibrate"
    if damaged is not None:
        return [Check(name, False, damaged, cure)]
    if not found.done:
        return []
    if found.camera != config.camera.source:
        return [Check(name, None, f"made with {found.camera}, and the bin has {config.camera.source}", cure)]
    steps = [f"{step}: {done.sentence}" for step, done in sorted(found.done.items()) if not done.ok]
    if steps:
        return [Check(name, None, "; ".join(steps), cure)]
    newest = max(done.at for done in found.done.values())
    return [Check(name, True, f"{', '.join(sorted(found.done))}, newest {newest}")]


def _check_events(path: Path) -> Check:
    from device.event_reader import read_events

    aside = [part for part in path.parent.glob(f"{path.name}.corrupt.*") if not part.name.endswith(("-wal", "-shm"))]
    if aside:
        names = ", ".join(sorted(part.name for part in aside))
        return Check("events", None, f"damaged and set aside: {names}", "replace the card if this happens again")
    if not path.exists():
        return Check("events", True, f"{path}: none yet")
    try:
        newest = read_events(path, limit=1)
    except EventsError as exc:
        return Check(
            "events", False, str(exc), f"start the bin, it sets a damaged file aside; or: sudo chown $USER {path}"
        )
    return Check("events", True, f"{path}: newest {newest[0].at if newest else 'none yet'}")


def _check_clock(machine: Machine) -> Check:
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(machine.wall_s))
    if EARLIEST_S <= machine.wall_s < LATEST_S:
        return Check("clock", True, day)
    # Logic runs on the monotonic clock; only what people read is wrong.
    return Check("clock", None, f"{day} cannot be right", "sudo timedatectl set-ntp true, or wait for the network")


def _check_service(machine: Machine) -> Check:
    for folder in ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"):
        if (machine.root / folder / "wastebin.service").exists():
            return Check("service", True, f"/{folder}/wastebin.service")
    return Check("service", None, "does not start by itself", "sudo wastebin install")
