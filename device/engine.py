"""The bin's life, one frame at a time.

    Frame -> gate -> classify -> decide -> route -> drive -> is the tray empty again? -> events

    LEARNING -> WATCHING -> VOTING -> WAITING_CLEAR -> MOVING -> CHECKING -> WATCHING
                   ^          |                           ^         |
                   +----------+ the item moved            +---------+ still there: once more, then ALARM

The only file that knows all parts. It has no clock: time is `frame.captured_s`, so a recording or a simulated day
plays as fast as the machine can. It must never move a flap while something moves in view, never decide twice on one
still item without a recorded reason, and never let one bad frame end the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from device.camera.frame import Frame
from device.decide import Decision, Vote
from device.drive import Drive, Phase
from device.errors import BundleError
from device.events import Event
from device.gate import Item, TrayState, View
from device.model import Model, Models
from device.region import overlap
from device.route import Site, choose_bin, rule_at
from device.status import Decided, State, Status

if TYPE_CHECKING:  # only the name is needed, and classify loads onnxruntime
    from device.classify import Prediction

__all__ = ["Engine", "Records", "Sees"]

SAME_PLACE = 0.6
"""Two boxes that overlap by less than this share of their union are not the same still item."""

FAILED_FRAMES = 5
"""So many frames in a row that cannot be classified are no longer bad luck."""


ATTENDED_S = 10.0
"""What lies still for so long after somebody reached into a jammed tray is left there on purpose, or is only light."""


class Sees(Protocol):
    """What the engine needs of `gate.Gate`."""

    def update(self, frame: Frame) -> View:
        """Judge one frame."""
        ...

    def relearn(self) -> None:
        """Forget the empty tray; the next frames teach it anew."""
        ...


class Records(Protocol):
    """What the engine needs of `events.EventLog`."""

    def add(self, event: Event) -> int:
        """Take an event; its number comes back at once."""
        ...

    def count(self, name: str, n: int = 1) -> None:
        """Raise a counter."""
        ...


@dataclass(slots=True)
class _Ballot:
    """The vote over one still item."""

    vote: Vote
    item: Item
    since_s: float
    frames: int = 0


@dataclass(slots=True)
class _Job:
    """A decision on its way through a flap."""

    decided: Decided
    box: tuple[int, int, int, int]
    tries: int = 0
    tray_was_empty: bool = False
    attended: bool = False
    still_since_s: float = 0.0


class Engine:
    """Turns frames into sorted items.

    Decisions are recorded when they are made. An item that a hand takes out before its flap moves keeps its
    recorded decision (counter `taken_out`), and no flap moves for it.

    Args:
        gate: judges the tray.
        model: the first model; `swap` brings another.
        site: the bins of this place and what mistakes cost here.
        drive: the outputs, parked; the caller opens and closes it.
        log: takes events; must not block.
    """

    def __init__(self, gate: Sees, model: Model, site: Site, drive: Drive, log: Records) -> None:
        self.drive = drive
        self._gate = gate
        self._models = Models(model)
        self._site = site
        self._log = log
        self._state = State.LEARNING
        self._ballot: _Ballot | None = None
        self._job: _Job | None = None
        self._last: Decided | None = None
        self._counts = {bin_.name: 0 for bin_ in site.bins}
        self._jams = 0
        self._failed_frames = 0
        self._model_error: BundleError | None = None
        self._classify_ms: float | None = None
        self._frame_s: float | None = None
        self._period_s = 0.0
        self._now_s = 0.0

    @property
    def now_s(self) -> float:
        """The latest time it was told; the clock of outputs that are driven by frames."""
        return self._now_s

    @property
    def model(self) -> Model:
        """The model that names the next item."""
        return self._models.current

    @property
    def model_error(self) -> BundleError | None:
        """Why the model could not answer the latest frame that it was asked about; None when it could."""
        return self._model_error

    def step(self, frame: Frame) -> Status:
        """Take one frame in and act on it.

        Raises:
            BundleError: the model failed on `FAILED_FRAMES` frames in a row.
            OutputError: a pin or servo refused; hand in another drive with `replace_drive`.
        """
        now_s = self._advance_clock(frame.captured_s)
        self._measure_pace(now_s)
        view = self._gate.update(frame)
        decided = None
        match self._state:
            case State.LEARNING | State.WATCHING | State.VOTING:
                decided = self._watch(view, now_s)
            case State.WAITING_CLEAR:
                self._wait_clear(view, now_s)
            case State.CHECKING:
                self._check(view, now_s)
            case State.ALARM:
                self._wait_emptied(view, now_s)
            case State.MOVING:
                pass  # the drive acts, below
        self._advance_drive(view, now_s)
        return self._status(frame, view, decided)

    def hold(self, now_s: float) -> None:
        """Go to the safe state and forget what was under way: the camera is blind, or the bin stops.

        A recorded decision stays recorded; an item that is still in the tray afterwards is judged anew.
        """
        self._ballot = None
        self._job = None
        self._state = State.LEARNING
        self.drive.alarm(False)
        self.drive.park(self._advance_clock(now_s))

    def rest(self, now_s: float) -> None:
        """Let the outputs finish parking while no frames come.

        Raises:
            OutputError: a pin or servo refused.
        """
        self.drive.step(self._advance_clock(now_s), is_clear=False)

    def replace_drive(self, drive: Drive) -> None:
        """Go on with newly opened outputs after the old ones refused."""
        self.drive = drive
        self._ballot = None
        self._job = None
        self._state = State.LEARNING

    def swap(self, open_next: Callable[[], Model]) -> threading.Thread:
        """Open another model beside this one and change over between two items; see `Models.swap`."""
        return self._models.swap(open_next)

    def put_back(self, model: Model) -> None:
        """Go back to a model at once; an item that is being looked at is looked at anew, by that one."""
        self._models.put_back(model)
        self._ballot = None
        self._forgive()

    def _watch(self, view: View, now_s: float) -> Decided | None:
        if view.item is None:
            if self._ballot is not None:
                self._log.count("vote_restarted")
                self._ballot = None
            self._state = State.LEARNING if view.state is TrayState.LEARNING else State.WATCHING
            self._take_over_model(now_s)
            return None
        ballot = self._ballot
        if ballot is not None and overlap(ballot.item.box, view.item.box) < SAME_PLACE:
            self._log.count("vote_restarted")
            ballot = None
        if ballot is None:
            self._take_over_model(now_s)
            rule = rule_at(self.model.rule, self._site, self.model.labels)
            ballot = _Ballot(Vote(rule, self.model.labels), view.item, now_s)
            self._ballot = ballot
        self._state = State.VOTING
        prediction = self._classify(view.item, now_s)
        if prediction is None:
            return None
        ballot.frames += 1
        decision = ballot.vote.add(prediction)
        if decision is None:
            return None
        return self._decide(decision, view.item.box, (now_s - ballot.since_s) * 1000 + prediction.ms, now_s)

    def _classify(self, item: Item, now_s: float) -> Prediction | None:
        try:
            prediction = self.model.classifier.classify(item.crop_rgb)
        except BundleError as error:
            self._model_error = error
            self._failed_frames += 1
            self._log.count("classify_failed")
            if self._failed_frames == 1:
                self._log.add(Event("fault", mono_s=now_s, detail=str(error), model_version=self.model.version))
            if self._failed_frames >= FAILED_FRAMES:
                raise
            return None
        self._forgive()
        self._classify_ms = prediction.ms
        return prediction

    def _decide(self, decision: Decision, box: tuple[int, int, int, int], decision_ms: float, now_s: float) -> Decided:
        to_bin = choose_bin(decision, self._site)
        event = self._log.add(
            Event(
                "decision",
                decision.reason or "",
                mono_s=now_s,
                label=decision.label,
                prob=decision.prob,
                probs=decision.probs,
                accepted=decision.accepted,
                bin=to_bin.name,
                frames=decision.frames,
                decision_ms=decision_ms,
                model_version=self.model.version,
            )
        )
        decided = Decided(
            event,
            decision.label,
            decision.prob,
            decision.probs,
            decision.accepted,
            to_bin.name,
            decision.frames,
            decision_ms,
            now_s,
            decision.familiarity,
            decision.reason,
        )
        self._ballot = None
        self._last = decided
        self._job = _Job(decided, box)
        # The item is still, so the view is clear: begin on this very frame.
        self._begin(now_s)
        return decided

    def _begin(self, now_s: float) -> None:
        # A drive that has failed is asked all the same: its refusal is what brings a new one.
        if self._job is None or self.drive.phase not in (Phase.PARKED, Phase.FAILED):
            self._state = State.WAITING_CLEAR
            return
        self._job.tries += 1
        self._job.tray_was_empty = False
        self.drive.begin(self._job.decided.bin, now_s)
        self._state = State.MOVING

    def _wait_clear(self, view: View, now_s: float) -> None:
        job = self._job
        if view.item is not None and job is not None:
            if overlap(job.box, view.item.box) < SAME_PLACE:
                # Another thing may lie there now: no flap moves on the strength of the old decision.
                self._log.count("replaced")
                self._finish()
            else:
                self._begin(now_s)
        elif view.state is TrayState.EMPTY:
            self._log.count("taken_out")
            self._finish()

    def _advance_drive(self, view: View, now_s: float) -> None:
        is_clear = view.state in (TrayState.EMPTY, TrayState.ITEM)
        phase = self.drive.step(now_s, is_clear=is_clear)
        if self._state is not State.MOVING or self._job is None:
            return
        if view.state is TrayState.EMPTY:
            self._job.tray_was_empty = True
        if phase is Phase.PARKED:
            self._state = State.CHECKING

    def _check(self, view: View, now_s: float) -> None:
        job = self._job
        if job is None or view.state is TrayState.EMPTY or (view.item is not None and job.tray_was_empty):
            # An item in a tray that was seen empty since is the next person's: it gets a vote of its own.
            if job is not None:
                self._counts[job.decided.bin] += 1
                self._log.count(f"sorted:{job.decided.bin}")
            self._finish()
        elif view.item is not None and job.tries == 1:
            self._log.count("retry")
            job.box = view.item.box  # the flap may have shifted it
            self._begin(now_s)
        elif view.item is not None:
            self._jams += 1
            self._log.count("jam")
            detail = f"item still in the tray after {job.tries} moves to {job.decided.bin}; take it out by hand"
            self._log.add(Event("alarm", mono_s=now_s, label=job.decided.label, bin=job.decided.bin, detail=detail))
            self.drive.alarm(True)
            self._state = State.ALARM

    def _wait_emptied(self, view: View, now_s: float) -> None:
        job = self._job
        if job is None or view.state is TrayState.EMPTY:
            self.drive.alarm(False)
            self._finish()
        elif view.item is None:
            # A light that is switched is nobody's hand.
            job.attended = job.attended or view.state is not TrayState.LEARNING
            job.still_since_s = now_s
        elif job.attended and now_s - job.still_since_s >= ATTENDED_S:
            detail = f"somebody was at the tray and left it so for {ATTENDED_S:g} s; learnt anew as the empty one"
            self._log.add(Event("alarm", detail, mono_s=now_s))
            self.drive.alarm(False)
            self._gate.relearn()
            self._finish()

    def _finish(self) -> None:
        self._job = None
        self._state = State.WATCHING

    def _take_over_model(self, now_s: float) -> None:
        event = self._models.take_over(now_s)
        if event is not None:
            self._log.add(event)
            self._forgive()

    def _forgive(self) -> None:
        self._failed_frames = 0
        self._model_error = None

    def _advance_clock(self, now_s: float) -> float:
        # While the camera is blind the time is estimated; the drive must not see it run backwards.
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _measure_pace(self, now_s: float) -> None:
        if self._frame_s is not None and now_s > self._frame_s:
            period_s = now_s - self._frame_s
            self._period_s = period_s if self._period_s == 0.0 else 0.9 * self._period_s + 0.1 * period_s
        self._frame_s = now_s

    def _status(self, frame: Frame, view: View, decided: Decided | None) -> Status:
        ballot = self._ballot
        return Status(
            state=self._state,
            tray=view.state,
            at_s=frame.captured_s,
            frame_number=frame.number,
            box=view.item.box if view.item is not None else None,
            motion=view.motion,
            foreground=view.foreground,
            vote=ballot.vote.state() if ballot is not None else {},
            vote_frames=ballot.frames if ballot is not None else 0,
            decided=decided,
            last=self._last,
            phase=self.drive.phase,
            outputs=self.drive.outputs(),
            counts=dict(self._counts),
            jams=self._jams,
            fps=1.0 / self._period_s if self._period_s > 0 else 0.0,
            classify_ms=self._classify_ms,
            model=self.model.version,
        )
