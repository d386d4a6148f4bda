"""Draw by chance which decisions people are asked about: "was this right?"

    a decision's number, seed, rate -> is_drawn -> event `asked` -> dashboard -> event_reader.answer_spot_check
    answers -> field_accuracy

What people report by themselves is mostly what went wrong, and how much of it nobody knows; only answers about
decisions drawn by chance can be counted up to all of them. So it must never look at the decision: not at its label, its
probability or what became of it. Drawn from the number and the seed alone, the same decisions are drawn again after a
restart, and whoever knows the seed can check it.
"""

import hashlib

from device.camera.frame import Frame
from device.engine import Records
from device.errors import ConfigError
from device.events import Event
from device.status import Status

__all__ = ["SpotChecks", "is_drawn"]


def is_drawn(event: int, *, seed: int, rate: float) -> bool:
    """Whether people are asked about this decision.

    Args:
        event: its number.
        seed: of the bin.
        rate: share of all decisions, 0..1.
    """
    drawn = hashlib.sha256(f"{seed} {event}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < rate * 2**64


class SpotChecks:
    """A watcher that has a share of all decisions asked about.

    Args:
        log: takes the questions.
        rate: share of all decisions, 0..1; 0 asks never.
        seed: any whole number; of the bin.

    Raises:
        ConfigError: the rate is no share.
    """

    def __init__(self, log: Records, *, rate: float, seed: int = 0) -> None:
        if not 0.0 <= rate <= 1.0:
            raise ConfigError(f"spot checks: rate is {rate}, expected a share from 0 to 1; correct it")
        self._log = log
        self._rate = rate
        self._seed = seed

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """Ask about what was decided on this frame, if it was drawn."""
        decided = status.decided
        if decided is not None and is_drawn(decided.event, seed=self._seed, rate=self._rate):
            # The rate goes along: answers drawn at different rates weigh differently.
            self._log.add(Event("asked", f"was decision {decided.event} right?", prob=self._rate, about=decided.event))

    def fault(self, sentence: str | None) -> None:
        """Nothing to ask about."""
