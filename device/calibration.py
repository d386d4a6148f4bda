"""What `wastebin calibrate` has found out about one bin, kept beside its events.

    Session.save -> calibration.json, calibration.last-good.json -> load_calibration -> apply -> Config

The file carries a checksum over its content: a card that rots, or a hand that edits, must not move a servo to a place
that nobody tried. A file that is damaged or names what this bin does not have is not used; the last good copy is, and
whoever loads it is told so in a sentence. It must never keep a bin from starting.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from device.camera.locks import AUTOMATIC, Locks
from device.config_types import Config
from device.durable import Files, replace_file
from device.errors import CalibrationError
from device.outputs import HARD_LIMITS_US, DiverterOutputs, LedOutputs, OutputsConfig, PinnedServo
from device.region import LEAST_REGION_PX

__all__ = ["FILE", "LAST_GOOD", "Calibration", "Done", "apply", "load_calibration", "save_calibration"]

FILE: Final = "calibration.json"
LAST_GOOD: Final = "calibration.last-good.json"
FORMAT: Final = "wastebin-calibration-1"


@dataclass(frozen=True, slots=True)
class Done:
    """What one step came to, for people.

    Attributes:
        at: when, ISO 8601 in UTC.
        ok: nothing is left to do.
        sentence: what was found.
    """

    at: str
    ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of one bin; None or empty leaves what the configuration says.

    Attributes:
        camera: the spec of the camera that it was found with; another camera is not held at these values.
        locks: see `camera.locks.Locks`.
        size_px: of the picture that `region` belongs to.
        region: x, y, width, height in px.
        pulses_us: flap -> (closed, open).
        positions_us: bin -> (pan, tilt) of a diverter.
        led_pins_bcm: lamp -> pin.
        threads: of one inference.
        rate_hz: frames a second.
        done: step -> what it came to.
    """

    camera: str = ""
    locks: Locks = AUTOMATIC
    size_px: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    pulses_us: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    positions_us: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    led_pins_bcm: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    rate_hz: float | None = None
    done: Mapping[str, Done] = field(default_factory=dict)


NOTHING: Final = Calibration()


def load_calibration(folder: Path) -> tuple[Calibration, str | None]:
    """Read what was kept.

    Args:
        folder: of the bin's state.

    Returns:
        The calibration, and a sentence where the file is damaged and the last good copy, or nothing, stands in for it.
    """
    try:
        return _read(folder / FILE), None
    except FileNotFoundError:
        if not (folder / LAST_GOOD).exists():
            return NOTHING, None
        trouble = f"{folder / FILE}: it is missing"
    except CalibrationError as error:
        trouble = str(error)
    try:
        return _read(folder / LAST_GOOD), f"{trouble}; the last good copy is used, run: wastebin calibrate"
    except (FileNotFoundError, CalibrationError):
        return NOTHING, f"{trouble}, and there is no good copy; the bin runs uncalibrated, run: wastebin calibrate"


def save_calibration(folder: Path, calibration: Calibration, files: Files | None = None) -> Path:
    """Keep a calibration; what was there and is whole becomes the last good copy first.

    Raises:
        CalibrationError: it cannot be written.
    """
    files = files or Files()
    content = json.dumps(asdict(calibration), sort_keys=True)
    document = {"format": FORMAT, "sha256": _digest(content), "calibration": json.loads(content)}
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
        try:
            _read(path)
            before: bytes | None = path.read_bytes()
        except (FileNotFoundError, CalibrationError):
            before = None if (folder / LAST_GOOD).exists() else data
        if before is not None:
            replace_file(files, folder / LAST_GOOD, before)
        replace_file(files, path, data)
        files.sync(folder)
    except OSError as error:
        raise CalibrationError(
            f"{path}: the calibration was not kept ({error.strerror}); see: wastebin doctor"
        ) from error
    return path


def apply(config: Config, calibration: Calibration) -> Config:
    """The configuration with what was found out; what no longer fits it, such as a renamed flap, is left out.

    Args:
        config: of the bin; where its camera is another than the calibrated one, the camera's part is not used.
    """
    camera = config.camera
    if calibration.camera == camera.source:
        region = calibration.region if calibration.size_px == camera.size_px else None
        camera = replace(
            camera,
            locks=calibration.locks,
            region=camera.region if region is None else region,
            rate_hz=camera.rate_hz if calibration.rate_hz is None else calibration.rate_hz,
        )
    model = config.model if calibration.threads is None else replace(config.model, threads=calibration.threads)
    return replace(config, camera=camera, model=model, outputs=_outputs(config, calibration))


def _outputs(config: Config, calibration: Calibration) -> OutputsConfig:
    outputs = config.outputs
    if isinstance(outputs, LedOutputs):
        pins = [calibration.led_pins_bcm.get(led.name, led.pin_bcm) for led in outputs.leds]
        if len({*pins, outputs.alarm_pin_bcm}) != len(pins) + 1:
            return outputs
        return replace(
            outputs, leds=tuple(replace(led, pin_bcm=pin) for led, pin in zip(outputs.leds, pins, strict=True))
        )
    if isinstance(outputs, DiverterOutputs):
        positions = {name: calibration.positions_us.get(name, pair) for name, pair in outputs.positions_us.items()}
        pan, tilt = (
            _reaching(servo, *pulses)
            for servo, pulses in zip((outputs.pan, outputs.tilt), zip(*positions.values(), strict=True), strict=True)
        )
        return replace(outputs, pan=pan, tilt=tilt, positions_us=positions)
    flaps, open_us = [], dict(outputs.open_us)
    for flap in outputs.flaps:
        closed, opened = calibration.pulses_us.get(flap.name, (flap.rest_us, open_us[flap.name]))
        flaps.append(replace(_reaching(flap, closed, opened), rest_us=closed))
        open_us[flap.name] = opened
    return replace(outputs, flaps=tuple(flaps), open_us=open_us)


def _reaching(servo: PinnedServo, *pulses_us: int) -> PinnedServo:
    """With limits that let it go where somebody has seen it stand."""
    return replace(servo, min_us=min(servo.min_us, *pulses_us), max_us=max(servo.max_us, *pulses_us))


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _read(path: Path) -> Calibration:
    """One file; FileNotFoundError, or CalibrationError with what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: cannot be read ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CalibrationError(f"{path}: no calibration of this version, expected format {FORMAT}")
    table = document.get("calibration")
    if document.get("sha256") != _digest(json.dumps(table, sort_keys=True)):
        raise CalibrationError(f"{path}: damaged, its checksum is not that of its content")
    if not isinstance(table, dict):
        raise CalibrationError(f"{path}: holds no calibration")
    return _parse(path, table)


def _parse(path: Path, table: dict[str, Any]) -> Calibration:
    try:
        table = dict(table)
        done = {str(name): Done(**entry) for name, entry in dict(table.pop("done", {})).items()}
        pulses, positions = (
            {str(name): (int(a), int(b)) for name, (a, b) in dict(table.pop(key, {})).items()}
            for key in ("pulses_us", "positions_us")
        )
        pins = {str(name): int(pin) for name, pin in dict(table.pop("led_pins_bcm", {})).items()}
        locks = dict(table.pop("locks", {}))
        for name in ("balance", "colour_gains"):
            if locks.get(name) is not None:
                locks[name] = tuple(float(gain) for gain in locks[name])
        for name in ("size_px", "region"):
            if table.get(name) is not None:
                table[name] = tuple(int(each) for each in table[name])
        found = Calibration(
            locks=Locks(**locks), pulses_us=pulses, positions_us=positions, led_pins_bcm=pins, done=done, **table
        )
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: holds no calibration ({error})") from error
    low, high = HARD_LIMITS_US
    if any(not low <= pulse <= high for pair in (*pulses.values(), *positions.values()) for pulse in pair):
        raise CalibrationError(f"{path}: a pulse is outside {low} to {high} microseconds")
    if len(found.locks.balance) != 3 or not all(0.1 <= gain <= 10 for gain in found.locks.balance):
        raise CalibrationError(f"{path}: balance is {found.locks.balance}, expected three factors of 0.1 to 10")
    region, size_px = found.region, found.size_px
    if region is not None:
        is_inside = (
            len(region) == 4
            and size_px is not None
            and len(size_px) == 2
            and min(region[:2]) >= 0
            and min(region[2:]) >= LEAST_REGION_PX
            and region[0] + region[2] <= size_px[0]
            and region[1] + region[3] <= size_px[1]
        )
        if not is_inside:
            raise CalibrationError(f"{path}: region {region} is not inside a picture of {size_px}")
    return found
