"""A calibration from a browser: one at a time, the bin comes back, and silence is no consent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.calibrate.step import Bench, Shown
from device.calibration import load_calibration
from device.camera.locks import AUTOMATIC
from device.config import load_config
from device.errors import DashboardError, LendError
from device.lend import simulated_bench
from device.web.calibrating import Asked, Calibrating, Question

DEADLINE_S = 120.0


class Bin:
    """Lends a simulated bin, or refuses."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(None, environ={"STATE_DIRECTORY": str(folder)})
        self.is_lent = False
        self.refusal: str | None = None

    @contextmanager
    def borrow(self, timeout_s: float = 15.0) -> Iterator[Bench]:
        if self.refusal is not None:
            raise LendError(self.refusal)
        self.is_lent = True
        try:
            yield simulated_bench(self.config, "sim:seed=4", AUTOMATIC)
        finally:
            self.is_lent = False


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s
        threading.Event().wait(0.02)


@pytest.fixture
def bin_(tmp_path: Path) -> Bin:
    return Bin(tmp_path)


def test_a_step_is_run_saved_and_the_bin_comes_back(bin_: Bin, tmp_path: Path):
    calibrating = Calibrating(bin_)
    calibrating.open()
    assert (bin_.is_lent, calibrating.is_saved) == (True, True)
    calibrating.run("camera", {})
    wait_until(lambda: calibrating.busy is None)
    assert calibrating.session is not None
    assert list(calibrating.session.results) == ["camera"]
    assert (calibrating.is_saved, calibrating.error) == (False, None)
    calibrating.save()
    assert calibrating.is_saved
    assert list(load_calibration(tmp_path)[0].done) == ["camera"]
    calibrating.undo("camera")
    wait_until(lambda: calibrating.busy is None)
    calibrating.close()
    assert (bin_.is_lent, calibrating.session) == (False, None)
    assert list(load_calibration(tmp_path)[0].done) == ["camera"]  # undone, and not saved


def test_there_is_one_at_a_time(bin_: Bin):
    calibrating = Calibrating(bin_)
    for nothing_open in (calibrating.save, lambda: calibrating.run("camera", {}), lambda: calibrating.answer(True)):
        with pytest.raises(DashboardError, match="begin one"):
            nothing_open()
    calibrating.open()
    with pytest.raises(DashboardError, match="open already"):
        calibrating.open()
    calibrating.close()
    calibrating.close()
    calibrating.open()
    calibrating.close()


def test_a_bin_that_cannot_be_had_says_why(bin_: Bin):
    bin_.refusal = "calibrate: another calibration is under way"
    calibrating = Calibrating(bin_)
    with pytest.raises(DashboardError, match="another calibration"):
        calibrating.open()
    assert (calibrating.session, calibrating.error) == (None, bin_.refusal)


def test_what_a_step_cannot_do_is_told_and_the_session_goes_on(bin_: Bin):
    calibrating = Calibrating(bin_)
    calibrating.open()
    calibrating.run("nothing", {})
    wait_until(lambda: calibrating.busy is None)
    assert "no step" in (calibrating.error or "")
    assert calibrating.is_saved
    assert bin_.is_lent
    calibrating.close()


@pytest.mark.parametrize(
    ("ask", "question", "answers"),
    [
        (
            lambda who: who.show(Shown.CARD),
            Question("show", f"Please show it {Shown.CARD}."),
            [(True, True), (False, False), (None, False), (7, False)],
        ),
        (
            lambda who: who.tell("Is it lit?"),
            Question("tell", "Is it lit?"),
            [(True, True), (False, False), (None, None), (1, None)],
        ),
        (
            lambda who: who.number("Which pulse?", 900),
            Question("number", "Which pulse?", 900),
            [(1200, 1200), (None, 900), (True, 900)],
        ),
    ],
)
def test_a_question_waits_for_its_answer(ask: Callable, question: Question, answers: list[tuple[object, object]]):
    for answer, meant in answers:
        person, heard = Asked(), []
        thread = threading.Thread(target=lambda person=person, heard=heard: heard.append(ask(person)))
        thread.start()
        wait_until(lambda person=person: person.question is not None)
        assert person.question == question
        person.answer(answer)
        thread.join(DEADLINE_S)
        assert heard == [meant]
        with pytest.raises(DashboardError, match="nothing is asked"):
            person.answer(True)
