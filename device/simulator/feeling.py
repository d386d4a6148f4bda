"""Press the sensors of a bin that does not exist: its lid, and the beams that falling things break.

    SimulatedCamera (people, landings) -> SimulatedSensors -> mock pins -> Sensors -> Readings

Beside the simulator only, on mock pins only. Whether anything is felt is the bin's own matter: the pins are pressed,
and `Sensors` reads them as it reads a real bin's.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from device.config_sensors import SensorsConfig
from device.pins import Pins
from device.sensors import Readings, Sensors

__all__ = ["Felt", "SimulatedSensors"]


@runtime_checkable
class Felt(Protocol):
    """What there is to feel, such as `SimulatedCamera`."""

    @property
    def lid_open(self) -> bool:
        """Whether the lid is open."""
        ...

    def landings(self) -> list[str]:
        """The bins into which something fell since this was asked last."""
        ...


class SimulatedSensors:
    """A `sensors.Reads` over mock pins that somebody presses.

    Args:
        sensors: on `pins`.
        wired: as they are.
        pins: mock ones.
        felt: gives what there is to feel; None while there is nothing.
    """

    def __init__(self, sensors: Sensors, wired: SensorsConfig, pins: Pins, felt: Callable[[], Felt | None]) -> None:
        self._sensors = sensors
        self._wired = wired
        self._pins = pins
        self._felt = felt

    def read(self, now_s: float) -> Readings:
        """As Reads."""
        felt = self._felt()
        if self._wired.lid_pin_bcm is not None:
            # A lid that nobody touches is shut.
            self._set(self._wired.lid_pin_bcm, is_high=felt is not None and felt.lid_open)
        for bin_name in [] if felt is None else felt.landings():
            if bin_name in self._wired.beam_pins_bcm:
                self._set(self._wired.beam_pins_bcm[bin_name], is_high=False)
                self._set(self._wired.beam_pins_bcm[bin_name], is_high=True)
        return self._sensors.read(now_s)

    def _set(self, pin_bcm: int, *, is_high: bool) -> None:
        pin = self._pins.factory.pin(pin_bcm)
        (pin.drive_high if is_high else pin.drive_low)()
