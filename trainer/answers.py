"""Answers: what a measured model said of every picture, kept so that nothing has to be classified twice.

    evaluate -> answers.npz -> report, probe, familiarity, McNemar between two runs

Choices may look at *train* and *tune* only; rows of *val* are for figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import StageMissing
from trainer.stage import write_atomic

__all__ = ["Answers", "open_answers", "save_answers"]

F32 = NDArray[np.float32]
Texts = NDArray[np.str_]

_FILE = "answers.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One row a picture: all of *tune* and *val*, and a sample of *train*.

    Attributes:
        sha256: of the picture's file; what two runs are matched by.
        split: `train`, `tune` or `val`.
        source: who the picture came from.
        target: a label, or `!label`: anything but that.
        labels: the K names, in the order of the logits.
        int8_logits: float32 [N, K].
        float_logits: float32 [N, K]; NaN in rows of *train*, which only the INT8 file has answered.
        features: float32 [N, F], pooled, of the INT8 file.
    """

    sha256: Texts
    split: Texts
    source: Texts
    target: Texts
    labels: Texts
    int8_logits: F32
    float_logits: F32
    features: F32

    def rows(self, split: str, *, source: str | None = None, labelled: bool = False) -> NDArray[np.intp]:
        """Which rows belong to a split (and a source; and have a label rather than `!label`)."""
        chosen = self.split == split
        if source is not None:
            chosen &= self.source == source
        if labelled:
            chosen &= np.isin(self.target, self.labels)
        return np.flatnonzero(chosen)

    def truth(self, rows: NDArray[np.intp] | Sequence[int]) -> list[int]:
        """The label's index for rows that have one.

        Raises:
            ValueError: a row has none.
        """
        labels = self.labels.tolist()
        return [labels.index(target) for target in self.target[rows].tolist()]


def save_answers(folder: Path, answers: Answers) -> None:
    """Write them into the folder of `evaluate`, whole or not at all."""
    stream = BytesIO()
    np.savez_compressed(stream, **{field.name: getattr(answers, field.name) for field in fields(Answers)})
    write_atomic(folder / _FILE, stream.getvalue())


def open_answers(run: Path) -> Answers:
    """Read what `trainer evaluate` kept of a run.

    Raises:
        StageMissing: there is none.
    """
    path = run / "evaluate" / _FILE
    if not path.is_file():
        raise StageMissing(f"{path}: no answers kept there; run: trainer evaluate --run {run}")
    with np.load(path, allow_pickle=False) as arrays:
        return Answers(**{field.name: arrays[field.name] for field in fields(Answers)})
