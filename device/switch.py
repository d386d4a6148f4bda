"""Change over to the model that the store names, watch it on trial, and keep it or go back; in the running bin.

    state.json (asked once a second) -> Switch -> Engine.swap -> frames -> trial.verdict -> commit | roll back

No socket and no signal: whoever activates a release writes the state durably, and the bin follows it, now or at its
next start. The model before stays open beside the one on trial, so that the way back takes no longer than one frame.
Sorting never waits for the store: what changes it is run in a thread (a card may take a second to sync). It must never
load a release on trial before that try is counted on disk, since the process may not live to count it afterwards.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from device.camera.frame import Frame
from device.engine import Engine, Records
from device.errors import BundleError, ConfigError, ReleaseError, WastebinError
from device.events import Event
from device.model import Model
from device.release_state import TRIES, State
from device.trial import Trial, Verdict

__all__ = ["FixedStore", "Opens", "Started", "Store", "Switch", "start_model"]

POLL_S: Final = 1.0
RETRY_S: Final = 10.0
"""After so long a change of the store that the disk refused is tried again."""
CHANGE_S: Final = 2.0
"""So long a stop waits for a change of the store: a few fsyncs on a slow card."""

Opens = Callable[[str | None], Model]
"""Opens a release, golden pictures included; None is the factory model."""


class Store(Protocol):
    """What is needed of `releases.ReleaseStore`."""

    def read_state(self) -> State:
        """What the bin knows about its models."""
        ...

    def choices(self, state: State) -> list[str | None]:
        """What to run, best first."""
        ...

    def refusals(self) -> dict[str, str]:
        """The releases that were refused or rolled back of late -> why."""
        ...

    def note_try(self) -> State:
        """Count a start of the release on trial, durably."""
        ...

    def give_back_try(self, release: str) -> State:
        """Uncount a start that ended on purpose."""
        ...

    def commit(self, release: str) -> State:
        """The release on trial has proved itself."""
        ...

    def roll_back(self, reason: str, release: str | None = None) -> State:
        """Go back to what ran before."""
        ...


class FixedStore:
    """Stands for the store where a person has named the model: nothing is ever on trial."""

    def read_state(self) -> State:
        """Nothing is known to have been tried."""
        return State()

    def choices(self, state: State) -> list[str | None]:
        """The one model."""
        return [state.serving]

    def refusals(self) -> dict[str, str]:
        """There are none."""
        return {}

    def note_try(self) -> State:
        """There is nothing to count."""
        return State()

    def give_back_try(self, release: str) -> State:  # noqa: ARG002
        """There is nothing to count."""
        return State()

    def commit(self, release: str) -> State:
        """Never asked for."""
        raise ReleaseError(f"{release}: cannot be committed, since the model was named by hand")

    def roll_back(self, reason: str, release: str | None = None) -> State:
        """Never asked for."""
        raise ReleaseError(f"{_shown(release)}: cannot be rolled back ({reason}), since the model was named by hand")


@dataclass(frozen=True, slots=True)
class Started:
    """What a bin begins with.

    Attributes:
        release: of the model; None is the factory model.
        model: opened.
        fallback: what to go back to where the release is on trial, else None.
        fallback_release: of `fallback`.
        notes: what happened on the way, to be recorded.
    """

    release: str | None
    model: Model
    fallback: Model | None
    fallback_release: str | None
    notes: tuple[Event, ...]


@dataclass(slots=True)
class _Opening:
    """A release that is being opened beside the model before it; the rest is read only when the thread has ended."""

    state: State
    before: Model
    model: Model | None = None
    error: WastebinError | None = None
    thread: threading.Thread | None = None


@dataclass(slots=True)
class _Errand:
    """A change of the store on its way; `error` is read only when the thread has ended."""

    release: str
    verdict: Verdict
    thread: threading.Thread | None = None
    error: WastebinError | None = None
    retry_s: float | None = None


def start_model(store: Store, open_release: Opens) -> Started:
    """Open the best model that opens: what serves, what ran before it, the factory model.

    Raises:
        BundleError, ConfigError: not even the factory model can be used.
    """
    notes: list[Event] = []
    was = store.read_state()
    try:
        state = store.note_try()
    except ReleaseError as error:
        notes.append(Event("fault", str(error)))
        state = was
        choices = [release for release in store.choices(was) if was.phase != "trial" or release != was.release]
    else:
        choices = store.choices(state)
        if was.phase == "trial" and state.phase == "rolled_back":
            notes.append(_told_back(was.release, state.reason))
    opened: list[tuple[str | None, Model]] = []
    for release in choices:
        try:
            opened.append((release, open_release(release)))
        except (BundleError, ConfigError) as error:
            if release is None and not opened:
                raise
            notes.append(Event("fault", f"model {_shown(release)} cannot be used: {error}", model_version=release))
            if release is not None and state.phase == "trial" and release == state.release:
                notes.append(_go_back(store, release, str(error)))
            continue
        # A release on trial needs the next one too: the way back must not depend on a disk.
        if state.phase != "trial" or release != state.release:
            break
    release, model = opened[0]
    fallback_release, fallback = opened[1] if len(opened) > 1 else (None, None)
    if fallback is not None:
        notes.append(_told_trial(model, state))
    return Started(release, model, fallback, fallback_release, tuple(notes))


class Switch:
    """Keeps the engine at the model that the store names.

    Args:
        engine: runs `started.model`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        open_release: Opens,
        log: Records,
        *,
        clock: Callable[[], float],
        started: Started,
    ) -> None:
        self._store = store
        self._engine = engine
        self._open_release = open_release
        self._log = log
        self._clock = clock
        self._release = started.release
        self._fallback = started.fallback
        self._fallback_release = started.fallback_release
        self._trial = None if started.fallback is None else Trial(clock())
        self._opening: _Opening | None = None
        self._errand: _Errand | None = None
        self._given_up: State | None = None
        self._refusals = store.refusals()
        self._poll_s = clock()

    def saw(self, frame: Frame) -> None:
        """A frame was acted on without a fault; once a second the model on trial is shown it."""
        if self._trial is None:
            return
        now_s = self._clock()
        trial = self._trial.saw_frame(now_s)
        if trial.wants_look(now_s):
            try:
                trial = trial.answered(now_s, self._engine.model.classifier.classify(frame.rgb).ms)
            except BundleError as error:
                trial = trial.failed(str(error))
        self._trial = trial

    def step(self) -> None:
        """Do what is due; never waits."""
        now_s = self._clock()
        if self._errand is not None:
            self._follow_errand(self._errand, now_s)
        elif self._opening is not None:
            self._follow_opening(self._opening, now_s)
        else:
            if self._trial is not None:
                self._judge(self._trial, now_s)
            if self._errand is None and now_s >= self._poll_s:
                self._poll_s = now_s + POLL_S
                self._poll()

    def stopped(self) -> None:
        """The bin was asked to stop: a verdict on its way is told, and a trial in which nothing has failed so far keeps
        its tries; waits for the disk.
        """
        if self._errand is not None and self._errand.thread is not None:
            self._errand.thread.join(CHANGE_S)
            self._follow_errand(self._errand, self._clock())
        if self._trial is None or self._release is None or self._trial.failure is not None or self._trial.good_s == 0:
            return
        if self._engine.model_error is not None:
            return
        try:
            self._store.give_back_try(self._release)
        except ReleaseError as error:
            self._log.add(Event("fault", str(error), model_version=self._release))

    def _poll(self) -> None:
        state = self._store.read_state()
        self._tell_refusals(state)
        if state.serving == self._release or state == self._given_up:
            return
        if self._trial is not None and self._fallback is not None and state.serving == self._fallback_release:
            self._trial = None  # a person had it rolled back
            self._log.add(_told_back(self._release, state.reason))
            self._put_back()
            return
        self._trial = None
        self._opening = opening = _Opening(state, self._engine.model)

        def open_next() -> Model:
            try:
                opening.model = self._open(opening)
            except WastebinError as error:
                opening.error = error
                raise
            return opening.model

        opening.thread = self._engine.swap(open_next)

    def _tell_refusals(self, state: State) -> None:
        """Record what was refused beside this process; a roll-back is told by whoever carries it out."""
        refusals = self._store.refusals()
        for release, why in refusals.items():
            if release != state.release and self._refusals.get(release) != why:
                self._log.add(Event("model", f"refused {release}: {why}", model_version=release))
        self._refusals = refusals

    def _open(self, opening: _Opening) -> Model:
        """Count the try, then open; in a thread of its own."""
        wanted = opening.state.serving
        if opening.state.phase == "trial":
            opening.state = self._store.note_try()
            if opening.state.serving != wanted:
                raise ReleaseError(f"{wanted}: {opening.state.reason or 'another one serves by now'}")
        return self._open_release(wanted)

    def _follow_opening(self, opening: _Opening, now_s: float) -> None:
        if opening.thread is None or opening.thread.is_alive():
            return
        state = opening.state
        if opening.model is None:
            self._opening = None
            if state.phase == "trial" and state.release is not None:
                reason = str(opening.error or f"{state.release}: cannot be opened; see the journal")
                self._send(_Errand(state.release, Verdict("roll back", reason)))
            else:
                self._given_up = state
        elif self._engine.model.version == opening.model.version:
            self._opening = None
            self._release, before_release = state.serving, self._release
            if state.phase == "trial":
                self._fallback, self._fallback_release = opening.before, before_release
                self._trial = Trial(now_s)
                self._log.add(_told_trial(opening.model, state))
            else:
                self._fallback = None
                if state.phase == "rolled_back":
                    self._log.add(_told_back(state.release, state.reason))
        # Else an item is being looked at: models change between two items only.

    def _judge(self, trial: Trial, now_s: float) -> None:
        error = self._engine.model_error
        verdict = (trial if error is None else trial.failed(str(error))).verdict(now_s)
        if verdict is None or self._release is None:
            return
        errand = _Errand(self._release, verdict)
        self._trial = None
        if verdict.word == "roll back":
            self._put_back()
        self._send(errand)

    def _put_back(self) -> None:
        if self._fallback is not None:
            self._engine.put_back(self._fallback)
        self._release, self._fallback = self._fallback_release, None

    def _send(self, errand: _Errand) -> None:
        def change() -> None:
            try:
                if errand.verdict.word == "commit":
                    self._store.commit(errand.release)
                else:
                    self._store.roll_back(errand.verdict.reason, errand.release)
            except WastebinError as error:
                errand.error = error

        errand.error = errand.retry_s = None
        errand.thread = threading.Thread(target=change, name="change-models", daemon=True)
        self._errand = errand
        errand.thread.start()

    def _follow_errand(self, errand: _Errand, now_s: float) -> None:
        if errand.thread is not None and errand.thread.is_alive():
            return
        if errand.error is None:
            self._errand = None
            if errand.verdict.word == "commit":
                self._fallback = None
                self._log.add(Event("model", f"kept: {errand.verdict.reason}", model_version=errand.release))
            else:
                self._log.add(_told_back(errand.release, errand.verdict.reason))
        elif errand.retry_s is None:
            self._log.add(Event("fault", f"{errand.error} (trying again)", model_version=errand.release))
            errand.retry_s = now_s + RETRY_S
        elif now_s >= errand.retry_s:
            state = self._store.read_state()
            if (state.phase, state.release) == ("trial", errand.release):
                self._send(errand)
            else:
                self._errand = None  # somebody else has decided meanwhile


def _go_back(store: Store, release: str, reason: str) -> Event:
    try:
        store.roll_back(reason, release)
    except ReleaseError as error:
        return Event("fault", str(error), model_version=release)
    return _told_back(release, reason)


def _told_back(release: str | None, reason: str) -> Event:
    return Event("model", f"rolled back from {_shown(release)}: {reason}", model_version=release)


def _told_trial(model: Model, state: State) -> Event:
    detail = f"on trial: {model.name}, try {TRIES - state.tries_left} of {TRIES}"
    return Event("model", detail, model_version=model.version)


def _shown(release: str | None) -> str:
    return "the factory model" if release is None else release
