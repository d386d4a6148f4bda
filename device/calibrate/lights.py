"""Which pin is which lamp.

    light one -> "which bin's lamp is lit?" -> Calibration.led_pins_bcm

Lamps are exchanged in wiring more often than anything else, and nothing but an eye can tell.
"""

from collections.abc import Mapping
from dataclasses import replace

from device.calibrate.step import Outcome, Place, StepResult
from device.calibration import apply
from device.outputs import LedOutputs

__all__ = ["check_lights"]

LIT_S = 1.0


def check_lights(place: Place) -> Outcome:
    """Light each lamp, and have somebody say whose it is."""
    outputs = place.config.outputs
    now = apply(place.config, place.calibration).outputs
    if not isinstance(outputs, LedOutputs) or not isinstance(now, LedOutputs):
        sentence = "nothing to do: this bin has no lamps for its bins"
        return StepResult("lights", True, (), (), sentence), place.calibration
    # The bench lights what the configuration calls by this name, whatever was found since.
    pins = _ask(place, {led.name: led.pin_bcm for led in outputs.leds})
    known = {led.name: led.pin_bcm for led in now.leds}
    if pins is None:
        sentence = "each lamp was lit; nobody said whether it was the right one"
        return StepResult("lights", True, (), (), sentence), place.calibration
    if len(pins) != len(known):
        dark = ", ".join(name for name in known if name not in pins)
        sentence = f"no pin lights the lamp of {dark}; look at its wires, then run this step again"
        return StepResult("lights", False, ("lights",), (), sentence), place.calibration
    wrong = tuple(f"led:{name}" for name in known if pins[name] != known[name])
    told = ", ".join(f"{name} is on BCM {pins[name]}" for name in known if pins[name] != known[name])
    sentence = f"lamps were exchanged: {told}" if wrong else "right: each lamp is its own bin's"
    return StepResult("lights", True, wrong, wrong, sentence), replace(place.calibration, led_pins_bcm=pins)


def _ask(place: Place, wired: Mapping[str, int]) -> dict[str, int] | None:
    """Light one pin after the other; None where nobody answers."""
    pins: dict[str, int] = {}
    for lit, pin in wired.items():
        place.bench.light(lit, True)
        try:
            place.see_s(LIT_S)
            for name in (name for name in dict.fromkeys((lit, *wired)) if name not in pins):
                answer = place.person.tell(f"is the lamp of {name} lit?")
                if answer is None:
                    return None
                if answer:
                    pins[name] = pin
                    break
        finally:
            place.bench.light(lit, False)
    return pins
