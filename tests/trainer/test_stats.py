"""Intervals and tests against published values."""

import math

import pytest

from trainer.stats import Share, Spread, mcnemar_p, share, spread


@pytest.mark.parametrize(
    ("right", "pictures", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombe_1998(right: int, pictures: int, low: float, high: float) -> None:
    found = share(right, pictures)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_of_no_pictures_nothing_is_known() -> None:
    assert share(0, 0) == Share(0, 0.0, 0.0, 1.0)


def test_all_right_is_not_certainty() -> None:
    found = share(20, 20)
    assert (found.accuracy, found.high) == (1.0, pytest.approx(1.0))
    assert found.low == pytest.approx(1 - 0.1611, abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (3, 3, 1.0), (1, 9, 22 / 1024), (9, 1, 22 / 1024), (0, 5, 2 / 32), (5, 6, 1.0)],
)
def test_mcnemar_by_hand(first: int, second: int, p: float) -> None:
    assert mcnemar_p(first, second) == pytest.approx(p)


def test_mcnemar_of_very_many_does_not_overflow() -> None:
    assert 0 < mcnemar_p(900, 1100) < 1e-4


def test_spread_is_the_samples_own() -> None:
    assert spread([0.5]) == Spread(1, 0.5, None)
    found = spread([1.0, 2.0, 4.0])
    assert (found.runs, found.mean, found.sd) == (3, pytest.approx(7 / 3), pytest.approx(math.sqrt(7 / 3)))
