"""Home: what the features of the pictures look like that a model grew up with, for a bin that learns its site.

    answers.npz, tune of the leading source -> home_of -> golden.npz `home` -> device.learn

A bin that learns from a few looks must know which pictures are *not* of its place, or else it moves the model's answers
everywhere. *tune* and not *train*: a network's features of what it was trained on are neater than of anything that it
meets later.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.answers import Answers

__all__ = ["MOST", "home_of"]

MOST = 192


def home_of(answers: Answers, source: str) -> NDArray[np.float16] | None:
    """Features of at most `MOST` pictures of a source's *tune*, float16 [H, F], always the same; None without any."""
    rows = answers.rows("tune", source=source, labelled=True)
    if len(rows) == 0:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    features: NDArray[np.float32] = answers.features[chosen]
    return features.astype(np.float16)
