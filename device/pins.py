"""The pins of one bin: opened by name, driven through gpiozero, released whatever happens.

OutputsConfig -> drive -> Board -> gpiozero LED and Servo -> lgpio or mock

Must never choose a backend by itself and never fall back to another: gpiozero's fallback warnings are errors here. All
exceptions of gpiozero and lgpio end in this file, as OutputError. It hands out a trace of what the pins were told, so
that a test or a simulation can prove what moved.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.errors import OutputError
from device.outputs import PinnedLed, PinnedServo

__all__ = ["Board", "Driven", "Pins", "PinsName", "Trace", "open_pins", "own_errors"]

PinsName = Literal["lgpio", "mock"]

_logger = logging.getLogger(__name__)


class Driven(NamedTuple):
    """One thing that a pin was told.

    Attributes:
        at_s: when, on the clock that the drive is stepped with.
        output: the bin, `pan`, `tilt` or `alarm`.
        value: pulse in µs, LED level 0 or 1, None when a servo was detached.
    """

    at_s: float
    output: str
    value: float | None


Trace = Callable[[Driven], None]


@dataclass(frozen=True, slots=True)
class Pins:
    """An opened pin factory.

    Attributes:
        name: as it was asked for.
        factory: gpiozero's; whoever opened it closes it.
        errors: the backend's own exceptions.
    """

    name: str
    factory: Any
    errors: tuple[type[Exception], ...] = ()


def open_pins(name: PinsName) -> Pins:
    """Open gpiozero's pin factory of that name, and no other.

    Raises:
        OutputError: no such backend, it is not installed, or this is no Raspberry Pi.
    """
    if name == "mock":
        # The revision by hand: GPIOZERO_MOCK_REVISION in somebody's shell must not change the pins.
        return Pins(name, MockFactory(revision="c03111", pin_class=MockPWMPin))
    if name != "lgpio":
        raise OutputError(f"pins: {name!r} is no backend; expected lgpio (a Raspberry Pi) or mock")
    try:
        import lgpio

        from device.pins_lgpio import ExactFactory
    except ModuleNotFoundError as exc:
        raise OutputError(
            "pins: lgpio is not installed; on a Raspberry Pi: pip install 'wastebin[pi]'; elsewhere ask for --pins mock"
        ) from exc
    except OSError as exc:
        raise OutputError(
            f"pins: lgpio cannot make its pipe in the working directory ({exc}); set LG_WD to a folder that takes files"
        ) from exc
    except AttributeError as exc:
        raise OutputError(
            f"pins: the lgpio that is installed is empty ({exc}), expected version 0.2.2 or newer; "
            f"pip install --force-reinstall 'lgpio>=0.2.2'"
        ) from exc
    errors = (lgpio.error,)
    with _fallbacks_are_errors(), own_errors("pins", errors):
        return Pins(name, ExactFactory(), errors)


class Board:
    """The LEDs and servos of one bin, by name.

    Servos start detached and LEDs dark. When an output refuses, everything else is released before the error goes on.

    Args:
        pins: opened by `open_pins`; closed with the board.
        leds: what to light.
        servos: what to move.
        trace: called with everything that a pin is told.

    Raises:
        OutputError: a pin is held by somebody else, or does not exist; whatever was opened is closed again.
    """

    def __init__(
        self, pins: Pins, leds: Sequence[PinnedLed], servos: Sequence[PinnedServo], trace: Trace | None = None
    ) -> None:
        self._pins = pins
        self._trace = trace
        self._leds: dict[str, Any] = {}
        self._servos: dict[str, Any] = {}
        self._limits_us = {servo.name: (servo.min_us, servo.max_us) for servo in servos}
        self._values: dict[str, float | None] = {}
        self._is_closed = False
        try:
            for led in leds:
                with _fallbacks_are_errors(), self._own_errors(f"{led.name!r} on BCM {led.pin_bcm}"):
                    self._leds[led.name] = gpiozero.LED(led.pin_bcm, pin_factory=pins.factory)
                self._values[led.name] = 0.0
            for servo in servos:
                with _fallbacks_are_errors(), self._own_errors(f"{servo.name!r} on BCM {servo.pin_bcm}"):
                    self._servos[servo.name] = gpiozero.Servo(
                        servo.pin_bcm,
                        initial_value=None,
                        min_pulse_width=servo.min_us / 1e6,
                        max_pulse_width=servo.max_us / 1e6,
                        pin_factory=pins.factory,
                    )
                self._values[servo.name] = None
        except OutputError:
            self.close(0.0)
            raise

    def light(self, name: str, is_on: bool, now_s: float) -> None:
        """Switch an LED.

        Raises:
            OutputError: the pin refused; everything is released.
        """
        self._tell(name, float(is_on), now_s, lambda: setattr(self._leds[name], "value", is_on))

    def pulse(self, name: str, pulse_us: float, now_s: float) -> None:
        """Send a servo to a place and keep pulsing.

        Raises:
            OutputError: the pin refused, or the pulse is outside the servo's limits; everything is released.
        """
        low_us, high_us = self._limits_us[name]
        # Through `value`, which starts the pulses: Servo.pulse_width on a detached servo would hold the line high.
        value = 2.0 * (pulse_us - low_us) / (high_us - low_us) - 1.0
        self._tell(name, float(pulse_us), now_s, lambda: setattr(self._servos[name], "value", value))

    def detach(self, name: str, now_s: float) -> None:
        """End a servo's pulses: it neither hums nor heats, and holds by its gears.

        Raises:
            OutputError: the pin refused; everything is released.
        """
        self._tell(name, None, now_s, self._servos[name].detach)

    def values(self) -> dict[str, float | None]:
        """Give what every pin is told now: pulse in µs, LED level 0 or 1, None for a detached servo."""
        return dict(self._values)

    def release(self, now_s: float) -> None:
        """Detach every servo and put out every LED, as far as the pins let us; never raises an OutputError."""
        for name, servo in self._servos.items():
            if self._values[name] is not None and self._try(repr(name), servo.detach):
                self._note(name, None, now_s)
        for name, led in self._leds.items():
            if self._values[name] and self._try(repr(name), led.off):
                self._note(name, 0.0, now_s)

    def close(self, now_s: float) -> None:
        """Release everything and give the pins back; safe to call twice; never raises an OutputError."""
        if self._is_closed:
            return
        self._is_closed = True
        self.release(now_s)
        for name, device in (*self._servos.items(), *self._leds.items()):
            self._try(repr(name), device.close)
        self._try(self._pins.name, self._pins.factory.close)

    def _tell(self, name: str, value: float | None, now_s: float, order: Callable[[], None]) -> None:
        if self._is_closed:
            raise OutputError(f"pins: {name!r} was told to move after the pins were closed; open the drive again")
        try:
            with self._own_errors(repr(name)):
                order()
        except OutputError:
            if value is not None:
                self._values[name] = value  # It may have got through: let `release` take it back.
            self.release(now_s)
            raise
        self._note(name, value, now_s)

    def _try(self, what: str, order: Callable[[], None]) -> bool:
        try:
            with self._own_errors(what):
                order()
        except OutputError as exc:
            # On the way to the safe state: say so and go on with the next pin.
            _logger.error("%s; it could not be released: switch off the servos' supply", exc)
            return False
        return True

    def _note(self, name: str, value: float | None, now_s: float) -> None:
        if self._values[name] == value:
            return
        self._values[name] = value
        if self._trace is not None:
            self._trace(Driven(now_s, name, value))

    def _own_errors(self, what: str) -> AbstractContextManager[None]:
        return own_errors(f"pins: {what}", self._pins.errors)


@contextmanager
def _fallbacks_are_errors() -> Iterator[None]:
    # Only while pins are opened, on the main thread: the filters belong to the whole process.
    with warnings.catch_warnings():
        warnings.simplefilter("error", gpiozero.GPIOZeroWarning)
        yield


@contextmanager
def own_errors(what: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Whatever gpiozero or its backend raises in here becomes an OutputError that begins with `what`."""
    try:
        yield
    except gpiozero.PinUnknownPi as exc:
        raise OutputError(f"{what}: this machine is no Raspberry Pi ({exc}); ask for --pins mock") from exc
    except (gpiozero.GPIOZeroError, gpiozero.GPIOZeroWarning, OSError, *errors) as exc:
        raise OutputError(
            f"{what}: refused ({exc}), expected a free and working pin; check the wiring and what else uses the pins "
            f"(gpioinfo), then start again"
        ) from exc
