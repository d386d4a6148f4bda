"""The three reference builds: complete configurations whose wiring tables tell the truth."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory

from device.drive import Phase, build_drive
from device.outputs import (
    DiverterOutputs,
    FlapOutputs,
    LedOutputs,
    OutputsConfig,
    default_outputs,
    parse_outputs,
)
from device.pins import open_pins

BINS = ["Plastic", "Paper", "Metal", "Glass", "Organic", "Trash"]
BUILDS = {"leds.toml": LedOutputs, "flaps.toml": FlapOutputs, "diverter.toml": DiverterOutputs}
every_build = pytest.mark.parametrize("name", BUILDS)


def text_of(name: str) -> str:
    return files("device.builds").joinpath(name).read_text(encoding="utf-8")


def outputs_of(name: str) -> OutputsConfig:
    return parse_outputs(tomllib.loads(text_of(name))["outputs"], name, BINS)


def pins_of(outputs: OutputsConfig) -> set[int]:
    devices = {
        LedOutputs: lambda: outputs.leds,
        FlapOutputs: lambda: outputs.flaps,
        DiverterOutputs: lambda: (outputs.pan, outputs.tilt),
    }[type(outputs)]()
    return {device.pin_bcm for device in devices} | {outputs.alarm_pin_bcm}


def test_there_are_three_builds() -> None:
    folder = Path(str(files("device.builds")))
    assert {path.name for path in folder.glob("*.toml")} == set(BUILDS)


@every_build
def test_a_build_is_a_whole_configuration_with_an_output_for_each_bin(name: str) -> None:
    table = tomllib.loads(text_of(name))
    assert set(table) == {"bin", "costs", "camera", "outputs", "dashboard"}
    assert table["dashboard"] == {"host": "0.0.0.0", "port": 8080}  # once there is a token
    assert [row["name"] for row in table["bin"]] == BINS
    assert sorted(label for row in table["bin"] for label in row["takes"]) == [
        "cardboard", "glass", "metal", "organic", "paper", "plastic", "trash",
    ]  # fmt: skip
    assert [row["name"] for row in table["bin"] if row.get("residual")] == ["Trash"]
    assert type(outputs_of(name)) is BUILDS[name]


@every_build
def test_the_wiring_table_names_each_pin_by_both_its_numbers(name: str) -> None:
    rows = re.findall(r"^# \| ([\w ]+?) +\| +(\d+) \| +(\d+) \|", text_of(name), re.MULTILINE)
    board = MockFactory(revision="c03111").board_info
    wired = {int(bcm): int(physical) for _, bcm, physical in rows}
    assert set(wired) == pins_of(outputs_of(name))
    assert len(rows) == len(wired)
    for bcm, physical in wired.items():
        assert [info.number for header, info in board.find_pin(f"GPIO{bcm}") if header.name == "J8"] == [physical]


@every_build
def test_the_head_has_parts_wiring_power_and_how_to_run(name: str) -> None:
    head = [line for line in text_of(name).splitlines() if line.startswith("#")]
    chapters = [match[1] for line in head if (match := re.match(r"# (Parts|Wiring|Power|Run)\b", line))]
    assert chapters == ["Parts", "Wiring", "Power", "Run"]
    assert f"#   on any machine:   wastebin run --config {name} --camera sim --pins mock" in head
    assert ("common ground" in text_of(name)) == (name != "leds.toml")
    assert max(len(line) for line in text_of(name).splitlines()) <= 120


@every_build
def test_each_bin_of_a_build_moves_its_own_output_only(name: str) -> None:
    outputs = outputs_of(name)
    for bin_name in BINS:
        trace: list[tuple[float, str, float | None]] = []
        with build_drive(outputs, open_pins("mock"), clock=lambda: 0.0, trace=trace.append) as drive:
            now_s = 0.0
            while drive.step(now_s, is_clear=True) is not Phase.PARKED:
                now_s += 0.1
            trace.clear()
            drive.begin(bin_name, now_s)
            while drive.step(now_s, is_clear=True) is not Phase.PARKED:
                now_s += 0.1
        on = [(output, value) for _, output, value in trace if value]
        if isinstance(outputs, LedOutputs):
            assert on == [(bin_name, 1.0)]
        elif isinstance(outputs, FlapOutputs):
            assert on == [(bin_name, 2000.0), (bin_name, 1000.0)]
        else:
            pan_us, tilt_us = outputs.positions_us[bin_name]
            turns = pan_us != 1500
            assert on == [
                *([("pan", float(pan_us))] if turns else []),
                ("tilt", float(tilt_us)),
                ("tilt", 1500.0),
                *([("pan", 1500.0)] if turns else []),
            ]


def test_the_outputs_of_a_bin_without_a_configuration_are_those_of_the_flap_build() -> None:
    assert default_outputs(BINS) == outputs_of("flaps.toml")
