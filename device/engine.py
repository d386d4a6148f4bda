"""The bin's life, one frame at a time.

    Frame -> gate -> classify -> decide -> route -> drive -> is the tray empty again? -> events

    LEARNING -> WATCHING -> VOTING -> WAITING_CLEAR -> MOVING -> CHECKING -> WATCHING
                   ^          |                 +------ delivery ------+
                   +----------+ the item moved

The only file that knows all parts. It has no clock: time is `frame.captured_s`, so a recording or a simulated day
plays as fast as the machine can. It must never move a flap while something moves in view, a hand reaches in or the lid
is open, never decide twice on one still item without a recorded reason, and never let one bad frame end the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from device.camera.frame import Frame
from device.decide import Decision, Vote
from device.delivery import SAME_PLACE, Delivery, Records
from device.drive import Drive, Signal
from device.errors import BundleError
from device.events import Event
from device.gate import Item, TrayState, View
from device.model import Model, Models
from device.region import overlap
from device.route import Costs, Site, choose_bin, rule_at
from device.sensors import NO_SENSORS, Readings, Reads
from device.status import Decided, State, Status

if TYPE_CHECKING:  # only the name is needed, and classify loads onnxruntime
    from device.classify import Prediction

__all__ = ["Engine", "Records", "Sees"]

FAILED_FRAMES = 5
"""So many frames in a row that cannot be classified are no longer bad luck."""


class Sees(Protocol):
    """What the engine needs of `gate.Gate`."""

    def update(self, frame: Frame) -> View:
        """Judge one frame."""
        ...

    def relearn(self) -> None:
        """Forget the empty tray; the next frames teach it anew."""
        ...


@dataclass(slots=True)
class _Ballot:
    """The vote over one still item."""

    vote: Vote
    item: Item
    since_s: float
    frames: int = 0


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
        sensors: lid, beams, fill level and button, where there are any.
        costs_with: what mistakes cost with a model, which proposes that where the site says nothing; without it, what
            `site` says.
    """

    def __init__(
        self,
        gate: Sees,
        model: Model,
        site: Site,
        drive: Drive,
        log: Records,
        *,
        sensors: Reads = NO_SENSORS,
        costs_with: Callable[[Model], Costs] | None = None,
    ) -> None:
        self._delivery = Delivery(drive, (bin_.name for bin_ in site.bins), log, self._relearn)
        self._sensors = sensors
        self._felt = Readings()
        self._hand = False
        self._gate = gate
        self._models = Models(model)
        self._bins = site
        self._costs_with = costs_with
        self._log = log
        self._state = State.LEARNING
        self._ballot: _Ballot | None = None
        self._last: Decided | None = None
        self._called_wrong: Decided | None = None
        self._failed_frames = 0
        self._model_error: BundleError | None = None
        self._classify_ms: float | None = None
        self._frame_s: float | None = None
        self._period_s = 0.0
        self._now_s = 0.0

    @property
    def drive(self) -> Drive:
        """The outputs."""
        return self._delivery.drive

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

    @property
    def _site(self) -> Site:
        """The bins, with what mistakes cost while this model runs."""
        return self._bins if self._costs_with is None else replace(self._bins, costs=self._costs_with(self.model))

    def step(self, frame: Frame) -> Status:
        """Take one frame in and act on it.

        Raises:
            BundleError: the model failed on `FAILED_FRAMES` frames in a row.
            OutputError: a pin or servo refused; hand in another drive with `replace_drive`.
        """
        now_s = self._advance_clock(frame.captured_s)
        self._measure_pace(now_s)
        view = self._look(frame)
        self._feel(now_s)
        decided = None
        if self._felt.lid_open:
            self._drop_ballot()
        elif self._delivery.state is not None:
            self._delivery.look(view, now_s)
        else:
            decided = self._watch(view, now_s)
        signal = Signal.FULL if self._felt.full else None
        self._delivery.advance(view, now_s, may_move=self._may_move, signal=signal)
        return self._status(frame, view, decided)

    def hold(self, now_s: float) -> None:
        """Go to the safe state and forget what was under way: the camera is blind, or the bin stops.

        A recorded decision stays recorded; an item that is still in the tray afterwards is judged anew.
        """
        self._ballot = None
        self._state = State.LEARNING
        self._delivery.park(self._advance_clock(now_s))

    def rest(self, now_s: float, frame: Frame | None = None) -> None:
        """Let the outputs finish parking, unless a hand was seen last or the lid is open; nothing is decided.

        Args:
            frame: what the camera sees; None where no frames come.

        Raises:
            OutputError: a pin or servo refused.
        """
        if frame is not None:
            self._look(frame)
        self._feel(self._advance_clock(now_s))
        self.drive.step(self._now_s, is_clear=False, may_move=self._may_move)

    def replace_drive(self, drive: Drive) -> None:
        """Go on with newly opened outputs after the old ones refused."""
        self._delivery.replace_drive(drive)
        self._ballot = None
        self._state = State.LEARNING

    def replace_gate(self, gate: Sees) -> None:
        """Look at the tray with another gate, which learns it anew."""
        self._gate = gate
        self._drop_ballot()
        self._state = State.LEARNING

    def swap(self, open_next: Callable[[], Model]) -> threading.Thread:
        """Open another model beside this one and change over between two items; see `Models.swap`."""
        return self._models.swap(open_next)

    def wear(self, layer: Callable[[Model], Model]) -> None:
        """Dress this model and every later one with a layer between two items; see `Models.wear`."""
        self._models.wear(layer)

    def put_back(self, model: Model) -> None:
        """Go back to a model at once; an item that is being looked at is looked at anew, by that one."""
        self._models.put_back(model)
        self._ballot = None
        self._forgive()

    def _watch(self, view: View, now_s: float) -> Decided | None:
        if view.item is None:
            self._drop_ballot()
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
        self._state = State.WATCHING  # what comes after it
        self._delivery.start(decided, box, now_s)
        return decided

    @property
    def _may_move(self) -> bool:
        return not (self._hand or self._felt.lid_open)

    def _feel(self, now_s: float) -> None:
        """Take in what the sensors felt since the last frame, and say what is new."""
        before, self._felt = self._felt, self._sensors.read(now_s)
        for bin_name in self._felt.fell:
            self._delivery.fell(bin_name, now_s)
        if self._felt.lid_open and not before.lid_open:
            self._log.count("lid_opened")
            self._log.add(Event("hand", "the lid is open; nothing moves until it is shut", mono_s=now_s))
        for bin_name in self._felt.full:
            if bin_name not in before.full:
                self._log.add(Event("alarm", f"the bin {bin_name} is full; empty it", mono_s=now_s, bin=bin_name))
        if self._felt.wrong and self._last is not None and self._last is not self._called_wrong:
            self._called_wrong = self._last
            self._log.count("wrong")
            detail = f"somebody says that decision {self._last.event} was wrong"
            self._log.add(Event("wrong", detail, mono_s=now_s, about=self._last.event))

    def _drop_ballot(self) -> None:
        if self._ballot is not None:
            self._log.count("vote_restarted")
            self._ballot = None

    def _look(self, frame: Frame) -> View:
        """What the gate sees, and whether that is a hand."""
        view = self._gate.update(frame)
        self._hand = view.reached or view.state is TrayState.BLOCKED
        return view

    def _relearn(self) -> None:
        self._gate.relearn()

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
            state=State.HELD if self._felt.lid_open else self._delivery.state or self._state,
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
            counts=dict(self._delivery.counts),
            jams=self._delivery.jams,
            fps=1.0 / self._period_s if self._period_s > 0 else 0.0,
            classify_ms=self._classify_ms,
            model=self.model.version,
            hand=self._hand,
            lid_open=self._felt.lid_open,
            full=self._felt.full,
            jam=self._delivery.jam,
        )
