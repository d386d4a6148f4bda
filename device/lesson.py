"""Judge what looks teach before a bin may use it: by looks that were left out, and by what is said of the labels.

    Looked -> learn -> folds -> fit -> answers to the left-out looks -> Lesson(Learnt, figures, suspicious, refusal)

Pure numpy. It must never let a look have a say in its own judgement: groups of near-duplicates are left out in turn.
Refused are labels that fit the pictures no better than shuffled ones, two labels that look swapped, and what is clearly
worse on left-out looks than the model alone; what is merely doubtful is told. Few looks left out in turn say little of
how much is gained (three of a label: too little is left to learn from), so that nothing else hangs on them. Corrections
are not judged: the model was wrong on all of them, and `fit` lets them speak for their own kind only. What its numbers
were chosen on: as in `learn`. Ideas: labels doubted by cross-validation (confident learning, Northcutt 2021), the
permutation test (Fisher 1935).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device.learn import Learnt, Looked, fit, log_probs, with_new

__all__ = ["Lesson", "learn"]

F32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Rows = NDArray[np.intp]

FOLDS: Final = 5
TEMPERATURES: Final = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5)
SURPRISE_AT: Final = (*TEMPERATURES, 3.3)

CHANCE_FROM: Final = 12
"""Fewer looks than these may fit shuffled labels as well: they are judged by hand."""

SHUFFLES: Final = 200
MOST_AS_GOOD: Final = 1
"""So many of the shuffles may fit the pictures as well as the labels do."""

CLEARLY: Final = 0.05
"""Probability by chance of so many more looks wrong than before."""

KNOWN_FROM: Final = 6
"""Looks of other labels, half of them named right by the model alone, that it takes to say that it knows the rest."""

SWAPPED_TOLD: Final = 3.0
"""Nats by which the model must like two labels better the other way round for people to be asked about them."""

SWAPPED_REFUSED: Final = 10.0
MOST_TOLD: Final = 5
DOUBTED: Final = 0.1
"""Probability of a look's own label below which the others contradict it."""

LIKE_IT: Final = 0.6
"""How far a correction's answer must come from the other looks before these may contradict it."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What came of learning.

    Attributes:
        learnt: from all looks.
        counts: label -> looks, near-duplicates counted once.
        judged: looks that were shown, each left out once, near-duplicates counted once.
        right_before, right_after: of those, named right by the model alone, and with the other looks' help.
        suspicious: names of looks whose label all the others contradict, the worst first.
        swapped: two labels that the model alone likes better the other way round: hard for it, or mixed up.
        refusal: why it must not be used; empty when it may.
    """

    learnt: Learnt
    counts: dict[str, int]
    judged: int
    right_before: int
    right_after: int
    suspicious: tuple[str, ...]
    swapped: tuple[str, str] | None
    refusal: str = ""

    @property
    def sentence(self) -> str:
        """How it went, for people."""
        looks = ", ".join(f"{label} {count}" for label, count in self.counts.items())
        judged = _of_left_out(self) if self.judged else "corrections only, which count for their own kind of item"
        said = f"learnt from {sum(self.counts.values())} looks ({looks}): {judged}"
        if self.swapped:
            said += f"; to the model alone {_and(self.swapped)} look swapped: are these labels right?"
        return said + (f"; {_told(self.suspicious)}" if self.suspicious else "")


def learn(looked: Looked, model_labels: Sequence[str], home: F32) -> Lesson:
    """Learn from looks, and judge by looks that were left out.

    Args:
        looked: at least one look.
        model_labels: [K], in the order of the log-odds.
        home: float32 [H, F], features of pictures that the model grew up with.
    """
    labels = (*model_labels, *sorted(set(looked.labels).difference(model_labels)))
    # One of each group is asked about, by what the other groups taught.
    one_each = np.unique(looked.groups, return_index=True)[1]
    asked = looked.some(one_each)
    truth = np.array([labels.index(label) for label in asked.labels])
    out, weight = _left_out(looked, asked, truth, labels, home)
    shown = asked.shown
    own = with_new(asked.log_odds, len(labels))
    learnt = fit(looked, labels, home, _fit_temperature(out[shown], truth[shown], weight[shown]))
    judged = _Judged(truth[shown], own[shown], out[shown], learnt.see(asked.features[shown]))
    swapped = judged.swapped(SWAPPED_TOLD)
    lesson = Lesson(
        learnt=learnt,
        counts={label: int((truth == index).sum()) for index, label in enumerate(labels) if index in truth},
        judged=len(judged.truth),
        right_before=int(judged.is_right(judged.own).sum()),
        right_after=int(judged.is_right(judged.out).sum()),
        suspicious=_suspicious(out, truth, shown | (weight > LIKE_IT), asked.names),
        swapped=None if swapped is None else (labels[swapped[0]], labels[swapped[1]]),
    )
    return replace(lesson, refusal=_refusal(lesson, judged, labels))


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Looks that were shown, one of each group.

    Attributes:
        truth: int [N], what people say.
        own, out: log-odds float32 [N, K + M], the model's alone, and by what the other looks taught.
        seen: float32 [N, F], see `Learnt.see`.
    """

    truth: Rows
    own: F32
    out: F32
    seen: F32

    def is_right(self, log_odds: F32) -> NDArray[np.bool_]:
        return np.asarray(log_odds.argmax(axis=-1) == self.truth)

    def is_worse(self) -> bool:
        """More of them became wrong than became right, by more than chance, and their labels no more probable."""
        before, after = self.is_right(self.own), self.is_right(self.out)
        lost, changed = int((before & ~after).sum()), int((before ^ after).sum())
        tail = math.fsum(math.comb(changed, count) for count in range(lost, changed + 1)) / 2**changed
        return tail <= CLEARLY and _surprise(self.out, self.truth) >= _surprise(self.own, self.truth)

    def is_chance(self) -> bool:
        """Shuffled labels would fit the pictures as well: what the model says of them, and how alike they are."""
        if len(self.truth) < CHANCE_FROM or len(np.unique(self.truth)) == 1:
            return False
        rng = np.random.default_rng(0)
        given = np.stack([self.truth, *(rng.permutation(self.truth) for _ in range(SHUFFLES))])
        alike = self.seen @ self.seen.T
        np.fill_diagonal(alike, 0.0)
        fits = _standard(log_probs(self.own)[np.arange(len(self.truth)), given].mean(axis=1)) + _standard(
            np.array([alike[labels[:, None] == labels].sum() for labels in given])
        )
        return int((fits[1:] >= fits[0]).sum()) > MOST_AS_GOOD

    def swapped(self, least: float) -> tuple[int, int] | None:
        """The two labels that the model alone likes better the other way round, by the most and at least so many nats.

        The looks of each, taken together, must be likelier by the other's name: one label alone may just be hard.
        """
        said = log_probs(self.own)

        def nats(pair: tuple[int, int]) -> float:
            one, other = pair
            gained = np.where(self.truth == one, 1, -1) * (said[:, other] - said[:, one])
            of_each = [float(gained[self.truth == label].sum()) for label in pair]
            return sum(of_each) if min(of_each) > 0 else -math.inf

        pairs = list(combinations(map(int, np.unique(self.truth)), 2))
        found = max(pairs, key=nats, default=None)
        return found if found is not None and nats(found) >= least else None


def _refusal(lesson: Lesson, judged: _Judged, labels: Sequence[str]) -> str:
    """Why a lesson must not be used; empty when it may."""
    told = f"; {_told(lesson.suspicious)}" if lesson.suspicious else ""
    if judged.is_chance():
        return f"the labels fit the {lesson.judged} pictures no better than shuffled ones{told or '; are they right?'}"
    swapped = judged.swapped(SWAPPED_REFUSED)
    if swapped is not None:
        rest = ~np.isin(judged.truth, swapped)
        if rest.sum() >= KNOWN_FROM and judged.is_right(judged.own)[rest].mean() >= 0.5:
            names = _and([labels[each] for each in swapped])
            return f"to the model, which knows the rest, {names} look swapped; were the two labels swapped?"
    if judged.is_worse():
        return f"{_of_left_out(lesson)}, expected no fewer{told or '; show the bin more things'}"
    return ""


def _left_out(looked: Looked, asked: Looked, truth: Rows, labels: Sequence[str], home: F32) -> tuple[F32, F32]:
    """Answers to each look by the other groups alone, float32 [N, K + M], and how far they come from those, [N]."""
    out = with_new(asked.log_odds, len(labels))
    weight = np.zeros(len(truth), np.float32)
    folds = _folds(truth)
    for fold in range(FOLDS):
        left = np.flatnonzero(folds == fold)
        rest = np.flatnonzero(~np.isin(looked.groups, asked.groups[left]))
        if len(left) and len(rest):
            taught = fit(looked.some(rest), labels, home)
            out[left], weight[left] = taught.answer(asked.features[left], asked.log_odds[left])
    return out, weight


def _folds(truth: Rows) -> Ints:
    """Spread each label over the folds; whole numbers 0..FOLDS-1."""
    order = np.argsort(truth, kind="stable")
    folds = np.empty(len(truth), np.int64)
    folds[order] = np.arange(len(truth)) % FOLDS
    return folds


def _fit_temperature(log_odds: F32, truth: Rows, weight: F32) -> float:
    """The temperature that makes left-out looks least surprising; near 1 while there are few of them."""
    rows = np.arange(len(truth))

    def surprise(temperature: float) -> float:
        scale = (1 - weight + weight / temperature)[:, None]
        doubt = 10.0 * math.log(temperature) ** 2  # ten looks' worth of belief in 1
        return float(-log_probs(log_odds * scale)[rows, truth].sum()) + doubt

    return min(TEMPERATURES, key=surprise)


def _surprise(log_odds: F32, truth: Rows) -> float:
    """How improbable the labels are, at the temperature that suits these answers best."""
    rows = np.arange(len(truth))
    return min(float(-log_probs(log_odds / np.float32(each))[rows, truth].sum()) for each in SURPRISE_AT)


def _standard(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """In standard deviations of all but the first, from their mean."""
    return np.asarray((values - values[1:].mean()) / max(float(values[1:].std()), 1e-9))


def _suspicious(out: F32, truth: Rows, is_known: NDArray[np.bool_], names: Sequence[str]) -> tuple[str, ...]:
    """Looks whose label the others contradict; of those that nothing is known about, the model alone would."""
    probs = np.exp(log_probs(out))
    given = probs[np.arange(len(truth)), truth]
    is_doubted = is_known & (given < DOUBTED) & (probs.max(axis=-1) > 0.5)
    return tuple(names[row] for row in np.argsort(given, kind="stable") if is_doubted[row])


def _of_left_out(lesson: Lesson) -> str:
    return f"of {lesson.judged} left out in turn {lesson.right_after} are named right, {lesson.right_before} without it"


def _told(suspicious: Sequence[str]) -> str:
    more = f" and {len(suspicious) - MOST_TOLD} more" if len(suspicious) > MOST_TOLD else ""
    return f"look again at {', '.join(suspicious[:MOST_TOLD])}{more}: the others contradict the label"


def _and(labels: Sequence[str]) -> str:
    return " and ".join(labels)
