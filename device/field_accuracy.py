"""How often the bin is right where it stands, with an interval, from evidence that is not chosen by what went wrong.

    answered spot checks (drawn by chance), landings -> estimate -> FieldAccuracy beside the lab's figure

Pure. It must never count a correction: people report errors, and only some of them, so a figure made of corrections is
far too good and gets better the less people care. Corrections are given apart, as what they are: at least so many
errors.

How it is computed. A decision is right when its label is what the item was and, where a break beam saw it fall, the
item fell where it was sent. A beam sees every item, so the share that fell elsewhere is known and not estimated; the
share of right labels among the rest comes from the answers. Each answer weighs by one over the rate at which its
decision was drawn. Its interval is Wilson's score interval with the *effective* number of answers: people answer in one
go, and an evening of nothing but wine bottles is no fifty independent answers. The design effect compares the variance
between groups of answers (a day each) with that of independent ones (Kish 1965; Korn and Graubard 1998), is never taken
below 1, and few groups widen the interval through Student's t (Dean and Pagano 2015 on Wilson's interval for surveys).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from device.errors import ConfigError
from device.interval import Z95, wilson

__all__ = ["Answer", "FieldAccuracy", "Share", "estimate", "share"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered question about one decision drawn by chance.

    Attributes:
        is_right: whether the answer is yes.
        group: answers of one group may be alike; the day on which it was answered.
        rate: how likely the decision was to be drawn, above 0, at most 1.
    """

    is_right: bool
    group: str = ""
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval.

    Attributes:
        value: the estimate, 0..1; None without answers.
        low, high: the interval; 0 and 1 without answers.
        n: answers that it rests on.
        n_effective: how many independent ones they are worth.
    """

    value: float | None
    low: float
    high: float
    n: int
    n_effective: float


@dataclass(frozen=True, slots=True)
class FieldAccuracy:
    """What is known of the bin's accuracy where it stands.

    Attributes:
        right: the estimate, 0..1; None without answers.
        low, high: its 95 % interval; 0 and 1 without answers.
        n: answered spot checks that it rests on.
        n_effective: how many independent ones they are worth.
        decisions: all that the bin made.
        asked: spot checks among them, answered or not.
        landed: decisions of which a beam saw where the item fell.
        landed_elsewhere: of those, where that was another bin than decided.
        corrections: errors that people reported by themselves; a lower bound of all errors, and part of no estimate.
    """

    right: float | None
    low: float
    high: float
    n: int
    n_effective: float
    decisions: int
    asked: int
    landed: int
    landed_elsewhere: int
    corrections: int


def estimate(
    answers: Iterable[Answer],
    *,
    decisions: int,
    asked: int = 0,
    landed: int = 0,
    landed_elsewhere: int = 0,
    corrections: int = 0,
) -> FieldAccuracy:
    """Estimate the share of all decisions that were right.

    Args:
        answers: to spot checks, but for those of items that a beam saw fall elsewhere: these are wrong whatever they
            were, and counted already.
        decisions: how many the bin made, those of the answers among them.
        asked: how many of those people were asked about.
        landed: how many of those a beam saw fall.
        landed_elsewhere: how many of those it saw fall into another bin.
        corrections: how many of those people corrected without being asked.

    Raises:
        ConfigError: the counts contradict each other.
    """
    answers = list(answers)
    if not (0 <= landed_elsewhere <= landed <= decisions and len(answers) <= decisions):
        raise ConfigError(
            f"field accuracy: {len(answers)} answers, {landed_elsewhere} of {landed} landings elsewhere and "
            f"{decisions} decisions do not go together, expected no count above the one that it is part of"
        )
    there = 1.0 - landed_elsewhere / decisions if decisions else 1.0
    found = share(answers)
    return FieldAccuracy(
        right=None if found.value is None else there * found.value,
        low=there * found.low,
        high=there * found.high,
        n=found.n,
        n_effective=found.n_effective,
        decisions=decisions,
        asked=asked,
        landed=landed,
        landed_elsewhere=landed_elsewhere,
        corrections=corrections,
    )


def share(answers: Sequence[Answer]) -> Share:
    """The share of yes among all that the answers stand for.

    Raises:
        ConfigError: a rate is not above 0 and at most 1.
    """
    if not answers:
        return Share(None, 0.0, 1.0, 0, 0.0)
    weights = [1.0 / _checked(answer.rate) for answer in answers]
    whole = math.fsum(weights)
    value = math.fsum(weight for weight, answer in zip(weights, answers, strict=True) if answer.is_right) / whole
    n_weighted = whole**2 / math.fsum(weight**2 for weight in weights)
    n_effective = n_weighted
    groups: dict[str, float] = defaultdict(float)
    for weight, answer in zip(weights, answers, strict=True):
        groups[answer.group] += weight * (float(answer.is_right) - value)
    alone = value * (1.0 - value) / n_weighted
    if len(groups) > 1 and alone > 0.0:
        between = len(groups) / (len(groups) - 1) * math.fsum(total**2 for total in groups.values()) / whole**2
        effect = max(1.0, between / alone)
        # Few groups know little of how different groups are.
        wider = (_t(len(groups) - 1) / Z95) ** 2 if effect > 1.0 else 1.0
        n_effective = max(1.0, n_weighted / (effect * wider))
    low, high = wilson(value, n_effective)
    return Share(value, low, high, len(answers), n_effective)


def _checked(rate: float) -> float:
    if not 0.0 < rate <= 1.0:
        raise ConfigError(f"field accuracy: a rate is {rate}, expected a share above 0 and at most 1")
    return rate


def _t(freedom: int) -> float:
    """Student's t at 97.5 %, by the expansion of Cornish and Fisher; exact where the expansion is poor."""
    exact = {1: 12.706, 2: 4.303, 3: 3.182}
    if freedom in exact:
        return exact[freedom]
    z = Z95
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
