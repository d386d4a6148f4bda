"""Score: named and true labels -> the figures of a report. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.bundle import Score

__all__ = ["ClassScore", "class_scores", "confusion", "expected_calibration_error", "fit_temperature", "score"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One label's figures, 0..1; `support` counts its pictures."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def confusion(truth: Sequence[int], named: Sequence[int], labels: int) -> I64:
    """int64 [K, K]: rows are the truth, columns what was named."""
    table = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(table, (np.asarray(truth, dtype=np.int64), np.asarray(named, dtype=np.int64)), 1)
    return table


def class_scores(table: I64, labels: Sequence[str]) -> list[ClassScore]:
    """Figures of every label that occurs in the truth; a precision of 0 where it was never named."""
    rows = []
    for index, label in enumerate(labels):
        support, claimed, right = int(table[index].sum()), int(table[:, index].sum()), int(table[index, index])
        if support:
            precision, recall = right / claimed if claimed else 0.0, right / support
            f1 = 2 * precision * recall / (precision + recall) if right else 0.0
            rows.append(ClassScore(label, precision, recall, f1, support))
    return rows


def score(table: I64, labels: Sequence[str]) -> Score:
    """The summary that a manifest carries; macro-F1 is over the labels that occur."""
    rows = class_scores(table, labels)
    return Score(
        pictures=int(table.sum()),
        accuracy=round(float(np.trace(table) / table.sum()), 4),
        macro_f1=round(sum(row.f1 for row in rows) / len(rows), 4),
        recall={row.label: round(row.recall, 4) for row in rows},
    )


def fit_temperature(logits: F32, truth: Sequence[int]) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017), by a fine search over 0.2 to 5.

    Args:
        logits: float32 [N, K].
        truth: N label indices.
    """
    index = np.asarray(truth, dtype=np.int64)

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(index)), index]).mean())

    return round(float(min(np.geomspace(0.2, 5, 400), key=loss)), 3)


def expected_calibration_error(probs: F32, truth: Sequence[int], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, 0..1 (Naeini et al. 2015).

    Args:
        probs: float32 [N, K].
        truth: N label indices.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == np.asarray(truth)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = 0.0
    for number in range(bins):
        inside = place == number
        if inside.any():
            gap += inside.mean() * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return float(gap)
