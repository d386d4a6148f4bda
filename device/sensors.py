"""What the bin feels beside what it sees: lid, break beams, fill sensors, and the "wrong" button.

    SensorsConfig -> Sensors.read, once a frame -> engine

Through gpiozero, on the pins of `pins`. A beam is broken for a few hundredths of a second, between two frames, so that
what falls and what is pressed is caught by gpiozero's own thread and waits in a queue; lid and fill level are read when
asked. It must never act: what follows from a reading is decided by the engine. Mock pins may be pressed, by tests and
by the simulator.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

import gpiozero

from device.config_sensors import SensorsConfig
from device.errors import OutputError
from device.pins import Pins, own_errors

__all__ = ["NO_SENSORS", "NoSensors", "Readings", "Reads", "Sensors"]

FULL_S: Final = 3.0
"""A fill sensor that sees something for so long sees no falling item."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What was felt since the last frame, and what is felt now.

    Attributes:
        lid_open: no movement while it is.
        wrong: the button was pressed since; a contact that bounces has been pressed once.
        fell: bins into which something fell since, in order.
        full: bins that are full, in the order of the configuration.
    """

    lid_open: bool = False
    wrong: bool = False
    fell: tuple[str, ...] = ()
    full: tuple[str, ...] = ()


class Reads(Protocol):
    """What the engine needs of `Sensors`."""

    def read(self, now_s: float) -> Readings:
        """Tell what was felt; now_s as the frames'."""
        ...


class NoSensors:
    """A bin without any: the lid counts as shut."""

    def read(self, now_s: float) -> Readings:  # noqa: ARG002
        """Nothing is felt."""
        return _NOTHING


_NOTHING: Final = Readings()
NO_SENSORS: Final = NoSensors()


class Sensors:
    """The sensors of one bin; a context manager that closes itself.

    Args:
        wired: what is wired.
        pins: opened by `open_pins` for the sensors alone; closed with them.

    Raises:
        OutputError: a pin is held by somebody else, or does not exist; whatever was opened is closed again.
    """

    def __init__(self, wired: SensorsConfig, pins: Pins) -> None:
        self._pins = pins
        self._devices: dict[str, Any] = {}
        # Filled by gpiozero's thread, emptied by the engine's.
        self._pressed: deque[None] = deque()
        self._fell: deque[str] = deque()
        self._seen_since_s = dict.fromkeys(wired.full_pins_bcm, math.inf)
        try:
            if wired.wrong_pin_bcm is not None:
                self._open("wrong button", wired.wrong_pin_bcm, lambda: self._pressed.append(None))
            if wired.lid_pin_bcm is not None:
                self._open("lid", wired.lid_pin_bcm)
            for name, pin_bcm in wired.beam_pins_bcm.items():
                self._open(f"beam of {name}", pin_bcm, lambda name=name: self._fell.append(name))  # type: ignore[misc]
            for name, pin_bcm in wired.full_pins_bcm.items():
                self._open(f"fill sensor of {name}", pin_bcm)
        except OutputError:
            self.close()
            raise

    def read(self, now_s: float) -> Readings:
        """As Reads."""
        lid = self._devices.get("lid")
        for name in self._seen_since_s:
            sees = self._devices[f"fill sensor of {name}"].is_active
            self._seen_since_s[name] = min(self._seen_since_s[name], now_s) if sees else math.inf
        return Readings(
            lid_open=lid is not None and not lid.is_active,
            wrong=bool(_drain(self._pressed)),
            fell=tuple(_drain(self._fell)),
            full=tuple(name for name, since_s in self._seen_since_s.items() if now_s - since_s >= FULL_S),
        )

    def close(self) -> None:
        """Give the sensors' pins back; safe to call twice."""
        while self._devices:
            name, device = self._devices.popitem()
            with own_errors(f"pins: {name}", self._pins.errors):
                device.close()
        with own_errors(f"pins: {self._pins.name}", self._pins.errors):
            self._pins.factory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, name: str, pin_bcm: int, on_active: Callable[[], None] | None = None) -> None:
        with own_errors(f"pins: {name} on BCM {pin_bcm}", self._pins.errors):
            device = gpiozero.DigitalInputDevice(pin_bcm, pull_up=True, pin_factory=self._pins.factory)
            self._devices[name] = device
            if on_active is not None:
                device.when_activated = on_active


def _drain(queue: deque[Any]) -> list[Any]:
    return [queue.popleft() for _ in range(len(queue))]
