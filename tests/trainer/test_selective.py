"""Coverage and calibration against cases worked by hand."""

import numpy as np
import pytest

from trainer.score import expected_calibration_error
from trainer.selective import Calibration, Coverage, Covered, ReliabilityBin, accuracy_at, calibration, coverage


@pytest.mark.parametrize(("share", "expected"), [(0.25, 1.0), (0.5, 0.5), (0.75, 2 / 3), (1.0, 0.5)])
def test_the_surest_are_counted_first_whatever_their_place(share: float, expected: float) -> None:
    # By confidence: .9 right, .8 wrong, .7 right, .6 wrong.
    assert accuracy_at(share, [0.6, 0.9, 0.7, 0.8], [False, True, True, False]) == pytest.approx(expected)


def test_of_equally_sure_pictures_none_comes_first() -> None:
    for right in ([True, False, False, False], [False, False, False, True]):
        assert accuracy_at(0.5, [0.9, 0.9, 0.9, 0.9], right) == 0.25


def test_at_least_one_picture_is_covered() -> None:
    assert accuracy_at(0.01, [0.2, 0.3], [True, False]) == 0.0


def test_the_curve_by_hand() -> None:
    confidence, right = [0.9, 0.8, 0.7, 0.6], [True, True, False, True]
    # Errors of the surest 1, 2, 3, 4: 0, 0, 1/3, 1/4.
    found = coverage(confidence, right)
    assert found == Coverage(
        points=found.points, area=pytest.approx((1 / 3 + 1 / 4) / 4), at_half=1.0, at_90=pytest.approx(0.75)
    )
    assert len(found.points) == 20
    assert found.points[-1] == Covered(1.0, 0.75)
    assert found.points[14] == Covered(pytest.approx(0.75), pytest.approx(2 / 3))


def test_a_better_order_has_a_smaller_area() -> None:
    right = [True] * 8 + [False] * 2
    sure = coverage(np.linspace(1, 0, 10), right).area
    unsure = coverage(np.linspace(0, 1, 10), right).area
    level = coverage(np.zeros(10), right).area
    assert level == pytest.approx(0.2)
    assert sure < level < unsure


def test_reliability_by_hand() -> None:
    # Three of 0.97 (two right), one of 0.6 (wrong): the last of fifteen bins and the tenth.
    probs = np.array([[0.97, 0.03], [0.97, 0.03], [0.03, 0.97], [0.6, 0.4]], np.float32)
    found = calibration(probs, [0, 0, 0, 1])
    assert found == Calibration(
        ece=pytest.approx(0.75 * (0.97 - 2 / 3) + 0.25 * 0.6, rel=1e-5),
        bins=(
            ReliabilityBin(pytest.approx(0.6), 0.0, 0.25),
            ReliabilityBin(pytest.approx(0.97), pytest.approx(2 / 3), 0.75),
        ),
    )


def test_bins_and_error_say_the_same() -> None:
    rng = np.random.default_rng(2)
    probs = rng.dirichlet([1, 1, 1], 500).astype(np.float32)
    truth = rng.integers(0, 3, 500).tolist()
    found = calibration(probs, truth)
    assert sum(row.share for row in found.bins) == pytest.approx(1)
    gap = sum(row.share * abs(row.confidence - row.accuracy) for row in found.bins)
    assert found.ece == pytest.approx(gap) == pytest.approx(expected_calibration_error(probs, truth))
