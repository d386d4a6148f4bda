"""Learn a site: from a few labelled looks, what the model's answers must become for pictures of this place.

    features, log-odds and labels of the looks -> fit -> Learnt.answer -> log-odds at this site

Pure numpy: no file, no clock. Kernel logistic regressions on the model's features. One tells a picture of this site
from the pictures that the model grew up with (`home`), which keep the model's own answer. One names the picture: it
starts from the model's log-odds, scaled down because a model is too sure in a new place (the less, the more of the
looks it names right by itself), and is moved by the looks that people brought. A label without a look keeps its share
of the probability. And one remembers: what is all but one of the looks again is named as that one was, corrections
included. Corrections do no more than that: they are all wrong ones, and who learns from them alone unlearns what was
right (nano in a simulated bin: 96 % of what nobody had corrected became 70 %). Near-duplicates share the weight of one
look.

It must never answer for pictures that are not of this site. What its numbers were chosen on: other people's pictures
on the web, and some of TrashNet's *val* as under another lamp and from farther away; see `benchmarks.site_curve`.
Ideas: few looks beside a network's own answer (Tip-Adapter, Zhang 2022), features made less peaked by a root (Hu 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["OWN", "SAME_PICTURE", "Learnt", "Looked", "fit", "group_same", "log_probs", "with_new"]

F32 = NDArray[np.float32]
Ints = NDArray[np.int64]

SAME_PICTURE: Final = 0.95
"""Two tiny pictures, see `group_same`, with a higher cosine are frames of one thing."""

OWN: Final = 0.3
"""What the model's own log-odds count for at a site where it is lost."""

TRUSTED: Final = (0.65, 0.95)
"""Share of the looks that the model alone names right, from which its log-odds count for more, and from which fully."""

STRENGTH: Final = 16.0
"""How far looks may move the log-odds of other pictures."""

FIRMLY: Final = 64.0
"""The same for what is that very thing again, and for what tells this place from home; more hardly matters."""

LEVEL: Final = 0.3
"""Of the kernel that every two pictures of the site share: what all looks say about a label's share here."""

HERE: Final = (0.5, 0.9)
"""Probability of being a picture of this site from which the looks begin to count, and from which they count fully."""

REPEAT: Final = (0.6, 0.9)
"""The same for the cosine to the nearest look, from which a picture shows that very thing again."""

NEW_SHARE: Final = 0.02
"""Probability of a material that the model does not know, before a look has spoken."""

STEPS: Final = 150


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Looks as the model sees them.

    Attributes:
        names: for messages.
        labels: what people say they show.
        features: float32 [N, F].
        log_odds: float32 [N, K], calibrated: logits / temperature.
        groups: int64 [N]: near-duplicates share a number.
        shown: bool [N]: a person brought it to be learnt from; False for corrections, which are here because the model
            was wrong and say nothing of how often it is.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    features: F32
    log_odds: F32
    groups: Ints
    shown: NDArray[np.bool_]

    def some(self, rows: NDArray[np.intp]) -> Looked:
        """The looks of these rows only."""
        return Looked(
            tuple(self.names[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            self.features[rows],
            self.log_odds[rows],
            self.groups[rows],
            self.shown[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What was learnt; belongs to one bundle.

    Attributes:
        labels: [K + M], the model's and then the new ones.
        known: K.
        temperature: what the log-odds of this site are divided by, fitted on looks that were left out.
        own: what the model's own log-odds count for here, OWN..1.
        middle: float32 [F], where the features are seen from.
        rows: float32 [R, F], unit: the looks, those that were shown first, then the pictures of home.
        here: float32 [R], pulls towards "of this site"; zeros where nothing was shown.
        pulls: float32 [S, K + M], of the S looks that were shown.
        memory: float32 [N, K + M], of all looks, S <= N <= R.
        looked: bool [K + M], the labels of which a look was shown.
    """

    labels: tuple[str, ...]
    known: int
    temperature: float
    own: float
    middle: F32
    rows: F32
    here: F32
    pulls: F32
    memory: F32
    looked: NDArray[np.bool_]

    def see(self, features: F32) -> F32:
        """Features as they are compared: float32 [..., F], seen from the middle of home, of length 1."""
        return _unit(_root(features) - self.middle)

    def answer(self, features: F32, log_odds: F32) -> tuple[F32, F32]:
        """What pictures show, at this site.

        Args:
            features: float32 [..., F].
            log_odds: float32 [..., K], the model's, calibrated.

        Returns:
            Calibrated log-odds, float32 [..., K + M], and float32 [...], 0..1: how far they come from the looks.
        """
        cosines: F32 = self.see(features) @ self.rows.T
        own = with_new(log_odds, len(self.labels))
        looks = cosines[..., : len(self.memory)]
        repeat = _ramp(looks.max(axis=-1), REPEAT)[..., None]
        again = OWN * own + _lifted(looks) @ self.memory
        weight, named = repeat, again
        if len(self.pulls):
            here = _ramp(_sigmoid(_lifted(cosines) @ self.here), HERE)[..., None]
            said = np.float32(self.own) * own
            moved = said + _lifted(cosines[..., : len(self.pulls)]) @ self.pulls
            # Labels that were shown divide what the model gives them together; the others keep theirs.
            among = _logsumexp(np.where(self.looked, moved, -np.inf))
            held = _logsumexp(np.where(self.looked, said, -np.inf)) - among
            named = (1 - repeat) * np.where(self.looked, moved + held, said) + repeat * again
            weight = np.maximum(here, repeat)
        site = log_probs(np.asarray(named, np.float32)) / np.float32(self.temperature)
        return np.asarray((1 - weight) * own + weight * site, np.float32), np.asarray(weight[..., 0], np.float32)


def group_same(thumbs: F32) -> Ints:
    """Number the groups of near-duplicates.

    Args:
        thumbs: float32 [N, P], tiny pictures without their brightness, of length 1.

    Returns:
        int64 [N]: the index of each group's first picture.
    """
    parent = np.arange(len(thumbs))
    for row, column in np.argwhere(np.triu(thumbs @ thumbs.T > SAME_PICTURE, 1)):
        low, high = sorted((parent[row], parent[column]))
        parent[parent == high] = low
    return parent


def fit(looked: Looked, labels: Sequence[str], home: F32, temperature: float = 1.0) -> Learnt:
    """Learn from looks.

    Args:
        looked: at least one look.
        labels: [K + M], the model's and then the new ones.
        home: float32 [H, F], features of pictures that the model grew up with.
        temperature: see `Learnt`.
    """
    looked = looked.some(np.argsort(~looked.shown, kind="stable"))
    truth = np.array([labels.index(label) for label in looked.labels])
    shown = int(looked.shown.sum())
    at_home = _root(home)
    middle = at_home.mean(axis=0)
    rows = _unit(np.concatenate([_root(looked.features), at_home]) - middle)
    kernel = _lifted(rows @ rows.T)
    said = with_new(looked.log_odds, len(labels))
    few = slice(shown)
    shares = _shares(looked.groups[few])
    own = OWN + (1 - OWN) * _trust(looked.log_odds[few], truth[few], shares)
    here = np.zeros(len(rows), np.float32)
    if shown:
        # As much weight on both sides, however many pictures there are.
        at_homes = np.full(len(home), shares.sum() / len(home), np.float32)
        place = np.concatenate([np.arange(shown), np.arange(len(truth), len(rows))])
        sides = np.repeat([0, 1], [shown, len(home)])
        start = np.zeros((len(place), 2), np.float32)
        towards = _pulls(
            kernel[np.ix_(place, place)], start, sides, np.float32(FIRMLY) * np.concatenate([shares, at_homes])
        )
        here[place] = towards[:, 0] - towards[:, 1]
    among = kernel[: len(truth), : len(truth)]
    return Learnt(
        labels=tuple(labels),
        known=looked.log_odds.shape[1],
        temperature=temperature,
        own=own,
        middle=middle,
        rows=rows,
        here=here,
        pulls=_pulls(among[few, few], np.float32(own) * said[few], truth[few], STRENGTH * shares),
        memory=_pulls(among, np.float32(OWN) * said, truth, FIRMLY * _shares(looked.groups)),
        looked=np.isin(np.arange(len(labels)), truth[few]),
    )


def _trust(log_odds: F32, truth: NDArray[np.intp], shares: F32) -> float:
    """How far the model's own log-odds are to be trusted by the looks of labels that it knows, 0..1."""
    known = truth < log_odds.shape[-1]
    right = float(shares[known & (log_odds.argmax(axis=-1) == truth)].sum())
    # One right and one wrong look more, so that few looks prove little.
    return float(_ramp(np.float32((right + 1) / (float(shares[known].sum()) + 2)), TRUSTED))


def _shares(groups: Ints) -> F32:
    """The weight of each look, float32 [N]: one for a group."""
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return (1.0 / sizes[which]).astype(np.float32)


def _pulls(kernel: F32, start: F32, truth: NDArray[np.intp], strengths: F32) -> F32:
    """Kernel logistic regression around `start`: float32 [N, K], by gradient steps that cannot overshoot."""
    wanted = np.eye(start.shape[1], dtype=np.float32)[truth]
    if len(truth) == 0:
        return start
    weights = strengths[:, None]
    pulls = np.zeros_like(start)
    step = np.float32(1.0 / (1.0 + 0.5 * np.linalg.norm(kernel * weights, 2)))
    for _ in range(STEPS):
        pulls += step * (weights * (wanted - np.exp(log_probs(start + kernel @ pulls))) - pulls)
    return pulls


def with_new(log_odds: F32, count: int) -> F32:
    """Log-probabilities with a small share for each label that the model does not know."""
    known = log_probs(log_odds)
    new = np.full((*known.shape[:-1], count - known.shape[-1]), math.log(NEW_SHARE / (1 - NEW_SHARE)), np.float32)
    return np.concatenate([known, new], axis=-1)


def _root(features: F32) -> F32:
    return np.asarray(np.sign(features) * np.sqrt(np.abs(features)), np.float32)


def _lifted(cosines: F32) -> F32:
    return np.asarray(cosines + LEVEL, np.float32)


def _unit(rows: F32) -> F32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6), np.float32)


def _ramp(values: F32 | np.float32, between: tuple[float, float]) -> F32:
    low, high = between
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _sigmoid(values: F32) -> F32:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))), np.float32)


def _logsumexp(values: F32) -> F32:
    top = values.max(axis=-1, keepdims=True)
    return np.asarray(top + np.log(np.exp(values - top).sum(axis=-1, keepdims=True)), np.float32)


def log_probs(log_odds: F32) -> F32:
    """Log-probabilities."""
    return np.asarray(log_odds - _logsumexp(log_odds), np.float32)
