import tomllib

import pytest

from device.errors import ConfigError
from device.outputs import (
    DiverterOutputs,
    FlapOutputs,
    LedOutputs,
    PinnedLed,
    PinnedServo,
    default_outputs,
    parse_outputs,
)

BINS = ("Glass", "Trash")

LEDS = """
build = "leds"
[[led]]
bin = "Glass"
pin_bcm = 5
[[led]]
bin = "Trash"
pin_bcm = 6
"""
FLAPS = """
build = "flaps"
alarm_pin_bcm = 21
[[flap]]
bin = "Glass"
pin_bcm = 5
closed_us = 1000
open_us = 1900
[[flap]]
bin = "Trash"
pin_bcm = 6
closed_us = 600
open_us = 2300
min_us = 600
max_us = 2400
"""
DIVERTER = """
build = "diverter"
move_s = 1
hold_s = 0.5
[pan]
pin_bcm = 12
home_us = 1500
[tilt]
pin_bcm = 13
home_us = 1450
max_us = 2200
[[position]]
bin = "Glass"
pan_us = 1500
tilt_us = 2100
[[position]]
bin = "Trash"
pan_us = 1000
tilt_us = 1000
"""


def problems(text: str, bins: tuple[str, ...] = BINS) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_outputs(tomllib.loads(text), "bin.toml", bins)
    return caught.value.problems


def test_reads_the_build_of_leds() -> None:
    assert parse_outputs(tomllib.loads(LEDS), "bin.toml", BINS) == LedOutputs(
        leds=(PinnedLed("Glass", 5), PinnedLed("Trash", 6)), show_s=3.0, alarm_pin_bcm=None
    )


def test_reads_the_build_of_flaps() -> None:
    assert parse_outputs(tomllib.loads(FLAPS), "bin.toml", BINS) == FlapOutputs(
        flaps=(PinnedServo("Glass", 5, 1000, 1000, 2000), PinnedServo("Trash", 6, 600, 600, 2400)),
        open_us={"Glass": 1900, "Trash": 2300},
        move_s=0.6,
        hold_s=1.0,
        alarm_pin_bcm=21,
    )


def test_reads_the_build_of_a_diverter() -> None:
    assert parse_outputs(tomllib.loads(DIVERTER), "bin.toml", BINS) == DiverterOutputs(
        pan=PinnedServo("pan", 12, 1500, 1000, 2000),
        tilt=PinnedServo("tilt", 13, 1450, 1000, 2200),
        positions_us={"Glass": (1500, 2100), "Trash": (1000, 1000)},
        move_s=1.0,
        hold_s=0.5,
        alarm_pin_bcm=None,
    )


def test_tells_every_problem_of_a_table_at_once() -> None:
    text = """
    build = "flaps"
    hold_s = 0
    move_s = true
    alarm_pin = 21
    [[flap]]
    bin = "Glas"
    pin_bcm = 28
    closed_us = 900
    open_us = 2501
    [[flap]]
    bin = "Glass"
    pin_bcm = 6
    closed_us = 1500
    open_us = 1500
    openus = 3
    [[flap]]
    bin = "Glass"
    pin_bcm = 6
    closed_us = "1000"
    min_us = 2000
    max_us = 1000
    """
    assert problems(text) == [
        "bin.toml: [outputs]: unknown key 'alarm_pin'; known here: build, flap, move_s, hold_s, alarm_pin_bcm; "
        "did you mean 'alarm_pin_bcm'?",
        "bin.toml: [[outputs.flap]] 1: bin 'Glas' is no bin of this site; it has 'Glass', 'Trash'; "
        "did you mean 'Glass'?",
        "bin.toml: [[outputs.flap]] 1: pin_bcm is 28; expected a BCM pin number from 0 to 27 "
        "(not the number on the header)",
        "bin.toml: [[outputs.flap]] 1: closed_us is 900; expected 1000 to 2000 microseconds; "
        "set min_us of this servo if its horn has room",
        "bin.toml: [[outputs.flap]] 1: open_us is 2501; expected 1000 to 2000 microseconds; "
        "no servo takes a pulse outside 500 to 2500",
        "bin.toml: [[outputs.flap]] 2: unknown key 'openus'; known here: bin, pin_bcm, closed_us, open_us, min_us, "
        "max_us; did you mean 'open_us'?",
        "bin.toml: [[outputs.flap]] 2: closed_us and open_us are both 1500; the flap would not move: give two pulses",
        "bin.toml: [[outputs.flap]] 3: bin 'Glass' already has an output in [[outputs.flap]] 2; remove one of the two",
        "bin.toml: [[outputs.flap]] 3: pin_bcm 6 is already used by [[outputs.flap]] 2; give each output its own pin",
        "bin.toml: [[outputs.flap]] 3: min_us 2000 is not below max_us 1000; a servo needs room to move",
        "bin.toml: [[outputs.flap]] 3: closed_us is '1000'; expected a pulse in whole microseconds",
        "bin.toml: [[outputs.flap]] 3: open_us is missing; expected a pulse in whole microseconds",
        "bin.toml: [outputs]: bin 'Trash' has no output; add an [[outputs.flap]] with bin = \"Trash\"",
        "bin.toml: [outputs]: move_s is True; expected seconds from 0.1 to 10",
        "bin.toml: [outputs]: hold_s is 0; expected seconds from 0.1 to 10",
    ]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        ("", "build is missing; expected one of 'leds', 'flaps', 'diverter'"),
        ('build = "flap"', "build is 'flap'; expected one of 'leds', 'flaps', 'diverter'; did you mean 'flaps'?"),
        ("build = 3", "build is 3; expected one of 'leds', 'flaps', 'diverter'"),
    ],
)
def test_the_build_has_to_be_one_of_three(build: str, sentence: str) -> None:
    assert problems(build) == [f"bin.toml: [outputs]: {sentence}"]


def test_one_pin_serves_one_output_also_the_alarm() -> None:
    assert problems(LEDS.replace('build = "leds"', 'build = "leds"\nalarm_pin_bcm = 6')) == [
        "bin.toml: [outputs]: alarm_pin_bcm 6 is already used by [[outputs.led]] 2; give each output its own pin"
    ]
    assert problems(DIVERTER.replace("pin_bcm = 13", "pin_bcm = 12")) == [
        "bin.toml: [outputs.tilt]: pin_bcm 12 is already used by [outputs.pan]; give each output its own pin"
    ]


def test_each_bin_has_a_place_of_its_own_off_the_level() -> None:
    text = DIVERTER.replace("pan_us = 1000\ntilt_us = 1000", "pan_us = 1500\ntilt_us = 2100")
    assert problems(text) == [
        "bin.toml: [[outputs.position]] 2: bin 'Trash' has the place of bin 'Glass'; "
        "give each bin its own pan_us and tilt_us"
    ]
    text = DIVERTER.replace("tilt_us = 1000", "tilt_us = 1450")
    assert problems(text) == [
        "bin.toml: [[outputs.position]] 2: tilt_us is 1450, the level tray; the item would stay on it: "
        "give another pulse"
    ]


def test_a_diverter_needs_both_servos_with_room_for_each_position() -> None:
    assert problems(DIVERTER.replace("[pan]", "[pen]")) == [
        "bin.toml: [outputs]: unknown key 'pen'; known here: build, pan, tilt, position, move_s, hold_s, "
        "alarm_pin_bcm; did you mean 'pan'?",
        "bin.toml: [outputs]: pan is missing; add [outputs.pan] with pin_bcm and home_us",
    ]
    assert problems(DIVERTER.replace("tilt_us = 2100", "tilt_us = 2201")) == [
        "bin.toml: [[outputs.position]] 1: tilt_us is 2201; expected 1000 to 2200 microseconds; "
        "set max_us of this servo if its horn has room",
        ]  # fmt: skip
    assert problems(DIVERTER.replace("max_us = 2200", "max_us = 2600")) == [
        "bin.toml: [outputs.tilt]: max_us is 2600; expected 500 to 2500 microseconds; "
        "no servo takes a pulse outside 500 to 2500"
    ]


def test_rows_have_to_be_tables() -> None:
    assert problems('build = "leds"\nled = 5')[0] == (
        "bin.toml: [outputs]: led is no list of tables; write one [[outputs.led]] per bin"
    )


def test_a_bin_without_a_name_is_asked_for_one() -> None:
    assert problems(LEDS.replace('bin = "Trash"\n', ""))[0] == (
        "bin.toml: [[outputs.led]] 2: bin is missing; name one of 'Glass', 'Trash'"
    )


def test_a_bin_that_is_called_like_the_alarm_lamp_is_refused() -> None:
    text = LEDS.replace('"Glass"', '"alarm"').replace('build = "leds"', 'build = "leds"\nalarm_pin_bcm = 7')
    assert problems(text, ("alarm", "Trash")) == [
        "bin.toml: [outputs]: a bin is called 'alarm', like the alarm lamp; give that bin another name"
    ]


def test_more_bins_than_reference_pins_have_no_default() -> None:
    with pytest.raises(ConfigError, match="9 bins, but the reference build has pins for 8 flaps; write an"):
        default_outputs([str(number) for number in range(9)])
