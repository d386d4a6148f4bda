"""A stand-in for the module `lgpio`: its calls, its arithmetic (32-bit floats, whole microseconds) and its refusals.

Written after lg 0.2.2 (lgGpio.c, lgPthTx.c, lgpio_extra.py), as far as output pins and PWM need it.
"""

import struct
from types import ModuleType
from typing import Any, NamedTuple

HEADER_LABEL = "pinctrl-bcm2711"


class Tx(NamedTuple):
    """One call that reached the driver as pulses.

    Attributes:
        cycles: 0 is for ever.
    """

    gpio: int
    micros_on: int
    micros_off: int
    cycles: int


class Error(Exception):
    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)


class FakeLgpio(ModuleType):
    error = Error
    SET_PULL_NONE, SET_PULL_UP, SET_PULL_DOWN = 128, 32, 64
    RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3
    TX_PWM = 0
    GPIO_BUSY = -79

    def __init__(self, chip_labels: tuple[str, ...] = (HEADER_LABEL,)) -> None:
        super().__init__("lgpio")
        self.chip_labels = chip_labels
        self.tx: list[Tx] = []
        self.claims: list[tuple[str, int]] = []
        self.levels: dict[int, int] = {}
        self.pulsing: dict[int, Tx] = {}
        self.holders: dict[int, str] = {}
        self.broken: set[int] = set()
        self.open_handles: set[int] = set()
        self.outputs: set[int] = set()
        self.busy_polls = 0

    def error_text(self, number: int) -> str:
        return {-79: "GPIO busy", -78: "can not open gpiochip", -77: "bad GPIO write", -86: "bad PWM micros"}[number]

    def gpiochip_open(self, chip: int) -> int:
        if chip >= len(self.chip_labels):
            raise Error(self.error_text(-78))
        handle = chip << 16
        self.open_handles.add(handle)
        return handle

    def gpiochip_close(self, handle: int) -> int:
        self.open_handles.remove(handle)
        return 0

    def gpio_get_chip_info(self, handle: int) -> list[Any]:
        return [0, 58, f"gpiochip{handle >> 16}", self.chip_labels[handle >> 16]]

    def gpio_get_line_info(self, _handle: int, gpio: int) -> list[Any]:
        return [0, gpio, 1, "", self.holders.get(gpio, "")]

    def gpio_get_mode(self, _handle: int, gpio: int) -> int:
        return 2 if gpio in self.outputs else 0

    def gpio_claim_input(self, handle: int, gpio: int, _flags: int = 0) -> int:
        self._claim("input", handle, gpio)
        self.outputs.discard(gpio)
        self.pulsing.pop(gpio, None)
        return 0

    def gpio_claim_output(self, handle: int, gpio: int, level: int = 0, _flags: int = 0) -> int:
        self._claim("output", handle, gpio)
        self.outputs.add(gpio)
        self.levels[gpio] = level
        return 0

    def gpio_write(self, _handle: int, gpio: int, level: int) -> int:
        self._must_work(gpio)
        self.levels[gpio] = int(level)
        return 0

    def gpio_read(self, _handle: int, gpio: int) -> int:
        return self.levels.get(gpio, 0)

    def tx_pwm(self, _handle: int, gpio: int, frequency: float, duty: float, _offset: int = 0, cycles: int = 0) -> int:
        self._must_work(gpio)
        if frequency == 0:
            if gpio not in self.pulsing:
                raise Error(self.error_text(-86))
            # The real one stops at once and leaves the line as it is, perhaps in the middle of a pulse.
            self.tx.append(Tx(gpio, 0, 0, 0))
            del self.pulsing[gpio]
            return 0
        frequency, duty = _float32(frequency), _float32(duty)
        micros = int(1.0e6 / frequency + 0.5)
        micros_on = int(duty / 100.0 * micros + 0.5)
        tx = Tx(gpio, micros_on, micros - micros_on, cycles)
        self.tx.append(tx)
        if cycles:
            self.pulsing.pop(gpio, None)
        else:
            self.pulsing[gpio] = tx
        return 9

    def tx_busy(self, _handle: int, _gpio: int, _kind: int) -> int:
        self.busy_polls = max(0, self.busy_polls - 1)
        return int(self.busy_polls > 0)

    def _claim(self, way: str, handle: int, gpio: int) -> None:
        assert handle in self.open_handles, "claimed on a closed chip"
        if way == "input" and gpio in self.outputs:
            self._must_work(gpio)
        if gpio in self.holders:
            raise Error(self.error_text(-79))
        self.claims.append((way, gpio))

    def _must_work(self, gpio: int) -> None:
        if gpio in self.broken:
            raise Error(self.error_text(-77))


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
