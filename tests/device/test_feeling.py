"""The sensors of a bin that does not exist are pressed on its mock pins."""

from dataclasses import dataclass, field

from device.config_sensors import SensorsConfig
from device.pins import open_pins
from device.sensors import Readings, Sensors
from device.simulator.feeling import Felt, SimulatedSensors

WIRED = SensorsConfig(None, 27, {"Glass": 22})


@dataclass
class People:
    lid_open: bool = False
    fell: list[str] = field(default_factory=list)

    def landings(self) -> list[str]:
        fell, self.fell = self.fell, []
        return fell


def readings(felt: Felt | None, times: int = 1) -> list[Readings]:
    pins = open_pins("mock")
    with Sensors(WIRED, pins) as sensors:
        simulated = SimulatedSensors(sensors, WIRED, pins, lambda: felt)
        return [simulated.read(float(number)) for number in range(times)]


def test_a_lid_that_nobody_touches_is_shut_and_nothing_falls():
    assert readings(None, 2) == [Readings(), Readings()]
    assert readings(People(), 2) == [Readings(), Readings()]


def test_people_open_the_lid_and_what_falls_breaks_its_beam_once():
    assert readings(People(True, ["Glass"]), 2) == [Readings(lid_open=True, fell=("Glass",)), Readings(lid_open=True)]


def test_a_bin_without_a_beam_feels_nothing_fall():
    assert readings(People(fell=["Paper"])) == [Readings()]
