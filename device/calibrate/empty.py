"""Learn the empty bin, and see that neither it nor a waving hand is taken for an item.

    empty tray -> Gate -> EMPTY; a hand that waves -> no ITEM; the hand gone -> EMPTY again

The same gate as the bin's own judges. Nothing of the tray is kept: the gate learns it anew at each start.
"""

from collections.abc import Iterable

from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.calibration import apply
from device.camera.frame import Frame
from device.gate import Gate, TrayState

__all__ = ["check_empty"]

EMPTY_S = 3.0
WAVE_S = 3.0
AFTER_S = 3.0


def check_empty(place: Place) -> Outcome:
    """Learn the empty tray, then be waved at."""
    calibration = place.calibration
    sentence = "" if place.show(Shown.NOTHING) else "nobody says that the tray is empty; looked at as it is"
    gate = Gate(place.config.gate, apply(place.config, calibration).camera.region)
    rule = place.config.gate
    states = _judge(gate, place.look_s(rule.warm_s + EMPTY_S))
    brightness = float(place.see().mean())
    found, told = [], [sentence] if sentence else []
    late = states[round((rule.warm_s + 1.0) * place.bench.rate_hz) :]
    restless = sum(state not in (TrayState.EMPTY, TrayState.LEARNING) for state in late) / max(1, len(late))
    if TrayState.ITEM in states or restless > 0.2:
        found.append("empty_tray")
        told.append("the empty tray is not calm: something moves or flickers in the region; steady the lamp, close the "
                    "lid, or draw the region smaller")  # fmt: skip
    figures: dict[str, float | str] = {"brightness": round(brightness, 1), "restless": round(restless, 4)}
    if place.show(Shown.HAND):
        false_items = sum(state is TrayState.ITEM for state in _judge(gate, place.look_s(WAVE_S)))
        place.show(Shown.NOTHING)
        after = _judge(gate, place.look_s(AFTER_S))
        false_items += sum(state is TrayState.ITEM for state in after)
        figures["false_items"] = float(false_items)
        if false_items:
            found.append("hand")
            told.append(f"a waving hand was taken for an item {false_items} times; raise [gate] settle_s from "
                        f"{rule.settle_s:g} s")  # fmt: skip
        elif after[-1] is not TrayState.EMPTY:
            found.append("empty_tray")
            told.append("the tray is not empty again after the hand left; look at the light, then run this step again")
        else:
            told.append("a waving hand is no item")
    else:
        told.append("the false-trigger test with a hand was left out")
    if not found:
        told.insert(0, f"the empty tray is learnt (brightness {brightness:.0f} of 255)")
    return StepResult("empty", not found, tuple(found), (), "; ".join(told), figures, place.picture), calibration


def _judge(gate: Gate, frames: Iterable[Frame]) -> list[TrayState]:
    return [gate.update(frame).state for frame in frames]
