"""A simulated day: how it counts, that it repeats, and that it believes the pins and not the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
from bin_fakes import SITE, model, prediction
from bundles import make_bundle

from device.config import load_config
from device.drive import Driven
from device.errors import ItemsError, WastebinError
from device.model import Model
from device.outputs import DiverterOutputs, FlapOutputs, LedOutputs, PinnedLed, PinnedServo
from device.simulate import Ledger, Tally, check_moves, opened_bins, simulate
from device.simulator.items import PackedItem, load_items
from device.simulator.visits import ORDINARY, Habits, Visit, VisitKind, script
from device.status import Decided

LABELS = ("glass", "paper", "trash")


def visit(number: int, *labels: str, kind: VisitKind = VisitKind.ITEM) -> Visit:
    items = tuple(PackedItem(f"{label}/{number}", label, lambda: pytest.fail("read")) for label in labels)
    return Visit(number, kind, items, number, False, 1.0, 0.3, 0.3, 0.3)


def decided(label: str, bin_name: str, *, event: int = 1, ms: float = 100.0, at_s: float = 0.0) -> Decided:
    return Decided(event, label, 0.9, {}, True, bin_name, 3, ms, at_s)


def keep(day: list[Visit], *entries: tuple[int | None, str, str, bool]) -> Tally:
    """Book decisions (visit, label, bin, lies), each followed by its flap."""
    ledger = Ledger(SITE, LABELS)
    for number, label, bin_name, lies in entries:
        at = None if number is None else day[number]
        ledger.decided(at, decided(label, bin_name), lies=lies)
        ledger.opened(at, bin_name, falls=lies)
    return ledger.tally(day)


def test_counts_a_day_by_hand():
    day = [
        visit(0, "glass"),  # right
        visit(1, "paper"),  # taken for glass: spoils Glass
        visit(2, "glass"),  # not sure: Rest
        visit(3, "paper"),  # missed
        visit(4, "batteries"),  # outside the labels: trash, and named so
        visit(5, kind=VisitKind.HAND),  # a false trigger
        visit(6, "glass", "paper", kind=VisitKind.TWO),  # one of the pair spoils Glass
        visit(7, kind=VisitKind.NOTHING),
    ]
    assert keep(
        day,
        (0, "glass", "Glass", True),
        (1, "glass", "Glass", True),
        (2, "glass", "Rest", True),
        (4, "trash", "Rest", True),
        (5, "paper", "Paper", False),
        (6, "glass", "Glass", True),
    ) == Tally(
        visits=8,
        items=5,
        decided=4,
        right=pytest.approx(3 / 5),
        contamination=pytest.approx(2 / 4),
        diversion=pytest.approx(1 / 4),
        missed=1,
        false_triggers=1,
        decision_ms={"p50": 100.0, "p95": 100.0},
    )


def test_a_second_decision_on_one_item_and_one_without_an_item_are_false_triggers():
    day = [visit(0, "glass")]
    tally = keep(day, (0, "glass", "Glass", True), (0, "paper", "Paper", True), (None, "paper", "Paper", False))
    assert (tally.decided, tally.right, tally.false_triggers) == (1, 1.0, 2)


def test_what_does_not_lie_there_does_not_fall():
    tally = keep([visit(0, "glass")], (0, "glass", "Glass", False))
    assert (tally.decided, tally.missed, tally.diversion, tally.contamination) == (0, 1, 0.0, None)


def test_an_empty_day_has_no_shares():
    assert keep([visit(0, kind=VisitKind.LAMP)]).fields() == {
        "visits": 1,
        "items": 0,
        "decided": 0,
        "right": None,
        "contamination": None,
        "diversion": None,
        "missed": 0,
        "false_triggers": 0,
        "decision_ms": {"p50": None, "p95": None},
    }


# ---------------------------------------------------------------------------------------------- the pins' word

FLAPS = FlapOutputs(
    (PinnedServo("Glass", 5, 1000), PinnedServo("Paper", 6, 2000)), {"Glass": 2000, "Paper": 1000}, alarm_pin_bcm=21
)
DIVERTER = DiverterOutputs(
    PinnedServo("pan", 5, 1500), PinnedServo("tilt", 6, 1500), {"Glass": (1000, 1900), "Paper": (1500, 1100)}
)


def test_reads_opened_flaps_from_the_trace():
    trace = [
        Driven(0.0, "Glass", 1000.0),
        Driven(1.0, "Glass", 2000.0),
        Driven(1.5, "Glass", None),
        Driven(2.0, "alarm", 1.0),
        Driven(3.0, "Paper", 1000.0),
        Driven(4.0, "Paper", 2000.0),
    ]
    assert opened_bins(trace, FLAPS) == [(1.0, "Glass"), (3.0, "Paper")]


def test_reads_lit_lamps_from_the_trace():
    leds = LedOutputs((PinnedLed("Glass", 5),), alarm_pin_bcm=21)
    assert opened_bins([Driven(1.0, "Glass", 1.0), Driven(2.0, "Glass", 0.0)], leds) == [(1.0, "Glass")]


def test_reads_the_diverters_pair_from_the_trace_even_where_pan_stays():
    trace = [
        Driven(0.0, "tilt", 1500.0),
        Driven(0.5, "pan", 1500.0),
        Driven(1.0, "tilt", 1100.0),
        Driven(2.0, "tilt", 1500.0),
        Driven(3.0, "pan", 1000.0),
        Driven(4.0, "tilt", 1900.0),
    ]
    assert opened_bins(trace, DIVERTER) == [(1.0, "Paper"), (4.0, "Glass")]


def test_refuses_a_tilt_that_belongs_to_no_bin():
    with pytest.raises(WastebinError, match=r"tilted at pan 1000\.0"):
        opened_bins([Driven(3.0, "pan", 1000.0), Driven(4.0, "tilt", 1100.0)], DIVERTER)


MADE = [decided("glass", "Glass", event=1, at_s=1.0), decided("paper", "Paper", event=2, at_s=9.0)]


@pytest.mark.parametrize(
    ("opened", "unmoved"),
    [
        ([(1.0, "Glass"), (9.0, "Paper")], 0),
        ([(1.0, "Glass"), (4.0, "Glass"), (9.0, "Paper")], 0),
        ([(1.0, "Glass")], 1),
    ],
)
def test_accepts_moves_that_are_the_decided_ones(opened: list[tuple[float, str]], unmoved: int):
    check_moves(MADE, opened, unmoved=unmoved)


def test_a_movement_that_was_stopped_may_begin_once_more():
    thrice = [(1.0, "Glass"), (2.0, "Glass"), (3.0, "Glass"), (9.0, "Paper")]
    check_moves(MADE, thrice, unmoved=0, interrupted=1)
    check_moves(MADE, thrice, unmoved=1, interrupted=1)  # stopped, and then taken out
    with pytest.raises(WastebinError, match="decision 1"):
        check_moves(MADE, thrice, unmoved=0)


@pytest.mark.parametrize(
    ("opened", "unmoved", "says"),
    [
        ([(0.5, "Glass"), (1.0, "Glass"), (9.0, "Paper")], 0, "before any decision"),
        ([(1.0, "Paper"), (9.0, "Paper")], 0, r"decision 1 was for 'Glass', but \['Paper'\] moved"),
        ([(1.0, "Glass"), (9.0, "Paper"), (9.5, "Glass")], 0, "decision 2"),
        ([(1.0, "Glass")] * 3, 1, "decision 1"),
        ([(1.0, "Glass")], 0, "1 decisions moved nothing, expected 0"),
    ],
)
def test_refuses_any_other_move(opened: list[tuple[float, str]], unmoved: int, says: str):
    with pytest.raises(WastebinError, match=says):
        check_moves(MADE, opened, unmoved=unmoved)


# ------------------------------------------------------------------------------------------------ whole days


def one_day(
    tmp_path: Path,
    says: list[dict[str, object]],
    visits: int,
    a_model: Model | None = None,
    habits: Habits = ORDINARY,
) -> Tally:
    config = load_config(None, environ={"HOME": str(tmp_path)})
    small = replace(config, camera=replace(config.camera, size_px=(320, 240), rate_hz=10.0))
    path = tmp_path / "bundle"
    if a_model is None and not path.exists():
        make_bundle(path)
    return simulate(
        small, items=None, visits=visits, seed=4, model_path=path, say=says.append, model=a_model, habits=habits
    )


def test_the_same_seed_is_the_same_day_but_for_the_milliseconds(tmp_path: Path):
    def timeless(fields: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in fields.items() if key != "decision_ms"}

    first: list[dict[str, object]] = []
    second: list[dict[str, object]] = []
    tally = one_day(tmp_path, first, 2)
    again = one_day(tmp_path, second, 2)
    assert timeless(tally.fields()) == timeless(again.fields())
    assert [timeless(line) for line in first] == [timeless(line) for line in second]
    assert first


def test_says_each_decision_with_its_truth(tmp_path: Path):
    says: list[dict[str, object]] = []
    tally = one_day(tmp_path, says, 3, model(prediction("glass")))
    assert (tally.visits, tally.items, tally.decided, tally.missed, tally.false_triggers) == (3, 2, 2, 0, 0)
    of_items = [line for line in says if line["truth"] is not None]
    assert [(line["label"], line["bin"], line["accepted"]) for line in of_items] == [("glass", "Glass", True)] * 2
    assert tally.right == pytest.approx(sum(line["truth"] == "glass" for line in of_items) / 2, abs=1e-6)
    assert list(says[0]) == [
        *("visit", "kind", "truth", "item", "event", "label", "prob", "probs"),
        *("accepted", "reason", "familiarity", "bin", "frames", "decision_ms"),
    ]


def test_what_sticks_for_good_is_taken_out_again_and_was_in_no_bin(tmp_path: Path):
    habits = Habits(jams=1.0, others=0.0)
    day = script(load_items(None, LABELS, 4), 6, 4, habits)
    assert {visit.sticks for visit in day} == {1, 9}
    fell = [visit.labels[0] for visit in day if visit.sticks == 1]  # at the second try

    tally = one_day(tmp_path, [], 6, model(prediction("glass")), habits)

    assert (tally.items, tally.decided, tally.false_triggers) == (6, 6, 0)
    assert tally.contamination == pytest.approx(1 - fell.count("glass") / len(fell), abs=1e-6)


def test_hands_that_stop_a_flap_are_no_bug_of_the_bin(tmp_path: Path):
    tally = one_day(tmp_path, [], 6, model(prediction("glass")), Habits(hands=1.0, others=0.0, by_hand=0.0))
    assert (tally.items, tally.false_triggers) == (6, 0)


def test_refuses_items_that_are_none(tmp_path: Path):
    config = load_config(None, environ={"HOME": str(tmp_path)})
    (tmp_path / "items" / "glass").mkdir(parents=True)
    with pytest.raises(ItemsError, match="empty class folder"):
        simulate(config, items=tmp_path / "items", visits=1, seed=0, model=model(prediction("glass")))
