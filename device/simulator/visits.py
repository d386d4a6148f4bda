"""The script of a day: who comes to the bin, with what, and how they behave.

items, how many, seed -> script -> Visits in order

A visit is the truth that decisions are measured against. It must never depend on what the bin does: the same seed is
the same day for every model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from device.simulator.items import Items, PackedItem

__all__ = ["ORDINARY", "Habits", "Reach", "Visit", "VisitKind", "script"]


class VisitKind(StrEnum):
    """What somebody, or nobody, does at the bin."""

    ITEM = "item"
    HAND = "hand"
    LAMP = "lamp"
    TWO = "two"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Habits:
    """What people do; shares of visits, 0..1, but for the pause.

    Attributes:
        hands: a hand comes in at a moment of its own: while something lies there, falls, or a flap moves.
        jams: of visits with items, those that stick when the flap opens, half of them once and half for good.
        lids: the lid is opened for some seconds, at any moment too.
        others: are no single item but, in equal shares, a hand alone, a lamp switched, two items or nothing.
        by_hand: of visits with items, those in which a hand lays them down.
        pause_s: of empty tray before each visit, a third more or less.
    """

    hands: float = 0.0
    jams: float = 0.0
    lids: float = 0.0
    others: float = 0.2
    by_hand: float = 0.5
    pause_s: float = 2.4


ORDINARY: Final = Habits()
"""People who do nothing that they should not."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A hand that comes in for no good reason; seconds since the visit began, and how long it comes, stays and goes."""

    start_s: float
    enter_s: float
    hold_s: float
    leave_s: float


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
        reach: a hand that comes in besides; None for none.
        lid_open_s: from when to when the lid is open; None for never.
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
    reach: Reach | None = None
    lid_open_s: tuple[float, float] | None = None

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


def script(items: Items, visits: int, seed: int, habits: Habits = ORDINARY) -> list[Visit]:
    """Write the script of so many visits.

    From two visits on, at least the share `others` are a hand alone, a lamp switched, two items or nothing, as evenly
    as the number allows. Items come in random order, each once before any comes again.

    Args:
        items: the pack to choose from.
        visits: how many, 0 or more.
        seed: 0 or more; the same pack, number and seed give the same script.
        habits: what people do; hands, jams and lids change nothing else of the script.
    """
    rng = np.random.default_rng([seed, visits, 0x715])
    pack = _shuffled_for_ever(items, rng)
    day = [_visit(number, kind, pack, habits, rng) for number, kind in enumerate(_kinds(visits, habits.others, rng))]
    rng = np.random.default_rng([seed, visits, 0xBAD])
    return [_with_habits(visit, habits, rng) for visit in day]


def _with_habits(visit: Visit, habits: Habits, rng: np.random.Generator) -> Visit:
    reaches, jams, opens = rng.random(3) < (habits.hands, habits.jams if visit.items else 0.0, habits.lids)
    # From before anything comes until well after the flap has closed.
    over_s = visit.wait_s + visit.enter_s + visit.hold_s + visit.leave_s + (4.0 if visit.items else 0.0)
    if jams:
        visit = replace(visit, sticks=1 if rng.random() < 0.5 else 9)
    if reaches:
        times = (rng.uniform(0.0, over_s), rng.uniform(0.2, 0.6), rng.uniform(0.1, 1.5), rng.uniform(0.2, 0.6))
        visit = replace(visit, reach=Reach(*map(float, times)))
    if opens:
        start_s = float(rng.uniform(0.0, over_s))
        visit = replace(visit, lid_open_s=(start_s, start_s + float(rng.uniform(0.5, 3.0))))
    return visit


def _kinds(visits: int, share: float, rng: np.random.Generator) -> list[VisitKind]:
    # 0.2 x 15 is a little more than 3.
    others = math.ceil(round(visits * share, 6)) if visits > 1 else 0
    quiet = [VisitKind.HAND, VisitKind.LAMP, VisitKind.TWO, VisitKind.NOTHING]
    order = rng.permutation(len(quiet))
    kinds = [quiet[order[number % len(quiet)]] for number in range(others)] + [VisitKind.ITEM] * (visits - others)
    return [kinds[place] for place in rng.permutation(visits)]


def _shuffled_for_ever(items: Items, rng: np.random.Generator) -> Iterator[PackedItem]:
    while True:
        for place in rng.permutation(len(items)):
            yield items.packed[place]


def _visit(number: int, kind: VisitKind, pack: Iterator[PackedItem], habits: Habits, rng: np.random.Generator) -> Visit:
    count = {VisitKind.ITEM: 1, VisitKind.TWO: 2}.get(kind, 0)
    by_hand = kind is VisitKind.HAND or bool(rng.random() < habits.by_hand)
    return Visit(
        number=number,
        kind=kind,
        items=tuple(next(pack) for _ in range(count)),
        seed=int(rng.integers(2**31)),
        by_hand=by_hand,
        wait_s=habits.pause_s / 2.4 * float(rng.uniform(1.6, 3.2)),
        enter_s=float(rng.uniform(0.4, 0.8) if by_hand else rng.uniform(0.25, 0.5)),
        hold_s=float(rng.uniform(*_HOLDS[kind])),
        leave_s=float(rng.uniform(0.3, 0.6)),
    )
