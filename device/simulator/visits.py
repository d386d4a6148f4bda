"""The script of a day: who comes to the bin, with what, and how they behave.

items, how many, seed -> script -> Visits in order

A visit is the truth that decisions are measured against. It must never depend on what the bin does: the same seed is
the same day for every model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from device.simulator.items import Items, PackedItem

__all__ = ["Visit", "VisitKind", "script"]

_OTHER_SHARE = 5  # at least one visit in so many is no single item


class VisitKind(StrEnum):
    """What somebody, or nobody, does at the bin."""

    ITEM = "item"
    HAND = "hand"
    LAMP = "lamp"
    TWO = "two"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit, true whatever the bin makes of it.

    Attributes:
        number: its place in the script, from 0.
        kind: what happens.
        items: what is left on the tray: one for an item, two for two, else none.
        seed: of the places, the hand, its ways and its tremble.
        by_hand: whether a hand puts the items down; else they fall in.
        wait_s: empty tray before anything happens.
        enter_s: how long the hand or the items take to come in.
        hold_s: how long the hand stays, or items slide on, or the bin is watched after a lamp was switched.
        leave_s: how long the hand takes to leave.
        patience_s: how long items lie on the tray before a hand takes them out again.
        sticks: so many times a flap opens and the items do not fall.
    """

    number: int
    kind: VisitKind
    items: tuple[PackedItem, ...]
    seed: int
    by_hand: bool
    wait_s: float
    enter_s: float
    hold_s: float
    leave_s: float
    patience_s: float = 6.0
    sticks: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The true materials, one per item; empty where there is none."""
        return tuple(item.label for item in self.items)


_HOLDS: dict[VisitKind, tuple[float, float]] = {
    VisitKind.ITEM: (0.1, 0.5),
    VisitKind.HAND: (0.4, 2.5),
    VisitKind.LAMP: (3.5, 5.0),
    VisitKind.TWO: (0.1, 0.5),
    VisitKind.NOTHING: (1.0, 3.0),
}


def script(items: Items, visits: int, seed: int) -> list[Visit]:
    """Write the script of so many visits.

    From two visits on, at least a fifth are a hand alone, a lamp switched, two items or nothing, as evenly as the
    number allows. Items come in random order, each once before any comes again.

    Args:
        items: the pack to choose from.
        visits: how many, 0 or more.
        seed: 0 or more; the same pack, number and seed give the same script.
    """
    rng = np.random.default_rng([seed, visits, 0x715])
    pack = _shuffled_for_ever(items, rng)
    return [_visit(number, kind, pack, rng) for number, kind in enumerate(_kinds(visits, rng))]


def _kinds(visits: int, rng: np.random.Generator) -> list[VisitKind]:
    others = math.ceil(visits / _OTHER_SHARE) if visits > 1 else 0
    quiet = [VisitKind.HAND, VisitKind.LAMP, VisitKind.TWO, VisitKind.NOTHING]
    order = rng.permutation(len(quiet))
    kinds = [quiet[order[number % len(quiet)]] for number in range(others)] + [VisitKind.ITEM] * (visits - others)
    return [kinds[place] for place in rng.permutation(visits)]


def _shuffled_for_ever(items: Items, rng: np.random.Generator) -> Iterator[PackedItem]:
    while True:
        for place in rng.permutation(len(items)):
            yield items.packed[place]


def _visit(number: int, kind: VisitKind, pack: Iterator[PackedItem], rng: np.random.Generator) -> Visit:
    count = {VisitKind.ITEM: 1, VisitKind.TWO: 2}.get(kind, 0)
    by_hand = kind is VisitKind.HAND or bool(rng.random() < 0.5)
    return Visit(
        number=number,
        kind=kind,
        items=tuple(next(pack) for _ in range(count)),
        seed=int(rng.integers(2**31)),
        by_hand=by_hand,
        wait_s=float(rng.uniform(1.6, 3.2)),
        enter_s=float(rng.uniform(0.4, 0.8) if by_hand else rng.uniform(0.25, 0.5)),
        hold_s=float(rng.uniform(*_HOLDS[kind])),
        leave_s=float(rng.uniform(0.3, 0.6)),
    )
