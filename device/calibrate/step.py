"""What every step of a calibration is given, and what it gives back.

    Bench (camera, pins), Person, Config, Calibration -> Place -> step -> StepResult, Calibration

A step finds one kind of thing out, and changes the calibration and nothing else; it writes no file. It must never take
silence for consent: where it needs somebody at the bin and nobody is there, it says what was not looked at.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from device.calibration import Calibration
from device.camera.corrected import correct
from device.camera.frame import Frame, Rgb
from device.camera.locks import Locks
from device.config_types import Config

__all__ = ["Bench", "Outcome", "Person", "Place", "Shown", "Step", "StepResult"]


class Shown(StrEnum):
    """What a person is asked to put before the camera."""

    NOTHING = "the empty tray"
    CARD = "the card in the middle of the tray"
    CARD_FAR = "the card in the corner that is at the upper left of the picture"
    CARD_NEAR = "the card in the corner that is at the lower right of the picture"
    HAND = "your hand, waving over the tray"
    ITEM = "a thing that falls easily, such as an empty can, in the tray"


class Bench(Protocol):
    """The camera and the pins of one bin, lent to a calibration.

    Attributes:
        camera: the spec.
        rate_hz: frames a second.
        base: what the camera's frames have been corrected by already.
    """

    camera: str
    rate_hz: float
    base: Locks

    def look(self, frames: int) -> Iterator[Frame]:
        """So many new frames, one by one: a second of them takes more memory than the rest of the bin has left.

        Raises:
            CameraError: they do not come.
        """
        ...

    def settled(self) -> Locks:
        """What the camera has settled on by itself."""
        ...

    def pulse(self, name: str, pulse_us: int | None) -> None:
        """Send a servo to a place, or detach it (None).

        Raises:
            OutputError: the pin refused.
        """
        ...

    def light(self, name: str, is_on: bool) -> None:
        """Switch a lamp.

        Raises:
            OutputError: the pin refused.
        """
        ...


@runtime_checkable
class Person(Protocol):
    """Whoever stands at the bin, if anybody does."""

    def show(self, what: Shown) -> bool:
        """Put this before the camera; False where nobody is there to do it."""
        ...

    def tell(self, question: str) -> bool | None:
        """Answer yes or no; None where nobody answers."""
        ...

    def number(self, question: str, default: int) -> int:
        """Answer with a number; the default where nobody answers."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as a page or a terminal shows it.

    Attributes:
        name: a word.
        title: what it is for.
        asks: what a person does for it.
    """

    name: str
    title: str
    asks: str


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """What a step came to.

    Attributes:
        name: of the step.
        ok: nothing is left to do; False where something was named that only a person can mend.
        found: what was wrong, a word each, such as `white_balance` or `servo:Glass`.
        cured: those of `found` that the calibration makes good.
        sentence: all of it, for people.
        figures: what was measured.
        picture: uint8 [H, W, 3], what it looked at; None where it looked at nothing.
    """

    name: str
    ok: bool
    found: tuple[str, ...]
    cured: tuple[str, ...]
    sentence: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    picture: Rgb | None = None

    def fields(self) -> dict[str, object]:
        """All but the picture, as JSON has it."""
        return {
            "step": self.name,
            "ok": self.ok,
            "found": list(self.found),
            "cured": list(self.cured),
            "sentence": self.sentence,
            "figures": dict(self.figures),
        }


Outcome = tuple[StepResult, Calibration]


@dataclass(slots=True)
class Place:
    """The bin in front of a step.

    Attributes:
        calibration: as the steps before have left it.
        picture: the newest frame, with its colours right.
    """

    bench: Bench
    person: Person
    config: Config
    calibration: Calibration
    picture: Rgb | None = None
    _shown: Shown | None = None

    def look(self, frames: int) -> Iterator[Frame]:
        """So many new frames, one by one, their colours put right as far as that is known."""
        rest = self.calibration.locks.beyond(self.bench.base)
        for frame in self.bench.look(frames):
            seen = replace(frame, rgb=correct(frame.rgb, rest))
            self.picture = seen.rgb
            yield seen

    def look_s(self, seconds: float) -> Iterator[Frame]:
        """The same for so long."""
        return self.look(max(2, round(seconds * self.bench.rate_hz)))

    def see(self, frames: int = 1) -> Rgb:
        """The last of so many new frames."""
        return deque(self.look(frames), maxlen=1).pop().rgb

    def see_s(self, seconds: float) -> Rgb:
        """The last frame of so long."""
        return deque(self.look_s(seconds), maxlen=1).pop().rgb

    def show(self, what: Shown) -> bool:
        """Have a person put this before the camera, unless it is there already."""
        if self._shown is what and what in (Shown.CARD, Shown.NOTHING):
            return True
        is_there = self.person.show(what)
        self._shown = what if is_there else None
        return is_there
