"""One calibration, step by step; the terminal and the dashboard drive the same.

    Bench, Config, Person -> Session.run(step) -> StepResult; Session.save -> calibration.json

Each step may be run alone, again, and undone. Nothing is written before `save`; a running bin goes by what was saved as
soon as it has its camera back.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from device.calibrate.camera import check_camera
from device.calibrate.colour import check_colour
from device.calibrate.empty import check_empty
from device.calibrate.flaps import check_flaps
from device.calibrate.guided import check_looks
from device.calibrate.lights import check_lights
from device.calibrate.region import check_region
from device.calibrate.speed import check_speed
from device.calibrate.step import Bench, Outcome, Person, Place, Shown, Step, StepResult
from device.calibration import Calibration, Done, load_calibration, save_calibration
from device.camera.frame import Rgb
from device.config_types import Config
from device.errors import UsageError

__all__ = ["STEPS", "Nobody", "Ready", "Session", "Step", "StepResult"]

STEPS: Final = (
    Step("colour", "Colour order and white balance", "Lay the printed card into the middle of the tray."),
    Step("camera", "Exposure, white balance and lens held; sharpness", "Leave the card in the tray, hands away."),
    Step("region", "Where in the picture the tray is", "Lay the card into two corners, one after the other."),
    Step("empty", "The empty tray, and a hand that is no item", "Empty the tray; when asked, wave over it."),
    Step("flaps", "Each flap's ends", "Lay a thing that falls easily into the tray, once for each flap or bin."),
    Step("lights", "Which pin is which lamp", "Say which lamp is lit."),
    Step("speed", "Threads and frames a second of this machine", "Nothing; it takes a few seconds."),
    Step("looks", "A few things of this place", "Lay a thing into the empty tray and say what it is."),
)

_CHECKS: Final[Mapping[str, Callable[..., Outcome]]] = {
    "colour": check_colour,
    "camera": check_camera,
    "region": check_region,
    "empty": check_empty,
    "flaps": check_flaps,
    "lights": check_lights,
    "speed": check_speed,
    "looks": check_looks,
}

_FINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "region": ("region", "size_px"),
    "flaps": ("pulses_us", "positions_us"),
    "lights": ("led_pins_bcm",),
    "speed": ("threads", "rate_hz"),
}
"""Fields of the calibration that a step may change."""

_LOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "colour": ("is_swapped", "balance"),
    "camera": ("exposure_us", "gain", "colour_gains", "lens"),
}
"""The same, of its locks."""


class Nobody:
    """The person of a script: nobody shows and nobody answers, so that only what needs nobody is found out."""

    def show(self, what: Shown) -> bool:  # noqa: ARG002
        """Nobody does."""
        return False

    def tell(self, question: str) -> bool | None:  # noqa: ARG002
        """Nobody does."""
        return None

    def number(self, question: str, default: int) -> int:  # noqa: ARG002
        """As it stands."""
        return default


class Ready(Nobody):
    """A person who has done what the step asks before running it, as in the dashboard.

    Args:
        pause: waits while the person follows; called with what is wanted.
    """

    def __init__(self, pause: Callable[[Shown], bool] = lambda _: True) -> None:
        self._pause = pause

    def show(self, what: Shown) -> bool:
        """It lies there."""
        return self._pause(what)


class Session:
    """A calibration under way.

    Args:
        bench: camera and pins.
        config: of the bin, without any calibration.
        person: who is at the bin; None for one who has done what a step asks.
        wall: seconds since 1970.

    Attributes:
        calibration: as it stands; `save` keeps it.
        note: what was wrong with the file, if anything.
        results: of the steps that were run in this session.
    """

    steps = STEPS

    def __init__(
        self, bench: Bench, config: Config, person: Person | None = None, *, wall: Callable[[], float] = time.time
    ) -> None:
        loaded, self.note = load_calibration(config.events_path.parent)
        # Another camera's colours say nothing about this one.
        is_same = loaded.camera == bench.camera
        if not is_same:
            loaded = Calibration(
                bench.camera,
                pulses_us=loaded.pulses_us,
                positions_us=loaded.positions_us,
                led_pins_bcm=loaded.led_pins_bcm,
                threads=loaded.threads,
            )
        self.results: dict[str, StepResult] = {}
        self._config = config
        self._wall = wall
        self._bench = bench
        if person is None:
            person = bench if isinstance(bench, Person) else Ready()  # a simulated bin brings its own
        self._place = Place(bench, person, config, loaded)

    @property
    def calibration(self) -> Calibration:
        """As it stands."""
        return self._place.calibration

    def run(self, name: str, **inputs: Any) -> StepResult:
        """Run one step.

        Args:
            name: of a step.
            inputs: see the step's own file.

        Raises:
            UsageError: no such step.
            CalibrationError: it cannot be done now.
            CameraError, OutputError: the bin does not play along.
        """
        result, calibration = self._step(name)(self._place, **inputs)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        done = {**calibration.done, name: Done(at, result.ok, result.sentence)}
        self._place.calibration = replace(calibration, done=done)
        self.results[name] = result
        return result

    def undo(self, name: str) -> StepResult:
        """Forget what a step has found, in this session or before.

        Raises:
            UsageError: no such step.
        """
        self._step(name)
        now, blank = self._place.calibration, Calibration()
        locks = replace(now.locks, **{each: getattr(blank.locks, each) for each in _LOCKS.get(name, ())})
        done = {step: done for step, done in now.done.items() if step != name}
        found = {each: getattr(blank, each) for each in _FINDS.get(name, ())}
        self._place.calibration = replace(now, **found, locks=locks, done=done)
        result = StepResult(name, True, (), (), "undone; the bin goes by its configuration again")
        self.results[name] = result
        return result

    def save(self) -> Path:
        """Keep the calibration.

        Raises:
            CalibrationError: it cannot be written.
        """
        return save_calibration(self._config.events_path.parent, self._place.calibration)

    @property
    def picture(self) -> Rgb | None:
        """The newest frame that a step has looked at, its colours right as far as that is known; uint8 [H, W, 3]."""
        return self._place.picture

    def _step(self, name: str) -> Callable[..., Outcome]:
        if name not in _CHECKS:
            raise UsageError(f"calibrate: no step {name!r}; there is {', '.join(_CHECKS)}")
        return _CHECKS[name]
