"""Bring one decided item to its bin, and see whether it got there.

    Decided, box -> Delivery -> Drive -> is the tray empty again? -> counters, alarm

    WAITING_CLEAR -> MOVING -> CHECKING -> done
          ^   |         |         |
          |   |<--------+ a hand came in, or the lid was opened
          |   +-> done: taken out, or something else lies there
          +-----------------------+ still there: once more, then ALARM until somebody empties the tray

It must never start or go on with a movement while a hand is in view or the lid is open: a flap that is on its way is
stopped where it is, closed once nobody is about, and the item looked at again before anything opens. A jam is tried
once more and then said, by lamp, event and status; it never stops the counting. It has no clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from device.drive import Drive, Phase
from device.events import Event
from device.gate import TrayState, View
from device.moves import Signal
from device.region import overlap
from device.status import Decided, State

__all__ = ["SAME_PLACE", "Delivery", "Records"]

SAME_PLACE = 0.6
"""Two boxes that overlap by less than this share of their union are not the same still item."""

ATTENDED_S = 10.0
"""What lies still for so long, in all, once somebody has reached into a jammed tray is left there on purpose, or is no
thing at all; where people come and go all day nobody leaves a tray alone for so long at a time."""

FALL_S = 2.0
"""A beam that is broken later than this after its flap began to close has seen something else."""


class Records(Protocol):
    """What is needed of `events.EventLog`."""

    def add(self, event: Event) -> int:
        """Take an event; its number comes back at once."""
        ...

    def count(self, name: str, n: int = 1) -> None:
        """Raise a counter."""
        ...


@dataclass(slots=True)
class _Job:
    """A decision on its way through a flap."""

    decided: Decided
    box: tuple[int, int, int, int]
    tries: int = 0
    tray_was_empty: bool = False
    attended: bool = False
    left_s: float = 0.0
    seen_s: float = 0.0


class Delivery:
    """What becomes of one decision after another.

    Every decision ends in exactly one of the counters `sorted:BIN`, `taken_out`, `replaced`, `jam` and `given_up`, but
    for the one that is under way.

    Args:
        drive: the outputs, parked; may be replaced.
        bins: names, for the counts.
        log: takes events; must not block.
        relearn: has the empty tray learnt anew.

    Attributes:
        state: what it does; None while nothing is under way.
        counts: items sent to each bin in this run.
        jams: how many were stuck after the second try.
    """

    def __init__(self, drive: Drive, bins: Iterable[str], log: Records, relearn: Callable[[], None]) -> None:
        self.drive = drive
        self.state: State | None = None
        self.counts = dict.fromkeys(bins, 0)
        self.jams = 0
        self._log = log
        self._relearn = relearn
        self._job: _Job | None = None
        self._last: Decided | None = None
        self._landed: set[str] = set()
        self._falls_until_s = 0.0
        self._signal: Signal | None = None

    @property
    def jam(self) -> str | None:
        """What is stuck, as a sentence; None while nothing is."""
        if self.state is not State.ALARM or self._job is None:
            return None
        return f"item still in the tray after {self._job.tries} moves to {self._job.decided.bin}; take it out by hand"

    def start(self, decided: Decided, box: tuple[int, int, int, int], now_s: float) -> None:
        """Take a decision on; the item lies still, so that its flap may begin on this very frame."""
        self._job = _Job(decided, box)
        self._begin(now_s)

    def look(self, view: View, now_s: float) -> None:
        """Go on with what is under way, as far as this frame tells."""
        match self.state:
            case State.WAITING_CLEAR:
                self._wait_clear(view, now_s)
            case State.CHECKING:
                self._check(view, now_s)
            case State.ALARM:
                self._wait_emptied(view, now_s)
            case _:
                pass  # the drive acts

    def advance(self, view: View, now_s: float, *, may_move: bool, signal: Signal | None) -> None:
        """Let the drive do what is due.

        Args:
            may_move: no hand is in view and the lid is shut.
            signal: what the alarm lamp says unless something is stuck.

        Raises:
            OutputError: a pin or servo refused.
        """
        if not may_move and self.state is State.MOVING and self.drive.phase is Phase.MOVING:
            self._interrupt(now_s)
        self._show(Signal.JAM if self.state is State.ALARM else signal)
        is_clear = view.state in (TrayState.EMPTY, TrayState.ITEM)
        phase = self.drive.step(now_s, is_clear=is_clear, may_move=may_move)
        if phase in (Phase.MOVING, Phase.OPEN, Phase.CLOSING, Phase.SHOWING) and self._job is not None:
            self._falls_until_s = now_s + FALL_S
        if self.state is not State.MOVING or self._job is None:
            return
        if view.state is TrayState.EMPTY:
            self._job.tray_was_empty = True
        if phase is Phase.PARKED:
            self.state = State.CHECKING

    def fell(self, bin_name: str, now_s: float) -> None:
        """A break beam saw something fall into a bin; what falls in pieces has fallen once."""
        decided = self._last
        if decided is None or now_s > self._falls_until_s:
            self._log.count("fell_unasked")  # thrown in past the tray
            return
        if bin_name in self._landed:
            return
        self._landed.add(bin_name)
        is_elsewhere = bin_name != decided.bin
        detail = f"fell into {bin_name}, was sent to {decided.bin}" if is_elsewhere else ""
        self._log.add(
            Event("landed", detail, mono_s=now_s, label=decided.label, bin=bin_name, about=decided.event),
        )
        self._log.count("landed_elsewhere" if is_elsewhere else "landed")

    def forget(self) -> None:
        """Give up what is under way; its decision stays recorded."""
        if self._job is not None and self.state is not State.ALARM:
            self._log.count("given_up")
        self._finish()

    def park(self, now_s: float) -> None:
        """Give up what is under way and go to the safe state.

        Raises:
            OutputError: a pin or servo refused.
        """
        self.forget()
        self._show(None)
        self.drive.park(now_s)

    def replace_drive(self, drive: Drive) -> None:
        """Go on with newly opened outputs."""
        self.drive = drive
        self._signal = None
        self.forget()

    def _begin(self, now_s: float) -> None:
        # A drive that has failed is asked all the same: its refusal is what brings a new one.
        if self._job is None or self.drive.phase not in (Phase.PARKED, Phase.FAILED):
            self.state = State.WAITING_CLEAR
            return
        self._job.tries += 1
        self._job.tray_was_empty = False
        if self._job.decided is not self._last:
            self._last = self._job.decided
            self._landed = set()
        self._falls_until_s = now_s + FALL_S
        self.drive.begin(self._job.decided.bin, now_s)
        self.state = State.MOVING

    def _interrupt(self, now_s: float) -> None:
        if self._job is None:
            return
        decided = self._job.decided
        detail = f"stopped on the way to {decided.bin}: a hand in view, or the lid open; closed once nobody is about"
        self._log.add(Event("hand", detail, mono_s=now_s, bin=decided.bin, about=decided.event))
        self._log.count("interrupted")
        self._job.tries -= 1
        self.drive.park(now_s, is_urgent=False)
        self.state = State.WAITING_CLEAR

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

    def _check(self, view: View, now_s: float) -> None:
        job = self._job
        if job is None or view.state is TrayState.EMPTY or (view.item is not None and job.tray_was_empty):
            # An item in a tray that was seen empty since is the next person's: it gets a vote of its own.
            if job is not None:
                self.counts[job.decided.bin] += 1
                self._log.count(f"sorted:{job.decided.bin}")
            self._finish()
        elif view.item is not None and job.tries == 1:
            self._log.count("retry")
            job.box = view.item.box  # the flap may have shifted it
            self._begin(now_s)
        elif view.item is not None:
            self.jams += 1
            self._log.count("jam")
            self.state = State.ALARM
            detail = self.jam or ""
            self._log.add(Event("alarm", mono_s=now_s, label=job.decided.label, bin=job.decided.bin, detail=detail))

    def _wait_emptied(self, view: View, now_s: float) -> None:
        job = self._job
        if job is None or view.state is TrayState.EMPTY:
            self._finish()
        elif view.item is None:
            # A light that is switched is nobody's hand.
            job.attended = job.attended or view.state is not TrayState.LEARNING
            job.seen_s = now_s
        elif job.attended:
            job.left_s += now_s - job.seen_s
            job.seen_s = now_s
            if job.left_s >= ATTENDED_S:
                detail = f"somebody was at the tray and left it so for {ATTENDED_S:g} s; learnt anew as the empty one"
                self._log.add(Event("alarm", detail, mono_s=now_s))
                self._relearn()
                self._finish()

    def _finish(self) -> None:
        self._job = None
        self.state = None

    def _show(self, signal: Signal | None) -> None:
        if signal is not self._signal:
            self._signal = signal
            self.drive.alarm(signal is not None, signal or Signal.JAM)
