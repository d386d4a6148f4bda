"""The calibration file: whole or not used, and never more than the configuration can follow."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.calibration import FILE, LAST_GOOD, Calibration, Done, apply, load_calibration, save_calibration
from device.camera.corrected import CorrectedCamera, correct
from device.camera.frame import Frame, Rgb
from device.camera.locks import AUTOMATIC, Locks
from device.config import REFERENCE_BUILDS, load_config
from device.config_types import Config
from device.errors import CalibrationError
from device.outputs import DiverterOutputs, FlapOutputs, LedOutputs

FULL = Calibration(
    camera="usb:0",
    locks=Locks(12_000, 2.5, (1.5, 2.0), 3.5, True, (0.9, 1.0, 1.25)),
    size_px=(640, 480),
    region=(40, 30, 500, 400),
    pulses_us={"Glass": (1900, 1100)},
    positions_us={"Glass": (2200, 900)},
    led_pins_bcm={"Glass": 6},
    threads=2,
    rate_hz=12.0,
    done={"colour": Done("2026-11-23T10:00:00Z", True, "right")},
)


def config_of(build: str, source: str = "usb:0") -> Config:
    config = load_config(next(path for path in REFERENCE_BUILDS if path.stem == build))
    return replace(config, camera=replace(config.camera, source=source))


def test_what_is_kept_comes_back_whole(tmp_path: Path) -> None:
    path = save_calibration(tmp_path / "state", FULL)
    assert path == tmp_path / "state" / FILE
    assert load_calibration(tmp_path / "state") == (FULL, None)


def test_a_bin_that_was_never_calibrated_has_nothing_and_no_complaint(tmp_path: Path) -> None:
    assert load_calibration(tmp_path) == (Calibration(), None)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="the calibration was not kept"):
        save_calibration(tmp_path / "file", FULL)


def damage(text: str, how: str) -> str:
    document = json.loads(text)
    match how:
        case "bit":
            return text.replace("1900", "1901")
        case "torn":
            return text[: len(text) // 2]
        case "format":
            return json.dumps({**document, "format": "other"})
        case "list":
            return "[]"
        case "deep":
            return "[" * 100_000
    return ""


@pytest.mark.parametrize("how", ["bit", "torn", "format", "list", "deep", "empty"])
def test_a_damaged_file_is_not_used_but_the_last_good_one_is_and_a_sentence_says_so(tmp_path: Path, how: str) -> None:
    older = replace(FULL, threads=1)
    save_calibration(tmp_path, older)
    save_calibration(tmp_path, FULL)
    path = tmp_path / FILE
    path.write_text(damage(path.read_text(), how))
    found, note = load_calibration(tmp_path)
    assert found == older
    assert note is not None
    assert note.startswith(str(path))
    assert note.endswith("the last good copy is used, run: wastebin calibrate")
    assert "\n" not in note
    # Saving again must not make a good copy of the damaged file.
    save_calibration(tmp_path, FULL)
    path.write_text("x")
    assert load_calibration(tmp_path)[0] == older


def test_without_a_good_copy_the_bin_runs_uncalibrated_and_says_so(tmp_path: Path) -> None:
    save_calibration(tmp_path, FULL)
    for name in (FILE, LAST_GOOD):
        (tmp_path / name).write_text("x")
    found, note = load_calibration(tmp_path)
    assert found == Calibration()
    assert note is not None
    assert note.endswith("there is no good copy; the bin runs uncalibrated, run: wastebin calibrate")


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FULL, pulses_us={"Glass": (1900, 3000)}),
        replace(FULL, positions_us={"Glass": (400, 1500)}),
        replace(FULL, locks=replace(FULL.locks, balance=(0.0, 1.0, 1.0))),
        replace(FULL, region=(600, 30, 500, 400)),
        replace(FULL, size_px=None),
    ],
)
def test_what_could_break_something_is_not_used_though_its_sum_is_right(tmp_path: Path, wrong: Calibration) -> None:
    save_calibration(tmp_path, wrong)
    assert load_calibration(tmp_path)[0] == Calibration()


def test_the_configuration_follows_what_was_found() -> None:
    config = apply(config_of("flaps"), FULL)
    assert config.camera.locks == FULL.locks
    assert (config.camera.region, config.camera.rate_hz, config.model.threads) == ((40, 30, 500, 400), 12.0, 2)
    assert isinstance(config.outputs, FlapOutputs)
    (glass,) = [flap for flap in config.outputs.flaps if flap.name == "Glass"]
    assert (glass.rest_us, config.outputs.open_us["Glass"]) == (1900, 1100)
    assert glass.min_us <= 1100
    assert glass.max_us >= 1900
    assert apply(config, FULL) == config


def test_a_diverter_takes_the_places_that_were_found_for_it_and_never_those_of_flaps() -> None:
    plain = config_of("diverter")
    before, after = plain.outputs, apply(plain, FULL).outputs
    assert isinstance(before, DiverterOutputs)
    assert isinstance(after, DiverterOutputs)
    assert after.positions_us == {**before.positions_us, "Glass": (2200, 900)}
    assert (after.pan.max_us, after.tilt.min_us) == (2200, min(900, before.tilt.min_us))
    assert (after.pan.rest_us, after.tilt.rest_us) == (before.pan.rest_us, before.tilt.rest_us)
    assert apply(plain, replace(FULL, positions_us={})).outputs == before


def test_another_camera_is_not_held_at_this_ones_values() -> None:
    config = config_of("flaps", "picamera2")
    assert apply(config, FULL).camera == config.camera


def test_a_region_of_another_picture_size_is_left_out() -> None:
    config = config_of("flaps")
    small = replace(config, camera=replace(config.camera, size_px=(320, 240)))
    assert apply(small, FULL).camera.region is None


def test_lamps_follow_and_two_lamps_never_share_a_pin() -> None:
    config = config_of("leds")
    assert isinstance(config.outputs, LedOutputs)
    first, second = config.outputs.leds[:2]
    swapped = replace(FULL, led_pins_bcm={first.name: second.pin_bcm, second.name: first.pin_bcm})
    outputs = apply(config, swapped).outputs
    assert isinstance(outputs, LedOutputs)
    assert [led.pin_bcm for led in outputs.leds[:2]] == [second.pin_bcm, first.pin_bcm]
    clash = replace(FULL, led_pins_bcm={first.name: second.pin_bcm})
    assert apply(config, clash).outputs == config.outputs


# Colours


def test_red_and_blue_are_turned_round_before_they_are_balanced() -> None:
    rgb: Rgb = np.array([[[100, 50, 20]]], np.uint8)
    assert correct(rgb, AUTOMATIC) is rgb
    assert correct(rgb, Locks(is_swapped=True)).tolist() == [[[20, 50, 100]]]
    assert correct(rgb, Locks(is_swapped=True, balance=(2.0, 1.0, 0.5))).tolist() == [[[40, 50, 50]]]
    assert correct(rgb, Locks(balance=(4.0, 1.0, 1.0))).tolist() == [[[255, 50, 20]]]


@pytest.mark.parametrize("first", [Locks(), Locks(is_swapped=True, balance=(1.2, 1.0, 0.8))])
@pytest.mark.parametrize("swaps", [False, True])
def test_what_is_found_on_corrected_frames_joins_what_is_known(first: Locks, swaps: bool) -> None:
    rgb: Rgb = np.array([[[90, 80, 60]]], np.uint8)
    more = Locks(is_swapped=swaps, balance=(0.9, 1.0, 1.1))
    both = first.then(is_swapped=more.is_swapped, balance=more.balance)
    twice = correct(correct(rgb, first), more).astype(int)
    assert np.abs(twice - correct(rgb, both)).max() <= 2
    assert np.abs(twice - correct(correct(rgb, first), both.beyond(first))).max() <= 2


class OneFrame:
    name, is_live, closed = "usb:0", True, 0

    def read(self) -> Frame | None:
        return None if self.closed else Frame(np.array([[[100, 50, 20]]], np.uint8), 5.0, 7)

    def settled(self) -> Locks:
        return Locks(gain=2.0)

    def close(self) -> None:
        self.closed += 1


def test_a_corrected_camera_changes_colours_and_nothing_else() -> None:
    inner = OneFrame()
    with CorrectedCamera(inner, Locks(is_swapped=True)) as camera:  # type: ignore[arg-type]
        frame = camera.read()
        assert frame is not None
        assert (frame.rgb.tolist(), frame.captured_s, frame.number) == ([[[20, 50, 100]]], 5.0, 7)
        assert not frame.rgb.flags.writeable
        assert (camera.name, camera.is_live, camera.settled()) == ("usb:0", True, Locks(gain=2.0))
        camera.flap_moved("Glass")
    assert inner.closed == 1
    assert camera.read() is None
