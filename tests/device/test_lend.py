"""A running bin lends its camera and pins to one calibration at a time."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.calibrate.board import OpenBench
from device.calibrate.picture import write_png
from device.calibrate.session import Nobody, Session
from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.config import REFERENCE_BUILDS, load_config
from device.config_types import Config
from device.errors import CameraError, LendError, OutputError
from device.lend import KEPT_FRAMES, Lender, Unlent

RGB = np.full((480, 640, 3), 90, np.uint8)


def config_of(build: str, tmp_path: Path, source: str, locks: Locks) -> Config:
    config = load_config(next(path for path in REFERENCE_BUILDS if path.stem == build))
    camera = replace(config.camera, source=source, locks=locks)
    return replace(config, events_path=tmp_path / "events.db", camera=camera)


def lender_of(
    build: str,
    tmp_path: Path,
    source: str = "usb:0",
    locks: Locks = AUTOMATIC,
    settled: Callable[[], Locks] = lambda: AUTOMATIC,
) -> Lender:
    config = config_of(build, tmp_path, source, locks)
    return Lender(config, pins="mock", camera=lambda: config.camera, settled=settled)


def frame(number: int) -> Frame:
    return Frame(RGB, float(number), number)


class Bin(threading.Thread):
    """A supervisor's part: gives frames while somebody wants them."""

    def __init__(self, lender: Lender) -> None:
        super().__init__(daemon=True)
        self.lender = lender
        self.is_over = threading.Event()
        self.given = 0

    def run(self) -> None:
        while not self.is_over.wait(0.001):
            if self.lender.is_wanted:
                self.given += 1
                self.lender.give(frame(self.given))

    def __enter__(self) -> "Bin":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        self.join()


@pytest.mark.parametrize("build", ["flaps", "leds", "diverter"])
def test_what_is_borrowed_are_frames_and_pins_and_both_come_back(build: str, tmp_path: Path) -> None:
    locks = Locks(is_swapped=True)
    lender = lender_of(build, tmp_path, locks=locks, settled=lambda: Locks(gain=2.0))
    with Bin(lender):
        with lender.borrow() as bench:
            assert (lender.is_wanted, lender.is_lent) == (True, True)
            numbers = [each.number for each in bench.look(5)]
            assert numbers == sorted(set(numbers))
            assert (bench.camera, bench.base, bench.settled()) == ("usb:0", locks, Locks(gain=2.0))
            if build == "leds":
                bench.light("Glass", True)
                bench.light("Glass", False)
            else:
                name = "Glass" if build == "flaps" else "pan"
                bench.pulse(name, 700)  # beyond the narrow limits of the configuration, as finding ends needs
                bench.pulse(name, None)
            with pytest.raises(LendError, match="no servo 'Gloss'"):
                bench.pulse("Gloss", 1500)
            with pytest.raises(LendError, match="no lamp 'Gloss'"):
                bench.light("Gloss", True)
        assert (lender.is_wanted, lender.is_lent) == (False, False)


def test_two_do_not_borrow_at_once(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path)
    with (
        Bin(lender),
        lender.borrow(),
        pytest.raises(LendError, match="another calibration is under way"),
        lender.borrow(),
    ):
        pass
    assert not lender.is_lent


def test_a_bin_that_does_not_come_to_rest_lends_nothing(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path)
    with pytest.raises(LendError, match=r"did not come to rest within 0\.01 s"), lender.borrow(timeout_s=0.01):
        pass
    assert (lender.is_wanted, lender.is_lent) == (False, False)


def test_a_borrower_who_fails_gives_everything_back(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path)
    with Bin(lender), pytest.raises(OutputError), lender.borrow():
        raise OutputError("pins: refused")
    assert (lender.is_wanted, lender.is_lent) == (False, False)


def test_only_the_newest_frames_wait_and_the_bin_never_does(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path)
    for number in range(10 * KEPT_FRAMES):
        lender.give(frame(number))
    assert lender.take().number >= 9 * KEPT_FRAMES


def test_a_session_runs_on_what_is_lent(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path)
    with Bin(lender), lender.borrow() as bench:
        result = Session(bench, lender.config, Nobody()).run("camera")
    assert result.figures["brightness"] == 90.0
    assert "sharpness not measured" in result.sentence


def test_a_simulated_bin_lends_one_on_which_a_card_can_be_laid(tmp_path: Path) -> None:
    lender = lender_of("flaps", tmp_path, "sim:seed=3,white_balance=0.4")
    with Bin(lender), lender.borrow() as bench:
        assert Session(bench, lender.config).run("colour").cured == ("white_balance",)


def test_a_bin_that_lends_nothing_wants_nothing() -> None:
    unlent = Unlent()
    unlent.give(frame(1))
    assert unlent.is_wanted is False


def test_a_bin_that_does_not_run_opens_its_camera_unheld_and_its_pins(tmp_path: Path) -> None:
    held = Locks(exposure_us=9_000, gain=2.0, is_swapped=True)
    config = config_of("flaps", tmp_path, "sim:seed=1", held)
    with OpenBench(config, config.camera, "mock") as bench:
        assert (bench.camera, bench.base) == ("sim:seed=1", Locks(is_swapped=True))
        first, second = bench.look(2)
        assert second.number > first.number > 0
        assert bench.settled() == AUTOMATIC
        bench.pulse("Glass", 700)
        bench.pulse("Glass", None)
    with pytest.raises(CameraError):
        next(bench.look(1))


def test_a_camera_that_ends_cannot_be_calibrated(tmp_path: Path) -> None:
    write_png(tmp_path / "one.png", RGB)
    config = config_of("flaps", tmp_path, f"dir:{tmp_path}", AUTOMATIC)
    with pytest.raises(CameraError, match="it has ended, expected a camera that goes on"):
        OpenBench(config, config.camera, "mock")
