"""Hands, lids and beams: nothing moves while somebody is about, every interruption and landing is recorded."""

from dataclasses import replace

import pytest
from bin_fakes import Bench, ScriptedSensors, prediction, view

from device.events import Event
from device.sensors import Readings

GLASS = prediction("glass")
OPEN = [("Glass", 2000.0), ("Glass", None)]
SHUT = [("Glass", 1000.0), ("Glass", None)]
OUTCOMES = ("taken_out", "replaced", "jam", "given_up")


def still(count: int) -> list[str]:
    return ["item"] * count


def outcomes(bench: Bench) -> int:
    counts = bench.log.counts
    return sum(n for name, n in counts.items() if name in OUTCOMES or name.startswith("sorted:"))


def test_a_hand_stops_a_flap_on_its_way_and_nothing_moves_until_it_has_gone():
    bench = Bench([*still(2), "hand", "hand", "blocked", "moving", "item", "item", "item", "empty"], GLASS)
    # Opened on the second frame; the third, an eighth later, shows a hand.
    assert bench.steps(2) == ["voting", "moving"]
    bench.now_s -= 0.0625  # in the middle of the stroke
    # Two frames of the hand, one of it at rest, and one in which something still moves.
    assert bench.steps(4) == ["waiting_clear"] * 4
    assert bench.moved() == OPEN
    status = [bench.step() for _ in range(12)]
    # Closed as soon as the view is clear, then opened for the same item in the same place, then closed.
    assert bench.moved() == [*OPEN, *SHUT, *OPEN, *SHUT]
    assert [(e.kind, e.about) for e in bench.log.events] == [("decision", None), ("hand", 1)]
    assert bench.log.counts == {"interrupted": 1, "sorted:Glass": 1}
    assert (outcomes(bench), status[-1].hand) == (1, False)


def test_a_move_that_a_hand_stopped_is_no_try_of_a_jam():
    bench = Bench([*still(2), "hand", "item"], GLASS)
    bench.steps(2)
    bench.now_s -= 0.0625
    bench.steps(30)
    assert bench.log.kinds() == ["decision", "hand", "alarm"]
    assert [value for output, value in bench.moved() if (output, value) == OPEN[0]] == [2000.0] * 3
    assert bench.log.counts == {"interrupted": 1, "retry": 1, "jam": 1}


def test_an_item_that_is_gone_when_the_hand_has_gone_was_taken_out():
    bench = Bench([*still(2), "hand", "moving", "empty"], GLASS)
    bench.steps(2)
    bench.now_s -= 0.0625
    bench.steps(8)
    assert bench.moved() == [*OPEN, *SHUT]
    assert bench.log.counts == {"interrupted": 1, "taken_out": 1}


def test_a_hand_keeps_an_open_flap_open_and_stops_one_that_closes():
    bench = Bench([*still(2), "empty"], GLASS)
    bench.steps(4)
    assert bench.moved() == [*OPEN, SHUT[0]]
    bench.now_s -= 0.0625  # in the middle of the stroke
    bench.gate.views = [view("hand")]
    bench.steps(6)
    assert bench.moved() == [*OPEN, *SHUT]  # stopped: nobody knows where
    bench.gate.views = [view("empty")]
    bench.steps(6)
    assert bench.moved() == [*OPEN, *SHUT, *SHUT]
    assert bench.engine.drive.phase == "parked"
    assert bench.log.counts == {"sorted:Glass": 1}


@pytest.mark.parametrize("word", ["hand", "blocked"])
def test_not_even_parking_moves_a_flap_while_a_hand_was_seen_last(word: str):
    bench = Bench([*still(2), "moving", "moving", word], GLASS)
    bench.steps(6)
    assert bench.moved() == OPEN
    bench.engine.hold(bench.now_s)
    for eighths in range(1, 20):
        bench.engine.rest(bench.now_s + eighths / 8)
    assert bench.moved() == OPEN
    assert bench.log.counts == {"given_up": 1}


def test_while_the_lid_is_open_nothing_is_decided_and_nothing_moves():
    sensors = ScriptedSensors()
    bench = Bench(["item"], GLASS, sensors=sensors)
    sensors.next = Readings(lid_open=True)
    assert bench.steps(20) == ["held"] * 20
    assert (bench.moved(), bench.step().lid_open) == ([], True)
    assert [(e.kind, e.detail) for e in bench.log.events] == [
        ("hand", "the lid is open; nothing moves until it is shut")
    ]
    sensors.next = Readings()
    assert bench.steps(2) == ["voting", "moving"]
    assert bench.log.counts == {"lid_opened": 1}


def test_a_lid_that_is_opened_stops_a_flap_on_its_way_and_a_shut_one_lets_it_close():
    sensors = ScriptedSensors()
    bench = Bench(["item"], GLASS, sensors=sensors)
    bench.steps(2)
    sensors.next = Readings(lid_open=True)
    bench.now_s -= 0.0625
    assert bench.steps(8) == ["held"] * 8
    assert bench.moved() == OPEN
    bench.engine.hold(bench.now_s)
    bench.engine.rest(bench.now_s + 5)
    assert bench.moved() == OPEN  # not even parking
    sensors.next = Readings()
    bench.now_s += 5
    bench.gate.views = [view("empty")]
    bench.steps(4)
    assert bench.moved() == [*OPEN, *SHUT]
    assert bench.log.kinds() == ["decision", "hand", "hand"]


def test_an_opened_lid_starts_the_vote_over():
    sensors = ScriptedSensors()
    bench = Bench(["item"], GLASS, sensors=sensors)
    bench.steps(1)
    sensors.next = Readings(lid_open=True)
    bench.steps(1)
    sensors.next = Readings()
    assert bench.steps(2) == ["voting", "moving"]
    assert bench.log.counts == {"lid_opened": 1, "vote_restarted": 1}


def landed(bench: Bench) -> list[Event]:
    return [replace(event, mono_s=None) for event in bench.log.events if event.kind == "landed"]


def sort_one(fell: tuple[str, ...]) -> Bench:
    sensors = ScriptedSensors()
    bench = Bench([*still(3), "empty"], GLASS, sensors=sensors)
    bench.steps(3)
    sensors.next = Readings(fell=fell)
    bench.steps(5)
    return bench


def test_a_landing_is_recorded_once_however_many_pieces_fall():
    bench = sort_one(("Glass", "Glass"))
    assert landed(bench) == [Event("landed", label="glass", bin="Glass", about=1)]
    assert bench.log.counts == {"landed": 1, "sorted:Glass": 1}


def test_a_landing_in_another_bin_is_noticed():
    bench = sort_one(("Paper",))
    assert landed(bench) == [Event("landed", "fell into Paper, was sent to Glass", label="glass", bin="Paper", about=1)]
    assert bench.log.counts == {"landed_elsewhere": 1, "sorted:Glass": 1}


def test_what_falls_long_after_a_flap_moved_or_before_any_did_is_nobodys_landing():
    sensors = ScriptedSensors()
    bench = Bench([*still(3), "empty"], GLASS, sensors=sensors)
    sensors.next = Readings(fell=("Glass",))
    bench.steps(30)
    sensors.next = Readings(fell=("Glass",))
    bench.steps(1)
    assert (landed(bench), bench.log.counts) == ([], {"fell_unasked": 2, "sorted:Glass": 1})


def test_the_wrong_button_marks_the_last_item_once():
    sensors = ScriptedSensors()
    bench = Bench([*still(3), "empty"], GLASS, sensors=sensors)
    sensors.next = Readings(wrong=True)
    bench.steps(1)
    assert bench.log.events == []  # there is none yet
    bench.steps(8)
    for _ in range(2):
        sensors.next = Readings(wrong=True)
        bench.steps(1)
    marked = bench.log.events[1:]
    assert [(e.kind, e.about, e.detail) for e in marked] == [("wrong", 1, "somebody says that decision 1 was wrong")]
    assert bench.log.counts == {"sorted:Glass": 1, "wrong": 1}


def test_a_full_bin_is_said_once_by_event_lamp_and_status_and_sorting_goes_on():
    sensors = ScriptedSensors()
    bench = Bench(["empty"], GLASS, sensors=sensors)
    sensors.next = Readings(full=("Paper",))
    lit = [bench.step().outputs["alarm"] for _ in range(48)]
    # A flash of a quarter of a second, every three: not the blinking of a jam.
    assert lit == [1.0, 1.0, *[0.0] * 22] * 2
    assert [(e.kind, e.bin, e.detail) for e in bench.log.events] == [
        ("alarm", "Paper", "the bin Paper is full; empty it")
    ]
    assert bench.step().full == ("Paper",)
    bench.gate.views = [view(each) for each in (*still(3), "empty")]
    bench.steps(8)
    assert bench.log.counts == {"sorted:Glass": 1}
    sensors.next = Readings()
    assert bench.step().outputs["alarm"] == 0.0


def test_a_jam_is_said_by_status_and_lamp_also_while_a_bin_is_full():
    sensors = ScriptedSensors()
    bench = Bench(["item"], GLASS, sensors=sensors)
    sensors.next = Readings(full=("Paper",))
    bench.steps(20)
    status = bench.step()
    assert (status.state, status.jam) == (
        "alarm", "item still in the tray after 2 moves to Glass; take it out by hand"
    )  # fmt: skip
    lit = [bench.step().outputs["alarm"] for _ in range(16)]
    assert sum(value or 0.0 for value in lit) == 8
    bench.gate.views = [view("empty")]
    assert bench.step().jam is None
    assert bench.log.counts == {"jam": 1, "retry": 1}
