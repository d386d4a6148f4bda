"""Move each flap to its ends, see that it opens where it should, and find the servos that stand the wrong way round.

    a thing in the tray, the pulse that opens -> did it fall? -> Calibration.pulses_us
    a diverter at each of its places -> a person -> Calibration.positions_us

A servo tells nobody where it stands. Here the tray tells: what lies in it is gone once a flap has opened under it. If
it falls on the way *back*, the two ends are exchanged. Where the tray cannot tell, the person is asked. Every move ends
with the pulses off (gpiozero#248), and no pulse leaves the limits that somebody has set for that servo.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.calibration import apply
from device.camera.frame import Rgb
from device.errors import CalibrationError
from device.outputs import HARD_LIMITS_US, PAN, TILT, DiverterOutputs, LedOutputs
from device.region import Region

__all__ = ["check_flaps"]

FELL_LEVELS = 14.0
FELL_SHARE = 0.004
"""A tray that differs by so many levels on so much of the region is another tray than before."""

STILL_S = 0.3
MOST_LOOKS = 30
"""Nothing may move in view for so long before a flap does; after so many looks nobody waits any longer."""


def check_flaps(place: Place, *, flap: str | None = None) -> Outcome:
    """Prove the ends of every flap, or the place of a diverter for every bin.

    Args:
        flap: only this one, or only this bin's place.
    """
    outputs = apply(place.config, place.calibration).outputs
    if isinstance(outputs, LedOutputs):
        return StepResult("flaps", True, (), (), "nothing to do: this bin has lamps"), place.calibration
    known = [bin_.name for bin_ in place.config.site.bins]
    if flap is not None and flap not in known:
        sentence = f"no flap {flap!r}; there is {', '.join(map(repr, known))}"
        return StepResult("flaps", False, ("flap",), (), sentence), place.calibration
    names = known if flap is None else [flap]
    if isinstance(outputs, DiverterOutputs):
        return _check_diverter(place, outputs, names)
    ends = {each.name: (each.rest_us, outputs.open_us[each.name]) for each in outputs.flaps}
    found: list[str] = []
    cured: list[str] = []
    told: list[str] = []
    low, high = HARD_LIMITS_US
    pulses = dict(place.calibration.pulses_us)
    for name in names:
        closed, ending = (
            _jog(place, name, f"{name}: pulse of the {end} flap", us)
            for end, us in zip(("closed", "open"), ends[name], strict=True)
        )
        if not (low <= closed <= high and low <= ending <= high) or closed == ending:
            found.append(f"limits:{name}")
            told.append(f"{name}: {closed} and {ending} µs, expected two different pulses of {low} to {high}")
            continue
        opens = _opens(place, name, closed, ending)
        if opens is None:
            found.append(f"servo:{name}")
            told.append(f"{name}: nothing falls at {closed} or {ending} µs; check its plug, its horn and its supply")
            continue
        if not opens:
            found.append(f"servo:{name}")
            cured.append(f"servo:{name}")
            told.append(f"{name}: its ends were exchanged; closed is now {ending} µs, open {closed} µs")
            closed, ending = ending, closed
        if (closed, ending) != ends[name]:
            pulses[name] = (closed, ending)
    ok = set(found) == set(cured)
    sentence = "; ".join(told) or "right: every flap opens and closes, as far as somebody looked"
    figures: dict[str, float | str] = {"flaps": float(len(names))}
    result = StepResult("flaps", ok, tuple(found), tuple(cured), sentence, figures, place.picture)
    return result, replace(place.calibration, pulses_us=pulses)


def _check_diverter(place: Place, outputs: DiverterOutputs, names: Sequence[str]) -> Outcome:
    """Turn and tip the tray towards each bin; where it stands then only a person can tell."""
    low, high = HARD_LIMITS_US
    positions = dict(place.calibration.positions_us)
    found, told, is_seen = [], [], True
    for name in names:
        was = pan_us, tilt_us = outputs.positions_us[name]
        _move(place, PAN, pan_us)
        pan_us = _jog(place, PAN, f"{name}: pulse of the pan servo", pan_us)
        if low <= pan_us <= high:
            _move(place, TILT, tilt_us)
            tilt_us = _jog(place, TILT, f"{name}: pulse of the tilt servo", tilt_us)
        tips = place.person.tell(f"{name}: does the tray tip into this bin?")
        # Level before it turns, so that nothing slides into the next bin.
        _move(place, TILT, outputs.tilt.rest_us)
        _move(place, PAN, outputs.pan.rest_us)
        is_seen = is_seen and tips is not None
        if not (low <= pan_us <= high and low <= tilt_us <= high):
            found.append(f"limits:{name}")
            told.append(f"{name}: {pan_us} and {tilt_us} µs, expected pulses of {low} to {high}")
        elif tips is False:
            found.append(f"servo:{name}")
            told.append(f"{name}: the tray does not tip there at {pan_us} and {tilt_us} µs; run this step again")
        elif (pan_us, tilt_us) != was:
            positions[name] = (pan_us, tilt_us)
            told.append(f"{name}: now {pan_us} and {tilt_us} µs")
    sentence = "; ".join(told) or ("right: the tray tips into every bin" if is_seen else "moved; nobody looked where")
    figures: dict[str, float | str] = {"places": float(len(names))}
    result = StepResult("flaps", not found, tuple(found), (), sentence, figures, place.picture)
    return result, replace(place.calibration, positions_us=positions)


def _jog(place: Place, servo: str, what: str, pulse_us: int) -> int:
    """Let a person move a servo step by step until it stands where it shall."""
    low, high = HARD_LIMITS_US
    while True:
        wanted_us = place.person.number(f"{what} in µs; another number moves it there", pulse_us)
        if wanted_us == pulse_us or not low <= wanted_us <= high:
            return wanted_us
        _move(place, servo, wanted_us)
        pulse_us = wanted_us


def _opens(place: Place, name: str, closed_us: int, open_us: int) -> bool | None:
    """True where it opens at `open_us`, False where it does at `closed_us`, None where at neither."""
    _move(place, name, closed_us)
    place.show(Shown.NOTHING)
    empty = place.see(2)
    has_item = place.show(Shown.ITEM)
    if not has_item:
        _move(place, name, open_us)
        seen = place.person.tell(f"{name}: is it open now?")
        _move(place, name, closed_us)
        return True if seen is None else seen
    if not _differs(place, empty, place.see(3)):
        # Nothing to see: what lies there fell at once, or has the colour of the tray.
        return place.person.tell(f"{name}: does it open at {open_us} µs?")
    _move(place, name, open_us)
    fell_there = not _differs(place, empty, place.see(3))
    _move(place, name, closed_us)
    if fell_there:
        return True
    return False if not _differs(place, empty, place.see(3)) else None


def _move(place: Place, name: str, pulse_us: int) -> None:
    """Go there once nothing moves in view, and end the pulses.

    Raises:
        CalibrationError: something goes on moving.
    """
    outputs = place.config.outputs
    before = place.see(2)
    for _ in range(MOST_LOOKS):
        now = place.see_s(STILL_S)
        if not _differs(place, before, now):
            break
        before = now
    else:
        raise CalibrationError(f"{name}: something moves in view, and no flap moves then; take your hand away, again")
    place.bench.pulse(name, pulse_us)
    place.see_s(0.0 if isinstance(outputs, LedOutputs) else outputs.move_s)
    place.bench.pulse(name, None)


def _differs(place: Place, before: Rgb, now: Rgb) -> bool:
    """Whether something else lies in the tray than before; slow light does not count."""
    region = Region(apply(place.config, place.calibration).camera.region)
    a, b = region.shrink(before), region.shrink(now)
    gain = np.median((b + 1.0) / (a + 1.0), axis=(0, 1))
    off = np.abs(b - a * gain).max(axis=2).astype(np.float32)
    return float(np.mean(cv2.blur(off, (3, 3)) > FELL_LEVELS)) > FELL_SHARE
