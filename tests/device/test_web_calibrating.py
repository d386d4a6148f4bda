"""A calibration from a browser: one at a time, the bin comes back, and silence is no consent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from device.calibrate.step import Bench, Shown
from device.calibration import load_calibration
from device.camera.locks import AUTOMATIC
from device.config import load_config
from device.errors import CalibrationError, DashboardError, LendError
from device.lend import simulated_bench
from device.outputs import default_outputs
from device.web.calibrating import Asked, Calibrating, Question

DEADLINE_S = 120.0


class Bin:
    """Lends a simulated bin, or refuses."""

    def __init__(self, folder: Path) -> None:
        config = load_config(None, environ={"STATE_DIRECTORY": str(folder)})
        outputs = default_outputs([each.name for each in config.site.bins])
        self.config = replace(config, camera=replace(config.camera, source="sim:seed=4"), outputs=outputs)
        self.is_lent = False
        self.refusal: str | None = None

    @contextmanager
    def borrow(self, timeout_s: float = 15.0) -> Iterator[Bench]:
        if self.refusal is not None:
            raise LendError(self.refusal)
        self.is_lent = True
        try:
            yield simulated_bench(self.config, AUTOMATIC)
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
            [(True, True), (False, False)],
        ),
        (
            lambda who: who.tell("Is it lit?"),
            Question("tell", "Is it lit?"),
            [(True, True), (False, False)],
        ),
        (
            lambda who: who.number("Which pulse?", 900),
            Question("number", "Which pulse?", 900),
            [(1200, 1200), (0, 0)],
        ),
    ],
)
def test_a_question_waits_for_its_answer(ask: Callable, question: Question, answers: list[tuple[int, int]]):
    for answer, meant in answers:
        person, heard = Asked(), []
        thread = threading.Thread(target=lambda person=person, heard=heard: heard.append(ask(person)))
        thread.start()
        wait_until(lambda person=person: person.question is not None)
        assert person.question == question
        with pytest.raises(DashboardError, match="expected "):
            person.answer(5 if isinstance(answer, bool) else True)
        person.answer(answer)
        thread.join(DEADLINE_S)
        assert heard == [meant]
        with pytest.raises(DashboardError, match="nothing is asked"):
            person.answer(True)


@pytest.mark.parametrize("how", ["silent", "leaves", "left"])
def test_nobody_is_no_yes_and_no_number_but_the_end_of_the_step(how: str):
    person = Asked(answer_s=0.01 if how == "silent" else DEADLINE_S)
    if how == "left":
        person.leave()
    for ask in (lambda: person.tell("is it open?"), lambda: person.number("Which pulse?", 900)):
        if how == "leaves":
            threading.Timer(0.01, person.leave).start()
        with pytest.raises(CalibrationError, match="nobody answered"):
            ask()
        assert person.question is None


def test_closing_in_the_middle_of_a_step_ends_it_and_no_flap_moves_any_more(bin_: Bin):
    calibrating = Calibrating(bin_)
    calibrating.open()
    calibrating.run("flaps", {})
    wait_until(lambda: calibrating.question is not None)
    question = calibrating.question
    assert question is not None
    assert (question.kind, question.default) == ("number", 1000)
    session = calibrating.session
    calibrating.close()
    assert (bin_.is_lent, calibrating.session) == (False, None)
    assert session is not None
    assert session.results == {}
    assert session.picture is None  # no flap moves before somebody looks
