"""Judge what looks teach before a bin may use it: by looks that were left out, and by what is said of the labels.

    Looked -> learn -> folds -> fit -> answers to the left-out looks -> Lesson(Learnt, figures, suspicious, refusal)

Pure numpy. It must never let a look have a say in its own judgement: groups of near-duplicates are left out in turn.
Refused is what is clearly worse on them than the model alone, what is no better than chance, and two labels that look
swapped; what is merely doubtful is told. Corrections are not judged: the model was wrong on all of them,
and `fit` lets them speak for their own kind only. Ideas: labels doubted by cross-validation (confident learning,
Northcutt 2021).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
"""Fewer looks than these can be right or wrong by chance: they are judged by hand."""

CHANCE: Final = 0.1
CLEARLY: Final = 0.15
MOST: Final = 0.6
KNOWN_FROM: Final = 6
MOST_TOLD: Final = 5
DOUBTED: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What came of learning.

    Attributes:
        learnt: from all looks.
        counts: label -> looks, near-duplicates counted once.
        judged: looks that were shown, each left out once, near-duplicates counted once.
        right_before, right_after: of those, named right by the model alone, and with the other looks' help.
        is_worse: so many more of them became wrong than became right as hardly happens by chance, and the
            probabilities of their labels are no better either.
        suspicious: names of looks whose label all the others contradict, the worst first.
        renamed: label -> what the model alone calls most of its looks; hard for this model, or labels mixed up.
        refusal: why it must not be used; empty when it may.
    """

    learnt: Learnt
    counts: dict[str, int]
    judged: int
    right_before: int
    right_after: int
    is_worse: bool
    suspicious: tuple[str, ...]
    renamed: dict[str, str]
    refusal: str

    @property
    def sentence(self) -> str:
        """How it went, for people."""
        looks = ", ".join(f"{label} {count}" for label, count in self.counts.items())
        judged = _of_left_out(self) if self.judged else "corrections only, which count for their own kind of item"
        said = f"learnt from {sum(self.counts.values())} looks ({looks}): {judged}"
        if self.renamed:
            pairs = ", ".join(f"{label} {name}" for label, name in self.renamed.items())
            said += (
                f"; the model alone calls most looks of one label by another name ({pairs}): are these labels right?"
            )
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
    before, after = asked.log_odds.argmax(axis=-1), out.argmax(axis=-1)
    won, lost = (after == truth) & (before != truth) & shown, (after != truth) & (before == truth) & shown
    own = with_new(asked.log_odds, len(labels))
    temperature = _fit_temperature(out[shown], truth[shown], weight[shown])
    lesson = Lesson(
        learnt=fit(looked, labels, home, temperature),
        counts={label: int((truth == index).sum()) for index, label in enumerate(labels) if index in truth},
        judged=int(shown.sum()),
        right_before=int((before == truth)[shown].sum()),
        right_after=int((after == truth)[shown].sum()),
        is_worse=_tail(int(lost.sum()), int((won | lost).sum()), 0.5) <= CLEARLY
        and _surprise(out[shown], truth[shown]) >= _surprise(own[shown], truth[shown]),
        suspicious=_suspicious(out, truth, shown | (weight > MOST), asked.names),
        renamed=_renamed(truth[shown], before[shown], labels),
        refusal="",
    )
    return replace(
        lesson, refusal=_swapped(lesson, truth[shown], before[shown], labels) or _refusal(lesson, truth[shown])
    )


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
    if len(truth) == 0:
        return 0.0
    rows = np.arange(len(truth))
    return min(float(-log_probs(log_odds / np.float32(each))[rows, truth].mean()) for each in SURPRISE_AT)


def _suspicious(out: F32, truth: Rows, is_known: NDArray[np.bool_], names: Sequence[str]) -> tuple[str, ...]:
    """Looks whose label the others contradict; of those that nothing is known about, the model alone would."""
    probs = np.exp(log_probs(out))
    given = probs[np.arange(len(truth)), truth]
    is_doubted = is_known & (given < DOUBTED) & (probs.max(axis=-1) > 0.5)
    doubted = [row for row in np.argsort(given, kind="stable") if is_doubted[row]]
    return tuple(names[row] for row in doubted)


def _refusal(lesson: Lesson, truth: Rows) -> str:
    """Why a lesson must not be used; empty when it may."""
    told = f"; {_told(lesson.suspicious)}" if lesson.suspicious else ""
    if lesson.is_worse:
        return f"{_of_left_out(lesson)}, expected no fewer{told or '; show the bin more things'}"
    if lesson.judged < CHANCE_FROM:
        return ""
    share = np.bincount(truth).max() / lesson.judged
    if share < 1 and _tail(lesson.right_after, lesson.judged, share) > CHANCE:
        return f"{_of_left_out(lesson)}, expected more than guessing would give{told or '; are the labels right?'}"
    return ""


def _renamed(truth: Rows, before: Rows, labels: Sequence[str]) -> dict[str, str]:
    """Labels with three looks or more, most of which the model calls by one other name."""
    renamed: dict[str, str] = {}
    for label in np.unique(truth):
        said = Counter(before[truth == label].tolist())
        name, count = said.most_common(1)[0]
        if said.total() >= 3 and count >= MOST * said.total() and name != label:
            renamed[labels[label]] = labels[name]
    return renamed


def _swapped(lesson: Lesson, truth: Rows, before: Rows, labels: Sequence[str]) -> str:
    """Two labels that the model calls by each other's name, while it knows the rest: why that is refused."""
    for label, name in lesson.renamed.items():
        rest = ~np.isin(truth, [labels.index(label), labels.index(name)])
        is_known = rest.sum() >= KNOWN_FROM and (before[rest] == truth[rest]).mean() >= 0.5
        if lesson.renamed.get(name) == label and is_known:
            return (
                f"most looks of {label} are {name} to the model and the other way round, expected one of them at most; "
                "were the two labels swapped?"
            )
    return ""


def _tail(right: int, count: int, chance: float) -> float:
    """The probability of at least so many right by guessing."""
    return math.fsum(math.comb(count, n) * chance**n * (1 - chance) ** (count - n) for n in range(right, count + 1))


def _of_left_out(lesson: Lesson) -> str:
    return f"of {lesson.judged} left out in turn {lesson.right_after} are named right, {lesson.right_before} without it"


def _told(suspicious: Sequence[str]) -> str:
    more = f" and {len(suspicious) - MOST_TOLD} more" if len(suspicious) > MOST_TOLD else ""
    return f"look again at {', '.join(suspicious[:MOST_TOLD])}{more}: the others contradict the label"
