"""Audit: what a person should know of the pictures before a network learns from them.

    data/ + kept features -> balance, near-copies, suspected wrong labels, shortcuts -> Audit

It changes nothing: what it finds is for a person to look at.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2

import numpy as np
from numpy.typing import NDArray

from trainer.audit_labels import Shortcut, SourceNoise, Suspect, audit_labels
from trainer.data import Dataset
from trainer.dataset import SPLITS, Record
from trainer.draws import draw_epoch
from trainer.recipe import Recipe

__all__ = ["Audit", "Group", "Pair", "audit_data"]

F32 = NDArray[np.float32]

DRAWS = 200_000
"""Draws that the shares in training are counted from: a share of 5 % comes out within 0.1 points."""

PAIRS = 12
"""Pairs shown on each side of the limit for near-copies."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that are taken for the same object.

    Attributes:
        members: record indices.
        targets: what they are said to be; more than one means that a label is wrong, or that it is no group.
        splits: where they are; more than one is a leak.
    """

    members: tuple[int, ...]
    targets: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures close to the limit; record indices, and the cosine of their centred features."""

    left: int
    right: int
    cosine: float


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found.

    Attributes:
        counts: (source, target) -> pictures in train, tune and val.
        draws: (source, target) -> share of the photographs that training draws, 0..1.
        groups: near-copies, the largest first.
        over, under: pairs taken for the same object only just, and those only just not.
        suspects: the surest first.
        label_bits, source_bits: entropy of the drawn targets, and how much of it the source alone tells.
        source_right, guess_right: share of draws named right from the source alone, and by one name for all, 0..1.
    """

    counts: Mapping[tuple[str, str], tuple[int, int, int]]
    draws: Mapping[tuple[str, str], float]
    groups: tuple[Group, ...]
    over: tuple[Pair, ...]
    under: tuple[Pair, ...]
    suspects: tuple[Suspect, ...]
    noise: tuple[SourceNoise, ...]
    shortcuts: tuple[Shortcut, ...]
    label_bits: float
    source_bits: float
    source_right: float
    guess_right: float


def audit_data(dataset: Dataset, features: F32, recipe: Recipe) -> Audit:
    """Look at the pictures.

    Args:
        features: float32 [N, F], as the data step made them, in the records' order.
    """
    records = dataset.records
    counts, draws = _balance(dataset, recipe)
    groups = _near_copies(records)
    over, under = _borderline(records, features, recipe.data.same_object)
    suspects, noise, shortcuts = audit_labels(records, features, recipe.data.labels, draws, recipe.train.seed)
    label_bits, source_bits, source_right, guess_right = _information(draws)
    return Audit(
        counts=counts,
        draws=draws,
        groups=groups,
        over=over,
        under=under,
        suspects=suspects,
        noise=noise,
        shortcuts=shortcuts,
        label_bits=label_bits,
        source_bits=source_bits,
        source_right=source_right,
        guess_right=guess_right,
    )


def _balance(
    dataset: Dataset, recipe: Recipe
) -> tuple[dict[tuple[str, str], tuple[int, int, int]], dict[tuple[str, str], float]]:
    """Pictures by split, and shares of what training draws, counted from its own draws: a second rule would drift."""
    records = dataset.records
    count = Counter((record.source, record.target, record.split) for record in records)
    keys = dict.fromkeys((record.source, record.target) for record in records)
    many = replace(
        recipe,
        train=replace(recipe.train, pictures_per_epoch=DRAWS),
        drawings=replace(recipe.drawings, per_epoch=0),
    )
    drawn = Counter((records[index].source, records[index].target) for index, _ in draw_epoch(dataset, many, 0))
    counts = {key: (count[*key, SPLITS[0]], count[*key, SPLITS[1]], count[*key, SPLITS[2]]) for key in keys}
    return counts, {key: drawn[key] / DRAWS for key in keys}


def _near_copies(records: Sequence[Record]) -> tuple[Group, ...]:
    members: dict[int, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        members[record.group].append(index)
    groups = [
        Group(
            tuple(found),
            tuple(dict.fromkeys(records[index].target for index in found)),
            tuple(dict.fromkeys(records[index].split for index in found)),
        )
        for found in members.values()
        if len(found) > 1
    ]
    return tuple(sorted(groups, key=lambda group: (-len(group.members), group.members)))


def _borderline(
    records: Sequence[Record], features: F32, same_object: float
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Pairs just over and just under the limit, one for any two groups, the closest to the limit first."""
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    group = np.array([record.group for record in records])
    found: tuple[list[Pair], list[Pair]] = ([], [])
    step = 1024  # rows at a time: a whole N x N table would be hundreds of megabytes
    for start in range(0, len(unit), step):
        cosine = unit[start : start + step] @ unit.T
        later = np.arange(len(unit)) > np.arange(start, start + len(cosine))[:, None]
        same = group == group[start : start + step, None]
        for pairs, far in (
            (found[0], np.where(later & same & (cosine > same_object), cosine - same_object, np.inf)),
            (found[1], np.where(later & ~same, same_object - cosine, np.inf)),
        ):
            nearest = np.argpartition(far, min(40 * PAIRS, far.size - 1), axis=None)[: 40 * PAIRS]
            rows, columns = np.unravel_index(nearest, far.shape)
            pairs += [
                Pair(start + int(row), int(column), float(cosine[row, column]))
                for row, column in zip(rows, columns, strict=True)
                if np.isfinite(far[row, column])
            ]

    def choose(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
        chosen: dict[tuple[int, int], Pair] = {}
        for pair in sorted(pairs, key=lambda pair: (abs(pair.cosine - same_object), pair.left, pair.right)):
            chosen.setdefault((int(group[pair.left]), int(group[pair.right])), pair)
        return tuple(chosen.values())[:PAIRS]

    return choose(found[0]), choose(found[1])


def _information(draws: Mapping[tuple[str, str], float]) -> tuple[float, float, float, float]:
    """Entropy of the target in bits, what the source tells of it, and how often source or nothing names it right."""
    targets: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    best: dict[str, float] = {}
    for (source, target), share in draws.items():
        targets[target] += share  # type: ignore[assignment]
        sources[source] += share  # type: ignore[assignment]
        best[source] = max(best.get(source, 0.0), share)
    mutual = sum(
        share * log2(share / (sources[source] * targets[target])) for (source, target), share in draws.items() if share
    )
    entropy = -sum(share * log2(share) for share in targets.values() if share)
    return entropy, mutual, sum(best.values()), max(targets.values())
