"""Figures against tables worked by hand."""

import math

import numpy as np
import pytest

from device.bundle import Score
from device.classify import softmax
from trainer.score import ClassScore, class_scores, confusion, expected_calibration_error, fit_temperature, score

LABELS = ("glass", "metal", "paper")
#            named:   glass metal paper
TABLE = np.array([[6, 2, 0],  # truth: glass
                  [1, 3, 0],  # metal
                  [4, 0, 0]])  # paper, never named  # fmt: skip


def test_confusion_counts_truth_in_rows_and_names_in_columns() -> None:
    assert confusion([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 2, 2], 4).tolist() == [
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 2, 0],
        [0, 0, 0, 0],
    ]


def test_confusion_of_nothing_is_empty() -> None:
    assert confusion([], [], 2).tolist() == [[0, 0], [0, 0]]


def test_class_scores_by_hand() -> None:
    assert class_scores(TABLE, LABELS) == [
        ClassScore("glass", 6 / 11, 6 / 8, pytest.approx(12 / 19), 8),
        ClassScore("metal", 3 / 5, 3 / 4, pytest.approx(2 / 3), 4),
        ClassScore("paper", 0.0, 0.0, 0.0, 4),
    ]


def test_a_label_that_does_not_occur_has_no_figures() -> None:
    table = np.array([[3, 0, 1], [0, 0, 0], [0, 0, 2]])
    assert [row.label for row in class_scores(table, LABELS)] == ["glass", "paper"]


def test_the_summary_by_hand() -> None:
    assert score(TABLE, LABELS) == Score(
        pictures=16,
        accuracy=round(9 / 16, 4),
        macro_f1=round((12 / 19 + 2 / 3 + 0) / 3, 4),
        recall={"glass": 0.75, "metal": 0.75, "paper": 0.0},
    )


def test_macro_f1_is_over_the_labels_that_occur() -> None:
    assert score(np.array([[3, 0, 0], [0, 0, 0], [0, 0, 5]]), LABELS) == Score(
        8, 1.0, 1.0, {"glass": 1.0, "paper": 1.0}
    )


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_temperature_finds_the_scale_that_logits_were_blown_up_by(scale: float) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (8_000, 3)).astype(np.float32)
    # Truth drawn from the very probabilities that the logits claim: calibrated at temperature 1.
    truth = (rng.random((len(logits), 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert fit_temperature(logits * np.float32(scale), truth.tolist()) == pytest.approx(scale, rel=0.05)


def test_temperature_of_a_hand_made_case() -> None:
    # Right in 3 of 4 with a gap of 2: sigmoid(2 / T) = 3 / 4, so T = 2 / ln 3.
    logits = np.array([[2, 0]] * 4, np.float32)
    assert fit_temperature(logits, [0, 0, 0, 1]) == pytest.approx(2 / math.log(3), rel=0.01)


def test_temperature_stays_within_its_search() -> None:
    logits = np.array([[2, 0], [0, 2]], np.float32)
    assert fit_temperature(logits, [0, 1]) == 0.2  # always right: the surer the better
    assert fit_temperature(logits, [1, 0]) == 5.0  # always wrong


def test_calibration_error_by_hand() -> None:
    # Bins of a tenth: 0.95 three times, two right: gap 0.95 - 2/3; 0.65 once, wrong: gap 0.65.
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.65, 0.35]], np.float32)
    expected = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * 0.65
    assert expected_calibration_error(probs, [0, 0, 0, 1], bins=10) == pytest.approx(expected, rel=1e-5)


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert expected_calibration_error(np.array([[1.0, 0.0]] * 2, np.float32), [0, 1]) == pytest.approx(0.5)


def test_gaps_in_one_bin_cancel_and_in_two_do_not() -> None:
    together = np.array([[0.5, 0.5]] * 2, np.float32)
    assert expected_calibration_error(together, [0, 1]) == pytest.approx(0.0)
    apart = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    assert expected_calibration_error(apart, [1, 0]) == pytest.approx((0.9 + 0.4) / 2, rel=1e-5)
