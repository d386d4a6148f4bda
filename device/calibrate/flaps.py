"""Move each flap to its ends, see that it opens where it should, and find the servos that stand the wrong way round.

    a thing in the tray, the pulse that opens -> did it fall? -> Calibration.pulses_us

A servo tells nobody where it stands. Here the tray tells: what lies in it is gone once a flap has opened under it. If
it falls on the way *back*, the two ends are exchanged. Where the tray cannot tell, the person is asked. Every move ends
with the pulses off (gpiozero#248), and no pulse leaves the limits that somebody has set for that servo.
"""

from dataclasses import replace

import cv2
import numpy as np

from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.calibration import apply
from device.camera.frame import Rgb
from device.errors import CalibrationError
from device.outputs import HARD_LIMITS_US, FlapOutputs, LedOutputs
from device.region import Region

__all__ = ["check_flaps"]

FELL_LEVELS = 14.0
FELL_SHARE = 0.004
"""A tray that differs by so many levels on so much of the region is another tray than before."""

STILL_S = 0.3
MOST_LOOKS = 30
"""Nothing may move in view for so long before a flap does; after so many looks nobody waits any longer."""


def check_flaps(place: Place, *, flap: str | None = None) -> Outcome:
    """Prove the ends of every flap.

    Args:
        flap: only this one.
    """
    outputs = apply(place.config, place.calibration).outputs
    if not isinstance(outputs, FlapOutputs):
        what = "lamps" if isinstance(outputs, LedOutputs) else "a diverter, whose places the configuration gives"
        return StepResult("flaps", True, (), (), f"nothing to do: this bin has {what}"), place.calibration
    ends = {each.name: (each.rest_us, outputs.open_us[each.name]) for each in outputs.flaps}
    if flap is not None and flap not in ends:
        sentence = f"no flap {flap!r}; there is {', '.join(map(repr, ends))}"
        return StepResult("flaps", False, ("flap",), (), sentence), place.calibration
    names = [flap] if flap is not None else list(ends)
    found: list[str] = []
    cured: list[str] = []
    told: list[str] = []
    low, high = HARD_LIMITS_US
    pulses = dict(place.calibration.pulses_us)
    for name in names:
        closed, ending = (_jog(place, name, end, us) for end, us in zip(("closed", "open"), ends[name], strict=True))
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


def _jog(place: Place, name: str, end: str, pulse_us: int) -> int:
    """Let a person move the flap step by step until it stands where its end shall be."""
    low, high = HARD_LIMITS_US
    while True:
        wanted_us = place.person.number(
            f"{name}: pulse of the {end} flap in µs; another number moves it there", pulse_us
        )
        if wanted_us == pulse_us or not low <= wanted_us <= high:
            return wanted_us
        _move(place, name, wanted_us)
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
    place.see_s(outputs.move_s if isinstance(outputs, FlapOutputs) else 0.6)
    place.bench.pulse(name, None)


def _differs(place: Place, before: Rgb, now: Rgb) -> bool:
    """Whether something else lies in the tray than before; slow light does not count."""
    region = Region(apply(place.config, place.calibration).camera.region)
    a, b = region.shrink(before), region.shrink(now)
    gain = np.median((b + 1.0) / (a + 1.0), axis=(0, 1))
    off = np.abs(b - a * gain).max(axis=2).astype(np.float32)
    return float(np.mean(cv2.blur(off, (3, 3)) > FELL_LEVELS)) > FELL_SHARE
