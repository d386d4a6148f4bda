"""A calibration that is driven from a browser: the same session as in the terminal, in a thread of its own.

    a tap -> Calibrating.ask -> thread: Lender.borrow -> Session.run -> result, or a question -> the page -> an answer

While it is open the bin sorts nothing, so it closes by itself when nobody has touched it for `IDLE_S`. It must never
take silence for consent: a question that nobody answers in time ends the step.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from device.camera.frame import Rgb
from device.config_types import Config
from device.errors import CalibrationError, DashboardError, WastebinError

if TYPE_CHECKING:
    from device.calibrate.session import Session
    from device.calibrate.step import Bench, Person, Shown

__all__ = ["Asked", "Borrowable", "Calibrating", "Question"]

IDLE_S: Final = 300.0
ANSWER_S: Final = 120.0


class Borrowable(Protocol):
    """What is needed of `lend.Lender`."""

    config: Config

    def borrow(self, timeout_s: float = ...) -> "AbstractContextManager[Bench]":
        """Have the bin's camera and pins."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What a step wants to know of whoever stands at the bin.

    Attributes:
        kind: `show` (put something there), `tell` (yes or no) or `number`.
        text: half a sentence or a whole one.
        default: of a number.
    """

    kind: str
    text: str
    default: int | None = None


class Asked:
    """A person at the other end of a browser; a `calibrate.step.Person`.

    Whoever says nothing for `answer_s`, or leaves, ends the step with a CalibrationError: a flap must not go on moving
    because nobody objects.
    """

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        self.question: Question | None = None
        self._answer_s = answer_s
        self._answer: int | None = None
        self._is_gone = False
        self._changed = threading.Condition()

    def show(self, what: "Shown") -> bool:
        """Ask for it, and wait until it is there."""
        return bool(self._ask(Question("show", f"Please show it {what}.")))

    def tell(self, question: str) -> bool:
        """Ask yes or no."""
        return bool(self._ask(Question("tell", question)))

    def number(self, question: str, default: int) -> int:
        """Ask for a number."""
        return self._ask(Question("number", question, default))

    def answer(self, value: int) -> None:
        """Answer what is asked: yes or no, or a number.

        Raises:
            DashboardError: nothing is asked, or another kind of answer is expected.
        """
        with self._changed:
            if self.question is None:
                raise DashboardError("nothing is asked at the moment", 409)
            if isinstance(value, bool) == (self.question.kind == "number"):
                raise DashboardError(f"expected {'a number' if self.question.kind == 'number' else 'yes or no'}")
            self.question, self._answer = None, value
            self._changed.notify_all()

    def leave(self) -> None:
        """Nobody answers from now on."""
        with self._changed:
            self._is_gone = True
            self._changed.notify_all()

    def _ask(self, question: Question) -> int:
        with self._changed:
            self.question, self._answer = question, None
            self._changed.wait_for(lambda: self._answer is not None or self._is_gone, self._answer_s)
            self.question = None
            if self._answer is None:
                raise CalibrationError(f"nobody answered ({question.text}); the step was left, run it again")
            return self._answer


class _BesideSimulator:
    """Things appear in a simulated bin by themselves; where its flaps shall stand is still asked."""

    def __init__(self, bin_: "Person", asked: Asked) -> None:
        self.show, self.tell, self.number = bin_.show, bin_.tell, asked.number


@dataclass(slots=True)
class _Open:
    """One session in its thread."""

    person: Asked = field(default_factory=Asked)
    tasks: "queue.Queue[tuple[str, Callable[[Session], object]] | None]" = field(default_factory=queue.Queue)
    is_ready: threading.Event = field(default_factory=threading.Event)
    busy: str | None = None
    session: "Session | None" = None
    error: str | None = None
    is_saved: bool = True
    thread: threading.Thread | None = None


class Calibrating:
    """At most one session; every method may be called from any thread.

    Args:
        lender: lends the bin's camera and pins.
    """

    def __init__(self, lender: Borrowable) -> None:
        self._lender = lender
        self._lock = threading.Lock()
        self._open: _Open | None = None
        self.error: str | None = None
        """Why the last thing that was asked for did not work."""

    @property
    def session(self) -> "Session | None":
        """The one that is open."""
        return None if self._open is None else self._open.session

    @property
    def busy(self) -> str | None:
        """The step that runs."""
        return None if self._open is None else self._open.busy

    @property
    def question(self) -> Question | None:
        """What is asked now."""
        return None if self._open is None else self._open.person.question

    @property
    def is_saved(self) -> bool:
        """Whether all that was found is kept."""
        return self._open is None or self._open.is_saved

    def open(self) -> None:
        """Borrow the bin; it sorts nothing from now on.

        Raises:
            DashboardError: it is open already, or the bin cannot be had.
        """
        with self._lock:
            if self._open is not None:
                raise DashboardError("a calibration is open already; go on with it", 409)
            opened = self._open = _Open()
            self.error = None
            opened.thread = threading.Thread(target=self._run, args=(opened,), name="calibrate", daemon=True)
            opened.thread.start()
        opened.is_ready.wait()  # the lender ends it
        if opened.error is not None:
            raise DashboardError(opened.error, 409)

    def close(self, timeout_s: float = 30.0) -> None:
        """Give the bin back after the step that runs; what was not saved is forgotten."""
        opened = self._open
        if opened is None:
            return
        opened.tasks.put(None)
        opened.person.leave()
        if opened.thread is not None:
            opened.thread.join(timeout_s)

    def answer(self, value: int) -> None:
        """As `Asked.answer`."""
        self._opened().person.answer(value)

    def run(self, step: str, inputs: dict[str, Any]) -> None:
        """Begin a step; look at `session.results` for how it went.

        Raises:
            DashboardError: nothing is open, or a step runs.
        """
        self._begin(step, lambda session: session.run(step, **inputs))

    def undo(self, step: str) -> None:
        """Forget what a step has found.

        Raises:
            DashboardError: as `run`.
        """
        self._begin(step, lambda session: session.undo(step))

    def save(self) -> None:
        """Keep the calibration; the bin goes by it as soon as this is closed.

        Raises:
            DashboardError: nothing is open, a step runs, or it cannot be written.
        """
        opened = self._opened()
        if opened.busy is not None or opened.session is None:
            raise DashboardError("a step runs; wait for it", 409)
        opened.session.save()
        opened.is_saved = True

    def picture(self) -> Rgb | None:
        """What the camera sees while a step runs, else what the last one saw last."""
        session = self.session
        return None if session is None else session.picture

    def _begin(self, step: str, task: "Callable[[Session], object]") -> None:
        opened = self._opened()
        with self._lock:
            if opened.busy is not None:
                raise DashboardError("a step runs; wait for it", 409)
            opened.busy = step
        self.error = None
        opened.tasks.put((step, task))

    def _opened(self) -> _Open:
        opened = self._open
        if opened is None or opened.session is None:
            raise DashboardError("no calibration is open; begin one", 409)
        return opened

    def _run(self, opened: _Open) -> None:
        try:
            from device.calibrate.session import Session
            from device.calibrate.step import Person

            with self._lender.borrow() as bench:
                person = _BesideSimulator(bench, opened.person) if isinstance(bench, Person) else opened.person
                opened.session = Session(bench, self._lender.config, person)
                opened.is_ready.set()
                self._work(opened, opened.session)
        except WastebinError as error:
            opened.error = self.error = str(error)
        finally:
            opened.session = None  # and with it what it has seen
            self._open = None
            opened.is_ready.set()

    def _work(self, opened: _Open, session: "Session") -> None:
        while True:
            try:
                task = opened.tasks.get(timeout=IDLE_S)
            except queue.Empty:
                self.error = f"nobody went on for {IDLE_S / 60:g} minutes, so the bin sorts again; begin anew"
                return
            if task is None:
                return
            try:
                task[1](session)
                opened.is_saved = False
            except WastebinError as error:
                self.error = str(error)
            finally:
                opened.busy = None
