"""Familiar: features of pictures -> what tells a thing that the model knows from any other.

    answers.npz: features of train -> label means, strange means; of tune -> the lowest familiarity -> manifest

Numpy only, no choice by hand, and never a look at *val*. The score itself is the device's, `classify.Familiarity`:
what is fitted here and what a bin computes cannot drift apart.

Why this score. Measured on `nano`'s own 112 INT8 features and on 1,280 features of an ImageNet EfficientNet-Lite0 that
saw none of it. Known: the 516 labelled pictures of *tune*. Strange: 136 bare hands and 52 cartons in a hand, other
pictures than those fitted to; and, in the mean, eight kinds that the statistics (for Lite0 the classifier too) never
saw: hands, cartons, two sources, three labels. Area under the ROC curve, `nano` / Lite0:

| score | hands, cartons | mean of eight |
|---|---|---|
| largest probability (MSP) | .58, .80 / .91, .78 | .69 / .72 |
| length of the features | .26, .52 / .73, .48 | .44 / .56 |
| cosine to the nearest label mean (CTM) | .69, .83 / .89, .55 | .79 / .77 |
| the same, centred | .53, .86 / .74, .83 | .72 / .76 |
| the same, with MSP (sum of ranks) | .55, .84 / .90, .87 | .71 / .78 |
| Mahalanobis, shrunk | .83, .69 / .81, .54 | .77 / .77 |
| the same, relative to all pictures (RMD) | .91, .84 / .90, .66 | .82 / .81 |
| centred cosine, less that to the nearest of two strange means | 1.0, .99 / 1.0, 1.0 | .79 / .80 |
| **the same, less half of it** | .98, .98 / 1.0, 1.0 | .81 / .80 |

RMD is as good where no example is at hand, but takes 1,280 x 1,280 numbers; this takes nine rows. With `lowest` below,
contamination at 40 % residual and strange visits fell by half at the same diversion (`nano`: .152 to .077 at .503):
what is strange is mostly what would have been wrong. Of 500 shop pictures unlike any trained on 11 % are strange; 26 %
of those had the right name, of the others 61 %, and none was above 0.8. A strange mean knows its own kind: hands alone
leave cartons at .88. So examples of whatever will lie in a bin uncalled for are worth having.

Ideas: CTM (Ngoc-Hieu et al. 2023), relative Mahalanobis (Ren et al. 2021), outlier exposure (Hendrycks et al. 2019).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import OutOfDistribution
from device.classify import Familiarity
from trainer.answers import open_answers
from trainer.errors import DatasetError

__all__ = ["familiar_of", "fit_familiar"]

F32 = NDArray[np.float32]

PASS = 0.95
"""Share of known pictures of *tune* that stay familiar. Of the twentieth that does not, most are unsure or named wrong
anyway: diversion stayed as it was. At 0.98 nearly half of the hands stay familiar to `nano`; 0.90 costs diversion."""

KINDS = 2
"""Strange means. One is a mixture of hands and cartons that resembles neither (.97); three to six gain nothing."""

FEWEST_STRANGE = 20
"""Fewer examples are no kind."""

FEWEST_TUNE = 40
"""A twentieth of fewer pictures is one picture, and no threshold."""

_ROUNDS = 50


def familiar_of(run: Path) -> OutOfDistribution | None:
    """The statistics for a run's manifest; None where *tune* is too small to set a threshold by.

    Raises:
        StageMissing: `trainer evaluate` kept no answers.
        DatasetError: see `fit_familiar`.
    """
    answers = open_answers(run)
    train, tune = answers.rows("train"), answers.rows("tune", labelled=True)
    if len(tune) < FEWEST_TUNE:
        return None
    return fit_familiar(
        answers.features[train], answers.target[train].tolist(), answers.labels.tolist(), tune=answers.features[tune]
    )


def fit_familiar(features: F32, targets: Sequence[str], labels: Sequence[str], *, tune: F32) -> OutOfDistribution:
    """Fit the statistics.

    Args:
        features: float32 [N, F], of pictures of *train*.
        targets: N of them. A picture that is only known *not* to be a label (`!label`) is an example of a strange
            thing, and of no label.
        labels: the model's, in its order.
        tune: float32 [M, F], of pictures of *tune* that have a label; they set `lowest`.

    Raises:
        DatasetError: a label has no picture, or two labels have the same features.
    """
    of = np.asarray(targets)
    for label in labels:
        if not (of == label).any():
            raise DatasetError(
                f"familiarity: no picture of train has the label {label!r}, expected some of each; add pictures"
            )
    means = np.stack([features[of == label].mean(axis=0, dtype=np.float64) for label in labels])
    middle = means.mean(axis=0)
    size = float(np.sqrt(((means - middle) ** 2).mean()))
    if size == 0.0:
        raise DatasetError(
            f"familiarity: all {len(of)} pictures of train have the same features, expected labels to differ; "
            "the network answers the same to everything: train it again"
        )
    strange = _kinds(features[~np.isin(of, labels)], middle)
    # A thousandth of how far the labels are apart: finer digits are noise, and a manifest is read by people too.
    digits = 2 - math.floor(math.log10(size))
    fitted = OutOfDistribution(_rows(means, digits), None if strange is None else _rows(strange, digits), 0.0)
    scores = np.sort(Familiarity(fitted).score(tune))
    lowest = float(scores[math.floor((1.0 - PASS) * len(scores))])
    return OutOfDistribution(fitted.means, fitted.strange, math.floor(lowest * 1e4) / 1e4)


def _kinds(examples: F32, middle: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Means of the kinds among strange examples, float64 [KINDS, F]: k-means on directions from the middle.

    It begins with the example least like all others and then the one least like that, so there is no chance in it.
    """
    if len(examples) < FEWEST_STRANGE:
        return None
    away = examples.astype(np.float64) - middle
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    chosen = [int((away @ away.mean(axis=0)).argmin())]
    while len(chosen) < KINDS:
        chosen.append(int((away @ away[chosen].T).max(axis=1).argmin()))
    directions = away[chosen]
    kind = np.zeros(len(away), np.int64)
    for _ in range(_ROUNDS):
        kind = (away @ directions.T).argmax(axis=1)
        sums = np.stack([away[kind == index].sum(axis=0) for index in range(KINDS)])
        directions = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.stack([examples[kind == index].mean(axis=0, dtype=np.float64) for index in sorted(set(kind.tolist()))])


def _rows(values: NDArray[np.float64], digits: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in (np.round(values, digits) + 0.0).tolist())
