"""What a running bin is doing, as data: for views, lines and whoever else looks on.

    Engine.step -> Status -> View, Lines, simulate

Knows no part of the bin but the words of gate, decide and drive; it must never act.
"""

from dataclasses import dataclass
from enum import StrEnum

from device.decide import Reason
from device.drive import Phase
from device.gate import TrayState

__all__ = ["Decided", "State", "Status"]


class State(StrEnum):
    """What the bin is doing, in a word for people and machines."""

    LEARNING = "learning"
    WATCHING = "watching"
    VOTING = "voting"
    WAITING_CLEAR = "waiting_clear"
    MOVING = "moving"
    HELD = "held"
    CHECKING = "checking"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision as it was recorded.

    Attributes:
        event: its number in the event log.
        label: the most probable material, also when it was not accepted.
        probs: calibrated, per label, 0..1.
        bin: where it goes; the residual bin when not accepted.
        decision_ms: from the first still frame to the decision, the last classify included.
        at_s: `captured_s` of the frame that settled it.
        familiarity, reason: see `decide.Decision`.
    """

    event: int
    label: str
    prob: float
    probs: dict[str, float]
    accepted: bool
    bin: str
    frames: int
    decision_ms: float
    at_s: float
    familiarity: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a view or a log line may say about one frame.

    Attributes:
        tray: what the gate sees.
        box: x, y, w, h of the item in px of the camera's picture.
        vote: the pooled probabilities so far, 0..1 per label; empty when no vote runs.
        decided: the decision made on this very frame.
        last: the newest decision of this run.
        outputs: what the pins are told now: pulse in µs, LED level 0..1, None when detached.
        counts: items sent to each bin in this run.
        classify_ms: of the newest classified frame.
        hand: something reaches into view; nothing moves while it does.
        lid_open: nothing moves and nothing is decided while it is.
        full: bins that are full.
        jam: what is stuck, as a sentence; None while nothing is.
    """

    state: State
    tray: TrayState
    at_s: float
    frame_number: int
    box: tuple[int, int, int, int] | None
    motion: float
    foreground: float
    vote: dict[str, float]
    vote_frames: int
    decided: Decided | None
    last: Decided | None
    phase: Phase
    outputs: dict[str, float | None]
    counts: dict[str, int]
    jams: int
    fps: float
    classify_ms: float | None
    model: str
    hand: bool = False
    lid_open: bool = False
    full: tuple[str, ...] = ()
    jam: str | None = None
