"""Split: records and their features -> groups of the same object -> train, tune, val: 70 / 10 / 20 unless told else.

TrashNet photographs some objects several times; a split that ignores it leaks, and its figures lie. Groups are the
connected components of "centred cosine above a limit"; a group is never cut. (Measured on TrashNet with ImageNet
features: above 0.8 112 pairs are the same object in the same scene.)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from device.errors import UsageError
from trainer.dataset import Record

__all__ = ["SHARES", "Fold", "assign_fold", "assign_splits", "group_near_copies", "parse_fold"]

SHARES = {"train": 0.7, "tune": 0.1, "val": 0.2}

F32 = NDArray[np.float32]

Fold = tuple[int, int]
"""Which part of a cross-validation, from 1, and of how many."""

_MOST_FOLDS = 20


def parse_fold(text: str) -> Fold:
    """`2/5`: the second part of five.

    Raises:
        UsageError: it is none.
    """
    number, _, count = text.partition("/")
    if not (
        number.isdecimal() and count.isdecimal() and 2 <= int(count) <= _MOST_FOLDS and 1 <= int(number) <= int(count)
    ):
        raise UsageError(f"--fold {text}: expected a part and how many there are, 2 to {_MOST_FOLDS}; e.g. 1/5")
    return int(number), int(count)


def group_near_copies(features: F32, same_object: float) -> NDArray[np.int64]:
    """Number the groups of near-copies.

    Args:
        features: float32 [N, F], of one pretrained network; centred here.
        same_object: cosine above which two pictures belong together, -1..1; at 1 none do, not even equal ones.

    Returns:
        int64 [N]: the index of each group's first picture.
    """
    if same_object >= 1:  # rounding puts some cosines of equal pictures above 1
        return np.arange(len(features))
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    parent = np.arange(len(unit))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = int(parent[index])
        return index

    step = 1024  # rows at a time: a whole N x N table of 6,000 pictures would be 140 MB
    for start in range(0, len(unit), step):
        close = unit[start : start + step] @ unit.T > same_object
        for row, column in np.argwhere(close):
            left, right = root(start + int(row)), root(int(column))
            parent[max(left, right)] = min(left, right)
    return np.array([root(index) for index in range(len(unit))])


def assign_splits(
    records: Sequence[Record], groups: NDArray[np.int64], seed: int, shares: Mapping[str, float] = SHARES
) -> list[Record]:
    """Give every record its group and a split, close to the shares within each source and target.

    Large groups are placed first, each where the shares of its sources and targets lack most.

    Args:
        shares: split -> share, adding up to 1.
    """
    members: Mapping[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[int(group)].append(index)
    stratum = [(record.source, record.target) for record in records]
    size: dict[tuple[str, str], int] = defaultdict(int)
    for key in stratum:
        size[key] += 1
    placed: dict[tuple[tuple[str, str], str], int] = defaultdict(int)
    shuffled = list(members)
    np.random.default_rng(seed).shuffle(shuffled)
    done: list[Record] = list(records)
    for group in sorted(shuffled, key=lambda g: -len(members[g])):  # stable: the shuffle breaks ties

        def lack(split: str, group: int = group) -> float:
            return sum(shares[split] - (placed[stratum[i], split] + 0.5) / size[stratum[i]] for i in members[group]) / (
                shares[split] * len(members[group])
            )

        split = max(shares, key=lack)
        for index in members[group]:
            placed[stratum[index], split] += 1
            done[index] = replace(records[index], group=group, split=split)
    return done


def assign_fold(
    records: Sequence[Record],
    groups: NDArray[np.int64],
    seed: int,
    fold: Fold,
    shares: Mapping[str, float] = SHARES,
) -> list[Record]:
    """Cross-validation: *val* is one of several equal parts, what is left is *train* and *tune* as the shares say.

    With the same seed the parts are the same for every fold, so that each picture is in *val* once.
    """
    number, count = fold
    parts = assign_splits(records, groups, seed, {str(part): 1 / count for part in range(1, count + 1)})
    rest = np.array([index for index, record in enumerate(parts) if record.split != str(number)])
    done = [replace(record, split="val") for record in parts]
    left = shares["train"] + shares["tune"]
    both = {split: shares[split] / left for split in ("train", "tune")}
    for index, record in zip(rest, assign_splits([parts[i] for i in rest], groups[rest], seed, both), strict=True):
        done[index] = record
    return done
