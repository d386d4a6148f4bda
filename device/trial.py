"""The rules of a live trial: when a new model has proven itself, and when it must go. Pure: no clock, no file.

    frames that were acted on, pictures that the model answered -> Trial -> verdict -> switch

What the offline probation cannot show is the light of this tray, the load of this bin, and time. A model is kept after
`GOOD_S` seconds in which frames came without a gap and every picture that it was shown got an answer quickly; it goes
at the first answer that is none, or when it has not got there before the deadline. Time is monotonic seconds: a
Raspberry Pi has no clock that survives a power cut. How often a trial may begin is counted on disk, see `switch`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = ["DEADLINE_S", "GOOD_S", "LEAST_ANSWERS", "LOOK_EVERY_S", "Trial", "Verdict"]

GOOD_S: Final = 30.0
"""Good seconds after which a model is kept."""

DEADLINE_S: Final = 90.0
"""A trial that has not ended by then ends badly, whoever is to blame: the model before it is known to work."""

LOOK_EVERY_S: Final = 1.0
"""How often the model is shown the tray, so that a bin that nobody uses tries it as well."""

LEAST_ANSWERS: Final = 10
"""Pictures that a model must have answered before it is kept."""

GAP_S: Final = 1.0
"""Two frames further apart have seconds between them that nobody saw; these are not good ones."""

SLOW_MS: Final = 1000.0
"""An answer that takes longer lets frames grow too old to decide on."""

MOST_SLOW: Final = 2
"""So many slow answers are forgiven: a card that writes can hold up anything."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended.

    Attributes:
        word: `commit` keeps the model, `roll back` brings the one before it back.
        reason: a sentence for people.
    """

    word: Literal["commit", "roll back"]
    reason: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A model on trial.

    Attributes:
        began_s: when it began to name items.
        good_s: good seconds so far.
        seen_s: the latest frame; None before the first.
        looked_s: the latest time that the model was shown a picture; None before the first.
        answers: pictures that it answered.
        slow: of them, those that took too long.
        failure: why it failed; None while it has not.
    """

    began_s: float
    good_s: float = 0.0
    seen_s: float | None = None
    looked_s: float | None = None
    answers: int = 0
    slow: int = 0
    failure: str | None = None

    def saw_frame(self, now_s: float) -> Trial:
        """A frame was acted on without a fault."""
        gap_s = 0.0 if self.seen_s is None else now_s - self.seen_s
        return replace(self, seen_s=now_s, good_s=self.good_s + (gap_s if gap_s <= GAP_S else 0.0))

    def wants_look(self, now_s: float) -> bool:
        """Whether it is time to show the model a picture."""
        return self.looked_s is None or now_s - self.looked_s >= LOOK_EVERY_S

    def answered(self, now_s: float, ms: float) -> Trial:
        """The model answered a picture in so many milliseconds."""
        return replace(self, looked_s=now_s, answers=self.answers + 1, slow=self.slow + (ms > SLOW_MS))

    def failed(self, why: str) -> Trial:
        """The model, or the bin with it, failed; the first reason is kept."""
        return self if self.failure is not None else replace(self, failure=why)

    def verdict(self, now_s: float) -> Verdict | None:
        """How it ended; None while it goes on."""
        if self.failure is not None:
            return Verdict("roll back", self.failure)
        if self.slow > MOST_SLOW:
            return Verdict(
                "roll back",
                f"{self.slow} of {self.answers} answers took longer than {SLOW_MS:g} ms; too slow for this bin",
            )
        if self.good_s >= GOOD_S and self.answers >= LEAST_ANSWERS:
            return Verdict("commit", f"{self.good_s:.0f} good seconds, {self.answers} pictures answered")
        if now_s - self.began_s > DEADLINE_S:
            return Verdict(
                "roll back",
                f"only {self.good_s:.0f} of {GOOD_S:g} good seconds and {self.answers} of {LEAST_ANSWERS} answers in "
                f"{DEADLINE_S:g} s; see wastebin events: did the camera fail?",
            )
        return None
