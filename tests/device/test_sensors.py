"""What the bin feels, on mock pins that are pressed as a hand or a falling item would."""

from pathlib import Path
from typing import Any

import pytest

from device.config import load_config
from device.config_sensors import SensorsConfig, parse_sensors
from device.errors import ConfigError, OutputError
from device.outputs import DiverterOutputs, FlapOutputs, LedOutputs, PinnedLed, PinnedServo
from device.pins import Pins, open_pins
from device.sensors import NO_SENSORS, Readings, Sensors

BINS = ("Glass", "Paper")
LEDS = LedOutputs((PinnedLed("Glass", 5), PinnedLed("Paper", 6)), alarm_pin_bcm=21)
FLAPS = FlapOutputs((PinnedServo("Glass", 5, 1000),), {"Glass": 2000})
DIVERTER = DiverterOutputs(PinnedServo("pan", 12, 1500), PinnedServo("tilt", 13, 1500), {})
WIRED = SensorsConfig(17, 27, {"Glass": 22, "Paper": 23}, {"Glass": 24})


class Felt:
    """Sensors on mock pins, idle: lid shut, beams whole, bins with room."""

    def __init__(self) -> None:
        self.pins: Pins = open_pins("mock")
        for number in (17, 22, 23, 24):
            self.pin(number).drive_high()
        self.sensors = Sensors(WIRED, self.pins)
        self.pin(27).drive_low()

    def pin(self, number: int) -> Any:
        return self.pins.factory.pin(number)

    def tap(self, number: int) -> None:
        self.pin(number).drive_low()
        self.pin(number).drive_high()


def test_feels_nothing_while_nothing_happens():
    felt = Felt()
    assert felt.sensors.read(0.0) == Readings() == NO_SENSORS.read(0.0)
    felt.sensors.close()


def test_what_happens_between_two_frames_is_felt_once():
    felt = Felt()
    felt.tap(17)
    felt.tap(17)  # a contact that bounces
    for number in (23, 22, 23):
        felt.tap(number)
    assert felt.sensors.read(0.0) == Readings(wrong=True, fell=("Paper", "Glass", "Paper"))
    assert felt.sensors.read(0.1) == Readings()
    felt.sensors.close()


def test_the_lid_is_open_while_its_switch_is_and_when_its_wire_breaks():
    felt = Felt()
    felt.pin(27).drive_high()  # pulled up: what a broken wire looks like
    assert [felt.sensors.read(0.0).lid_open, felt.sensors.read(9.0).lid_open] == [True, True]
    felt.pin(27).drive_low()
    assert felt.sensors.read(10.0) == Readings()
    felt.sensors.close()


def test_a_bin_is_full_once_its_sensor_has_seen_something_for_three_seconds():
    felt = Felt()
    felt.pin(24).drive_low()
    assert [felt.sensors.read(at_s).full for at_s in (0.0, 2.9, 3.0, 9.0)] == [(), (), ("Glass",), ("Glass",)]
    felt.pin(24).drive_high()
    assert felt.sensors.read(9.1).full == ()
    felt.pin(24).drive_low()  # an item that falls past it
    assert [felt.sensors.read(at_s).full for at_s in (9.2, 12.0)] == [(), ()]
    felt.sensors.close()


def test_a_pin_that_is_held_is_refused_and_the_others_are_given_back():
    pins = open_pins("mock")
    with Sensors(SensorsConfig(wrong_pin_bcm=17), pins), pytest.raises(OutputError, match="lid on BCM 17: refused"):
        Sensors(SensorsConfig(lid_pin_bcm=17), Pins("mock", pins.factory))


def test_closing_twice_is_harmless():
    felt = Felt()
    felt.sensors.close()
    felt.sensors.close()


# ------------------------------------------------------------------------------------------ configuration


def test_reads_what_is_wired():
    table = {
        "wrong_pin_bcm": 17,
        "lid_pin_bcm": 27,
        "bin": [
            {"bin": "Glass", "beam_pin_bcm": 22, "full_pin_bcm": 24},
            {"bin": "Paper", "beam_pin_bcm": 23},
        ],
    }
    assert parse_sensors(table, "bin.toml", BINS, LEDS) == WIRED
    assert parse_sensors({}, "bin.toml", BINS, DIVERTER) == SensorsConfig()


@pytest.mark.parametrize(
    ("table", "outputs", "says"),
    [
        (7, LEDS, r"\[sensors\] is 7, expected a table"),
        ({"lid_pin": 3}, LEDS, r"\[sensors\] has an unknown key 'lid_pin'; did you mean 'lid_pin_bcm'"),
        ({"lid_pin_bcm": 28}, LEDS, r"\[sensors\]\.lid_pin_bcm is 28; expected a BCM pin number from 0 to 27"),
        ({"lid_pin_bcm": 5}, LEDS, r"\[sensors\]\.lid_pin_bcm 5 is already used by the lamp of Glass"),
        ({"lid_pin_bcm": 21}, LEDS, "21 is already used by the alarm lamp"),
        ({"lid_pin_bcm": 5}, FLAPS, "5 is already used by the flap of Glass"),
        ({"lid_pin_bcm": 12}, DIVERTER, "12 is already used by pan"),
        ({"lid_pin_bcm": 3, "wrong_pin_bcm": 3}, LEDS, r"3 is already used by \[sensors\]\.wrong_pin_bcm"),
        ({"bin": {"bin": "Glass"}}, LEDS, r"\[sensors\]\.bin is no list of tables; write \[\[sensors\.bin\]\]"),
        ({"bin": [{"bin": "Gold"}]}, LEDS, r"\[\[sensors\.bin\]\] 1: bin 'Gold' is no bin of this site; it has Glass"),
        ({"bin": [{"beam": 3}]}, LEDS, r"\[\[sensors\.bin\]\] 1 has an unknown key 'beam'"),
        ({"bin": [{"bin": "Glass", "beam_pin_bcm": 6}]}, LEDS, "beam_pin_bcm 6 is already used by the lamp of Paper"),
    ],
)
def test_refuses_what_cannot_be_wired_with_a_sentence(table: object, outputs: Any, says: str):
    with pytest.raises(ConfigError, match=says):
        parse_sensors(table, "bin.toml", BINS, outputs)


def test_a_configuration_may_have_sensors_and_tells_what_is_wrong_with_them(tmp_path: Path):
    file = tmp_path / "bin.toml"
    file.write_text("[sensors]\nlid_pin_bcm = 27\n[[sensors.bin]]\nbin = 'Glass'\nbeam_pin_bcm = 22\n")
    environ = {"HOME": str(tmp_path)}
    assert load_config(file, environ=environ).sensors == SensorsConfig(None, 27, {"Glass": 22}, {})
    assert load_config(None, environ=environ).sensors is None
    file.write_text("[sensors]\nlid_pin_bcm = 99\n")
    with pytest.raises(ConfigError, match=r"bin\.toml: \[sensors\]\.lid_pin_bcm is 99"):
        load_config(file, environ=environ)
