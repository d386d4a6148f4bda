"""A calibration that is driven from a browser: the same session as in the terminal, in a thread of its own.

    a tap -> Calibrating.ask -> thread: Lender.borrow -> Session.run -> result, or a question -> the page -> an answer

While it is open the bin sorts nothing, so it closes by itself when nobody has touched it for `IDLE_S`. It must never
take silence for consent: a question that nobody answers in time is answered with no.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from device.camera.frame import Rgb
from device.config_types import Config
from device.errors import DashboardError, WastebinError

if TYPE_CHECKING:
    from device.calibrate.session import Session
    from device.calibrate.step import Bench, Shown

__all__ = ["Asked", "Calibrating", "Lends", "Question"]

IDLE_S: Final = 300.0
ANSWER_S: Final = 120.0


class Lends(Protocol):
    """What is needed of `lend.Lender`."""

    config: Config

    def borrow(self, timeout_s: float = 15.0) -> "AbstractContextManager[Bench]":
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
    """A person at the other end of a browser; a `calibrate.step.Person`."""

    def __init__(self) -> None:
        self.question: Question | None = None
        self._answers: queue.Queue[object] = queue.Queue(1)

    def show(self, what: "Shown") -> bool:
        """Ask for it, and wait until it is there."""
        return self._ask(Question("show", f"Please show it {what}.")) is True

    def tell(self, question: str) -> bool | None:
        """Ask yes or no; None where nobody answers."""
        answer = self._ask(Question("tell", question))
        return answer if isinstance(answer, bool) else None

    def number(self, question: str, default: int) -> int:
        """Ask for a number; the default where nobody answers."""
        answer = self._ask(Question("number", question, default))
        return answer if isinstance(answer, int) and not isinstance(answer, bool) else default

    def answer(self, value: object) -> None:
        """Answer what is asked; None is silence.

        Raises:
            DashboardError: nothing is asked.
        """
        if self.question is None:
            raise DashboardError("nothing is asked at the moment", 409)
        self.question = None
        self._answers.put(value)

    def _ask(self, question: Question) -> object:
        self.question = question
        try:
            return self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            return None
        finally:
            self.question = None


@dataclass
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

    def __init__(self, lender: Lends) -> None:
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
        opened.is_ready.wait(30.0)
        if opened.error is not None:
            raise DashboardError(opened.error, 409)

    def close(self, timeout_s: float = 30.0) -> None:
        """Give the bin back after the step that runs; what was not saved is forgotten."""
        opened = self._open
        if opened is None:
            return
        opened.tasks.put(None)
        if opened.person.question is not None:
            opened.person.answer(None)
        if opened.thread is not None:
            opened.thread.join(timeout_s)

    def answer(self, value: object) -> None:
        """Answer what is asked.

        Raises:
            DashboardError: nothing is.
        """
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
        """Keep the calibration; the bin goes by it from its next start on.

        Raises:
            DashboardError: nothing is open, a step runs, or it cannot be written.
        """
        opened = self._opened()
        if opened.busy is not None or opened.session is None:
            raise DashboardError("a step runs; wait for it", 409)
        opened.session.save()
        opened.is_saved = True

    def picture(self) -> Rgb | None:
        """What the newest step looked at."""
        session = self.session
        results = [] if session is None else list(session.results.values())
        return next((each.picture for each in reversed(results) if each.picture is not None), None)

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
        from device.calibrate.session import Session
        from device.calibrate.step import Person

        try:
            with self._lender.borrow() as bench:
                # A simulated bin brings its own person.
                person = None if isinstance(bench, Person) else opened.person
                opened.session = Session(bench, self._lender.config, person)
                opened.is_ready.set()
                self._work(opened, opened.session)
        except WastebinError as error:
            opened.error = self.error = str(error)
        finally:
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
