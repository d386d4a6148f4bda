"""Selective: how right is the model where it is sure. Pure.

    confidence, right -> risk-coverage, accuracy at a coverage, reliability

A bin may decline: what counts is how right the answers are that it does give (El-Yaniv and Wiener 2010).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.score import expected_calibration_error

__all__ = ["Calibration", "Coverage", "Covered", "ReliabilityBin", "accuracy_at", "calibration", "coverage"]

_BINS = 15
_SHARES = np.linspace(0.05, 1, 20)


@dataclass(frozen=True, slots=True)
class Covered:
    """Accuracy of the most confident share `coverage` of the pictures; both 0..1."""

    coverage: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """The curve of risk against coverage.

    Attributes:
        points: from the most confident twentieth to all.
        area: mean error over all coverages, 0..1: what a perfect order of confidence makes small.
        at_half, at_90: accuracy of the most confident half and 90 %.
    """

    points: tuple[Covered, ...]
    area: float
    at_half: float
    at_90: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Pictures of about the same confidence: its mean, how many of them are right, their share of all; each 0..1."""

    confidence: float
    accuracy: float
    share: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, 0..1, and the bins that are not empty."""

    ece: float
    bins: tuple[ReliabilityBin, ...]


def accuracy_at(share: float, confidence: Sequence[float] | NDArray[np.floating], right: Sequence[bool]) -> float:
    """Accuracy of the most confident `share` of the pictures, at least one of them.

    Pictures that are equally confident where the line falls count with the mean of all of them: their order is chance.

    Args:
        share: above 0, at most 1.
        confidence: any score, higher is surer.
    """
    return float(_hits(confidence, right)[_count(share, len(right)) - 1] / _count(share, len(right)))


def coverage(confidence: Sequence[float] | NDArray[np.floating], right: Sequence[bool]) -> Coverage:
    """The whole curve, of one picture or more."""
    hits, counts = _hits(confidence, right), np.arange(1, len(right) + 1)
    return Coverage(
        points=tuple(Covered(float(share), accuracy_at(share, confidence, right)) for share in _SHARES),
        area=float(np.mean(1 - hits / counts)),
        at_half=accuracy_at(0.5, confidence, right),
        at_90=accuracy_at(0.9, confidence, right),
    )


def calibration(probs: NDArray[np.float32], truth: Sequence[int]) -> Calibration:
    """How far probabilities are from what happens.

    Args:
        probs: float32 [N, K].
        truth: N label indices.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == np.asarray(truth)
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        ReliabilityBin(float(confidence[inside].mean()), float(right[inside].mean()), float(inside.mean()))
        for inside in (place == number for number in range(_BINS))
        if inside.any()
    )
    return Calibration(expected_calibration_error(probs, truth, _BINS), bins)


def _count(share: float, pictures: int) -> int:
    return max(1, round(share * pictures))


def _hits(confidence: Sequence[float] | NDArray[np.floating], right: Sequence[bool]) -> NDArray[np.float64]:
    """How many of the n most confident are right, for every n; equals are each worth their mean. float64 [N]."""
    scores, hit = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    _, place, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    mean = np.bincount(place, hit) / counts
    return np.asarray(np.cumsum(np.repeat(mean, counts)), np.float64)
