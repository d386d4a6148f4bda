"""The script of a day."""

from collections import Counter
from math import ceil

import pytest

from device.simulator.drawings import LABELS, draw_item
from device.simulator.items import Items, PackedItem, load_items
from device.simulator.visits import Habits, VisitKind, script

ITEMS = load_items(None, LABELS, seed=1)


def pack(count: int) -> Items:
    return Items(
        "test", [PackedItem(f"{i:03d}", "metal", lambda: draw_item("metal", 0, size_px=32)) for i in range(count)]
    )


def test_the_same_seed_is_the_same_script_and_another_seed_another() -> None:
    assert script(ITEMS, 60, 4) == script(ITEMS, 60, 4)
    assert script(ITEMS, 60, 4) != script(ITEMS, 60, 5)


@pytest.mark.parametrize("visits", [2, 3, 5, 7, 50, 200])
def test_at_least_a_fifth_are_no_single_item_and_no_more_than_needed(visits: int) -> None:
    kinds = Counter(visit.kind for visit in script(ITEMS, visits, 9))

    assert (kinds.total(), kinds[VisitKind.ITEM]) == (visits, visits - ceil(visits / 5))


def test_every_kind_comes_about_equally_often() -> None:
    kinds = Counter(str(visit.kind) for visit in script(ITEMS, 200, 9))

    assert kinds == {"item": 160, "hand": 10, "lamp": 10, "two": 10, "nothing": 10}


def test_people_who_only_throw_things_in_come_as_quickly_as_is_asked():
    habits = Habits(others=0.0, by_hand=0.0, pause_s=0.24)
    visits = script(ITEMS, 50, 9, habits)

    assert {(visit.kind, visit.by_hand) for visit in visits} == {(VisitKind.ITEM, False)}
    assert 0.16 <= min(visit.wait_s for visit in visits) < max(visit.wait_s for visit in visits) <= 0.32


def test_none_and_one_visit_are_possible() -> None:
    assert script(ITEMS, 0, 1) == []
    assert [visit.kind for visit in script(ITEMS, 1, 1)] == [VisitKind.ITEM]


def test_numbers_count_from_zero_and_truth_fits_the_kind() -> None:
    visits = script(ITEMS, 100, 2)
    counts = {VisitKind.ITEM: 1, VisitKind.TWO: 2, VisitKind.HAND: 0, VisitKind.LAMP: 0, VisitKind.NOTHING: 0}

    assert [visit.number for visit in visits] == list(range(100))
    assert [len(visit.items) for visit in visits] == [counts[visit.kind] for visit in visits]
    assert [visit.labels for visit in visits] == [tuple(item.label for item in visit.items) for visit in visits]
    assert {visit.by_hand for visit in visits if visit.kind is VisitKind.HAND} == {True}


def test_each_item_comes_once_before_any_comes_again() -> None:
    names = [item.name for visit in script(pack(10), 40, 3) for item in visit.items][:20]

    assert sorted(names[:10]) == sorted(names[10:]) == [f"{i:03d}" for i in range(10)]
    assert names[:10] != names[10:]


def test_there_is_an_empty_tray_between_visits_and_patience_with_the_bin() -> None:
    visits = script(ITEMS, 100, 2)

    assert min(visit.wait_s for visit in visits) >= 1.5
    assert {(visit.patience_s, visit.sticks) for visit in visits} == {(6.0, 0)}
