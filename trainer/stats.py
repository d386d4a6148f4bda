"""Stats: counts -> what may be said of them. Pure.

Every share that is printed carries its count and its interval; two networks are compared on the same pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from device.interval import wilson

__all__ = ["Paired", "Share", "Spread", "mcnemar_p", "share", "spread"]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of pictures with its 95 % interval; all but `pictures` 0..1."""

    pictures: int
    accuracy: float
    low: float
    high: float


def share(right: int, pictures: int) -> Share:
    """How many of how many; of no pictures nothing is known."""
    if not pictures:
        return Share(0, 0.0, 0.0, 1.0)
    return Share(pictures, right / pictures, *wilson(right / pictures, pictures))


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation of a figure over runs; the deviation is None for a single run."""

    runs: int
    mean: float
    sd: float | None


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return Spread(len(values), mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two networks on the same pictures.

    Attributes:
        pictures: that both answered.
        wrong, other_wrong: errors of the one and of the other.
        only_right, only_other_right: pictures that one alone names right; what McNemar's test counts.
        p: chance of a difference at least as large were both equally good, exact and two-sided.
    """

    pictures: int
    wrong: int
    other_wrong: int
    only_right: int
    only_other_right: int
    p: float


def mcnemar_p(only_right: int, only_other_right: int) -> float:
    """McNemar's exact test: the two-sided binomial tail of the pictures on which they differ, 0..1."""
    differ, few = only_right + only_other_right, min(only_right, only_other_right)
    tail = sum(math.comb(differ, count) for count in range(few + 1))
    return min(1.0, 2.0 * (tail / (1 << differ)))
