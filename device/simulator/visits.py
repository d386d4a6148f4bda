"""The script of a day: who comes to the bin, with what, and how they behave.

items, how many, seed -> script -> Visits in order

A visit is the truth that decisions are measured against. It must never depend on what the bin does: the same seed is
the same day for every model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from device.simulator.items import Items, PackedItem

__all__ = ["Habits", "Reach", "Visit", "VisitKind", "script"]

_OTHER_SHARE = 5  # at least one visit in so many is no single item


class VisitKind(StrEnum):
    """What somebody, or nobody, does at the bin."""

    ITEM = "item"
    HAND = "hand"
    LAMP = "lamp"
    TWO = "two"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Habits:
    """How often people do what they should not; shares of visits, 0..1, one drawn without regard to the others.

    Attributes:
        reach: a hand comes in at a moment of its own: while something lies there, falls, or a flap moves.
        jam: of visits with items, those that stick when the flap opens, half of them once and half for good.
        lid: the lid is opened for some seconds, at any moment too.
    """

    reach: float = 0.0
    jam: float = 0.0
    lid: float = 0.0


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


def script(items: Items, visits: int, seed: int, habits: Habits | None = None) -> list[Visit]:
    """Write the script of so many visits.

    From two visits on, at least a fifth are a hand alone, a lamp switched, two items or nothing, as evenly as the
    number allows. Items come in random order, each once before any comes again.

    Args:
        items: the pack to choose from.
        visits: how many, 0 or more.
        seed: 0 or more; the same pack, number and seed give the same script.
        habits: what people do besides; changes nothing else of the script.
    """
    rng = np.random.default_rng([seed, visits, 0x715])
    pack = _shuffled_for_ever(items, rng)
    day = [_visit(number, kind, pack, rng) for number, kind in enumerate(_kinds(visits, rng))]
    if habits is None:
        return day
    rng = np.random.default_rng([seed, visits, 0xBAD])
    return [_with_habits(visit, habits, rng) for visit in day]


def _with_habits(visit: Visit, habits: Habits, rng: np.random.Generator) -> Visit:
    reaches, jams, opens = rng.random(3) < (habits.reach, habits.jam if visit.items else 0.0, habits.lid)
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
