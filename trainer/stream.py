"""Stream: answers + truth -> things that visitors may bring, and the bin where each belongs.

answers of a split -> the predictions that they were -> Stream -> diversion, threshold
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.bundle import OutOfDistribution
from device.classify import Familiarity, Prediction, softmax
from device.route import Site, home_bin
from trainer.answers import Answers

__all__ = ["Stream", "make_stream", "near_rows", "stream_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Things that visitors may bring, and the bin where each belongs.

    Attributes:
        name: which sources they are from.
        predictions: one a thing.
        homes: name of the bin that takes it; the residual one's for what no bin takes.
    """

    name: str
    predictions: tuple[Prediction, ...]
    homes: tuple[str, ...]

    def counts(self, site: Site) -> tuple[int, int]:
        """How many things belong in the residual bin, and how many in another."""
        residual = sum(home == site.residual.name for home in self.homes)
        return residual, len(self.homes) - residual


def make_stream(name: str, predictions: Sequence[Prediction], targets: Sequence[str], site: Site) -> Stream:
    """Say where each thing belongs; what is only known not to be a label (`!label`) no bin takes: the residual one."""
    return Stream(name, tuple(predictions), tuple(home_bin(target, site).name for target in targets))


def near_rows(answers: Answers, split: str, leading: str) -> NDArray[np.intp]:
    """Of a split, what a bin like the leading source's meets: that source, the labels it lacks, all unknown things."""
    rows = answers.rows(split)
    has = set(answers.target[answers.rows(split, source=leading, labelled=True)].tolist())
    is_near = (answers.source[rows] == leading) | ~np.isin(answers.target[rows], list(has))
    near: NDArray[np.intp] = rows[is_near]
    return near


def stream_of(
    name: str, answers: Answers, rows: NDArray[np.intp], site: Site, *, temperature: float,
    known: OutOfDistribution | None,
) -> Stream:  # fmt: skip
    """The stream of rows of answers, with what a bundle of this temperature and familiarity makes of them."""
    features, labels = answers.features[rows], tuple(answers.labels.tolist())
    familiarity = [None] * len(rows) if known is None else Familiarity(known).score(features).tolist()
    predictions = [
        Prediction(logits, softmax(logits, temperature), seen, labels, 0.0, familiar)
        for logits, seen, familiar in zip(answers.int8_logits[rows], features, familiarity, strict=True)
    ]
    return make_stream(name, predictions, answers.target[rows].tolist(), site)
