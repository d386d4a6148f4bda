"""gpiozero's lgpio pins, with the two faults mended that a servo feels.

pins.open_pins("lgpio") -> ExactFactory -> ExactPin -> lgpio.tx_pwm

Imported only when real pins are asked for: `import lgpio` starts a thread and makes a pipe in the working directory.
1. gpiozero's LGPIOPin cuts a duty to whole per cent, which leaves a servo 11 places: 1500 µs becomes 1400 µs
   (gpiozero#1209).
2. It stops pulses at once, in the middle of one if need be. The last pulse is then short and the servo jerks, or the
   line stays high for good (seen elsewhere as RPIO#75 and pigpio#543).
The chip is looked up by its label, since kernels renumber them (gpiozero#1166).
"""

import time
from collections import defaultdict
from collections.abc import Callable
from threading import Lock

import lgpio
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin

from device.errors import OutputError

__all__ = ["ExactFactory", "ExactPin"]

_CHIPS = 16
_CHIP_LABELS = ("pinctrl-bcm", "pinctrl-rp1")
_LAST_PULSE_S = 0.1


class ExactPin(LGPIOPin):  # type: ignore[misc]  # gpiozero has no types
    """A pin whose pulses are as wide as asked for, and end whole.

    Raises:
        OutputError: another process holds the line.
    """

    _pwm: tuple[float, float] | None  # Hz, duty in per cent

    def __init__(self, factory: "ExactFactory", info: object) -> None:
        try:
            super().__init__(factory, info)
        except lgpio.error as exc:
            if exc.value != lgpio.error_text(lgpio.GPIO_BUSY):
                raise
            holder = lgpio.gpio_get_line_info(factory.handle, self._number)[4] or "the kernel"
            raise OutputError(
                f"pins: BCM {self._number} is held by {holder!r}, expected a free pin; stop the other program "
                f"(is the service running? sudo systemctl stop wastebin) or give this output another pin"
            ) from exc

    def close(self) -> None:
        """Let the last pulse end, then make the pin an input."""
        if self.factory.handle is not None:
            waited_s = 0.0
            while lgpio.tx_busy(self.factory.handle, self._number, lgpio.TX_PWM) and waited_s < _LAST_PULSE_S:
                self.factory.sleep(0.005)
                waited_s += 0.005
        super().close()

    def _set_state(self, value: float) -> None:
        if not self._pwm:
            super()._set_state(value)
            return
        frequency_hz, _ = self._pwm
        duty_percent = min(100.0, value * 100.0)
        lgpio.tx_pwm(self.factory.handle, self._number, frequency_hz, duty_percent)
        self._pwm = (frequency_hz, duty_percent)

    def _set_frequency(self, value: float | None) -> None:
        if value is not None or not self._pwm:
            super()._set_frequency(value)
            return
        # One last cycle without a pulse: lgpio starts it when the running cycle is over, leaves the line low and stops.
        frequency_hz, _ = self._pwm
        lgpio.tx_pwm(self.factory.handle, self._number, frequency_hz, 0, 0, 1)
        self._pwm = None


class ExactFactory(LGPIOFactory):  # type: ignore[misc]  # gpiozero has no types
    """The header's pins.

    Args:
        sleep: seconds to let pass while a last pulse ends.

    Raises:
        OutputError: there is no Raspberry Pi header, or it may not be opened.
    """

    _handle: int | None

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(chip=_find_chip())
        # gpiozero keeps these on the class, where a pin that failed outlives its factory and bars the next one, or is
        # collected while the next one holds the lock: then both wait for ever.
        self.pins: dict[object, ExactPin] = {}
        self._reservations: defaultdict[object, list[object]] = defaultdict(list)
        self._res_lock = Lock()
        self.pin_class = ExactPin
        self.sleep = sleep

    def close(self) -> None:
        """Give the chip back, also when one of its pins refuses: the kernel then frees the lines."""
        try:
            super().close()
        finally:
            if self._handle is not None:
                lgpio.gpiochip_close(self._handle)
                self._handle = None

    @property
    def handle(self) -> int | None:
        """lgpio's handle of the open chip; None once closed."""
        return self._handle


def _find_chip() -> int:
    seen, refusals = [], []
    for chip in range(_CHIPS):
        try:
            handle = lgpio.gpiochip_open(chip)
        except lgpio.error as exc:
            refusals.append(str(exc.value))
            continue
        label = lgpio.gpio_get_chip_info(handle)[3]
        lgpio.gpiochip_close(handle)
        if label.startswith(_CHIP_LABELS):
            return chip
        seen.append(label)
    found = f"the GPIO chips {', '.join(seen)}" if seen else f"no GPIO chip that opens ({refusals[0]})"
    raise OutputError(
        f"pins: found {found}, expected a Raspberry Pi's header; on a Pi let this user in (sudo usermod -aG gpio "
        f"USER, then log in again), elsewhere ask for --pins mock"
    )
