"""Does the interval of field accuracy cover the truth, and would corrections alone?

    simulated bins with known truth -> what people say -> estimate (spot checks, landings) against corrections alone

Each bin has its own accuracy, which wanders from day to day, and decides for four weeks. Its users report 30 % of the
errors by themselves. One decision of ten is drawn for a spot check; on some days somebody answers all that is open, on
others nobody, so that answers come in groups that are alike. Half of the bins have break beams. Every number is made
up; none comes from a real bin.

Run: python -m benchmarks.field_accuracy
"""

import sys
from dataclasses import dataclass

import numpy as np

from device.config_types import SPOT_CHECK_RATE as RATE
from device.field_accuracy import Answer, FieldAccuracy, estimate, share
from device.spot_check import is_drawn

__all__ = ["Outcome", "Played", "play", "try_bins"]

BINS = 1000
REPORTED = 0.3
LEAST_COVERED = 0.93


@dataclass(frozen=True, slots=True)
class Played:
    """One simulated bin: the truth, and what the estimates make of what people say."""

    truth: float
    estimate: FieldAccuracy
    naive: tuple[float, float]

    @property
    def is_covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.estimate.low <= self.truth <= self.estimate.high

    @property
    def is_covered_naively(self) -> bool:
        """The same of the interval made of corrections alone."""
        return self.naive[0] <= self.truth <= self.naive[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all bins; shares 0..1.

    Attributes:
        covered: bins whose interval holds the truth.
        covered_naively: the same for corrections alone.
        bias, bias_naive: mean of estimate minus truth.
        width: mean width of the interval.
        answers: mean number of answers that it rests on.
    """

    bins: int
    covered: float
    covered_naively: float
    bias: float
    bias_naive: float
    width: float
    answers: float


def play(seed: int) -> Played:
    """Play one bin for four weeks."""
    rng = np.random.default_rng([seed, 0xF1E1D])
    accuracy = rng.uniform(0.45, 0.97)
    days = 28
    per_day = rng.poisson(rng.uniform(20, 80), days)
    # A day of one kind of item: the accuracy of a day is drawn around the bin's own.
    alike = rng.uniform(8, 40)
    of_day = rng.beta(accuracy * alike, (1 - accuracy) * alike, days)
    day = np.repeat(np.arange(days), per_day)
    named_right = rng.random(day.size) < of_day[day]
    has_beams = rng.random() < 0.5
    fell_elsewhere = rng.random(day.size) < (rng.uniform(0.0, 0.05) if has_beams else 0.0)
    right = named_right & ~fell_elsewhere
    reported = ~right & (rng.random(day.size) < REPORTED)
    answering = rng.random(days) < rng.uniform(0.3, 0.9)
    asked = np.array([is_drawn(number, seed=seed, rate=RATE) for number in range(day.size)])
    answered = asked & answering[day]
    answers = [Answer(bool(named_right[i]), str(day[i]), RATE) for i in np.flatnonzero(answered & ~fell_elsewhere)]
    found = estimate(
        answers,
        decisions=day.size,
        asked=int(asked.sum()),
        landed=day.size if has_beams else 0,
        landed_elsewhere=int(fell_elsewhere.sum()),
        corrections=int(reported.sum()),
    )
    naive = share([Answer(not bool(each)) for each in reported])
    return Played(float(right.mean()), found, (naive.low, naive.high))


def try_bins(bins: int, seed: int = 0) -> Outcome:
    """Play so many bins, each with its own seed."""
    played = [play(seed * 1_000_003 + number) for number in range(bins)]
    known = [each for each in played if each.estimate.right is not None]
    return Outcome(
        bins=bins,
        covered=float(np.mean([each.is_covered for each in played])),
        covered_naively=float(np.mean([each.is_covered_naively for each in played])),
        bias=float(np.mean([(each.estimate.right or 0.0) - each.truth for each in known])),
        bias_naive=float(np.mean([sum(each.naive) / 2 - each.truth for each in played])),
        width=float(np.mean([each.estimate.high - each.estimate.low for each in played])),
        answers=float(np.mean([each.estimate.n for each in played])),
    )


def main() -> None:
    """Play, print, and fail where the promise is broken."""
    outcome = try_bins(BINS)
    print(
        f"{outcome.bins} simulated bins, {REPORTED:.0%} of the errors reported, {RATE:.0%} of the decisions asked about"
    )
    print(f"spot checks and landings: interval covers the truth in {outcome.covered:.1%}, bias {outcome.bias:+.3f},")
    print(f"  mean width {outcome.width:.3f} from {outcome.answers:.0f} answers")
    print(
        f"corrections alone: interval covers the truth in {outcome.covered_naively:.1%}, bias {outcome.bias_naive:+.3f}"
    )
    if outcome.covered < LEAST_COVERED:
        sys.exit(f"covered are {outcome.covered:.1%}, promised are {LEAST_COVERED:.0%}")


if __name__ == "__main__":
    main()
