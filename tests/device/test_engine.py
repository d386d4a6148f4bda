"""The engine's life with scripted eyes and real (mock) pins; its clock is the frames'."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from bin_fakes import BOX, SITE, Bench, model, prediction, view

from device.engine import Engine
from device.errors import BundleMismatch, BundleNotFound
from device.events import Event
from device.route import Bin, Costs

GLASS_MOVES = [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]
GLASS = prediction("glass")


def still(count: int) -> list[str]:
    return ["item"] * count


def test_goes_from_watching_through_one_move_back_to_watching():
    bench = Bench(["empty", *still(4), "empty"], GLASS)
    assert bench.steps(8) == ["watching", "voting", *["moving"] * 3, "checking", "watching", "watching"]
    assert bench.moved() == GLASS_MOVES


def test_records_a_decision_as_exactly_one_event_with_all_it_knows():
    bench = Bench(["empty", *still(4), "empty"], GLASS)
    decided = [status.decided for status in (bench.step() for _ in range(10)) if status.decided]
    assert len(decided) == 1
    probs = {"glass": pytest.approx(0.99933, abs=1e-4), "paper": pytest.approx(0.00033, abs=1e-4)}
    assert bench.log.events == [
        Event(
            "decision",
            label="glass",
            prob=pytest.approx(0.99933, abs=1e-4),
            probs={**probs, "trash": probs["paper"]},
            accepted=True,
            bin="Glass",
            frames=2,
            decision_ms=pytest.approx(130.0),
            model_version="1-abc",
            mono_s=decided[0].at_s,
        )
    ]
    assert (decided[0].event, decided[0].bin, decided[0].decision_ms) == (1, "Glass", pytest.approx(130.0))
    assert bench.log.counts == {"sorted:Glass": 1}


def test_sends_what_it_is_not_sure_of_to_the_residual_bin_after_the_last_frame():
    bench = Bench(["empty", *still(6), "empty"], prediction("glass", logit=0.3))
    bench.steps(12)
    assert [(e.label, e.accepted, e.detail, e.bin, e.frames) for e in bench.log.events] == [
        ("glass", False, "unsure", "Rest", 3)
    ]
    assert bench.moved() == [("Rest", 1800.0), ("Rest", None), ("Rest", 1000.0), ("Rest", None)]


def test_sends_what_is_strange_to_the_residual_bin_however_sure_the_softmax_sounds():
    bench = Bench(["empty", *still(6), "empty"], prediction("glass", familiarity=0.1))
    decided = [status.decided for status in (bench.step() for _ in range(12)) if status.decided]
    assert [(e.label, e.accepted, e.detail, e.bin, e.frames) for e in bench.log.events] == [
        ("glass", False, "strange", "Rest", 3)
    ]
    assert [(each.reason, each.familiarity) for each in decided] == [("strange", pytest.approx(0.1))]
    assert bench.moved() == [("Rest", 1800.0), ("Rest", None), ("Rest", 1000.0), ("Rest", None)]


def test_looks_longer_where_contamination_costs_more():
    # Glass after one frame, two, three: 0.79, 0.88, 0.91; a site where it costs nine times a miss asks for 0.9.
    for cost, frames in ((4.0, 2), (9.0, 3)):
        bench = Bench([*still(4), "empty"], prediction("glass", logit=2.0), site=replace(SITE, costs=Costs(cost, 1.0)))
        bench.steps(8)
        assert [(e.label, e.accepted, e.bin, e.frames) for e in bench.log.events] == [("glass", True, "Glass", frames)]


def test_mistakes_cost_what_the_model_in_use_proposes_also_after_a_change():
    bench = Bench([*still(4), *["empty"] * 6, *still(4), "empty"], prediction("glass", logit=2.0))
    dear = replace(bench.engine.model, costs=Costs(9.0, 1.0))
    bench.engine = Engine(
        bench.gate, bench.engine.model, SITE, bench.open_drive(), bench.log, costs_with=lambda model: model.costs
    )
    bench.steps(6)
    bench.engine.put_back(dear)
    bench.steps(14)
    frames = [event.frames for event in bench.log.events if event.kind == "decision"]
    assert frames == [2, 3]


def test_is_sure_of_a_bin_that_takes_both_materials_it_wavers_between():
    both = (Bin("Glass", frozenset({"glass", "paper"})), Bin("Paper", frozenset()), Bin("Rest", frozenset(), True))
    seen = replace(prediction("glass"), logits=np.array([4.0, 3.9, 0.0], np.float32))
    for bins, expected in ((SITE.bins, (False, "Rest", 3)), (both, (True, "Glass", 2))):
        bench = Bench([*still(4), "empty"], seen, site=replace(SITE, bins=bins))
        bench.steps(8)
        assert [(e.label, e.accepted, e.bin, e.frames) for e in bench.log.events] == [("glass", *expected)]


def test_starts_the_vote_over_when_the_item_moves():
    bench = Bench(["item", "moving", "item", "item", "empty"], prediction("paper"), GLASS)
    assert bench.steps(4) == ["voting", "watching", "voting", "moving"]
    assert [(e.label, e.frames) for e in bench.log.events] == [("glass", 2)]
    assert bench.log.counts == {"vote_restarted": 1}


def test_starts_the_vote_over_when_another_item_lies_elsewhere():
    elsewhere = view("item", (300, 100, 80, 60))
    bench = Bench(["item", elsewhere, elsewhere, "empty"], prediction("paper"), GLASS)
    assert bench.steps(3) == ["voting", "voting", "moving"]
    assert [(e.label, e.frames) for e in bench.log.events] == [("glass", 2)]


def test_a_box_that_trembles_is_the_same_item():
    trembling = view("item", (103, 98, 78, 63))
    bench = Bench(["item", trembling, "empty"], GLASS)
    assert bench.steps(2) == ["voting", "moving"]


@pytest.mark.parametrize("word", ["moving", "blocked", "learning"])
def test_no_servo_starts_while_something_moves_in_view(word: str):
    bench = Bench([*still(2), word], GLASS)
    bench.steps(20)
    # Opened on the still item; the way back waits for ever, and says so.
    assert bench.moved() == [("Glass", 2000.0), ("Glass", None)]
    assert bench.engine.drive.waited_s > 1.0


def test_tries_the_same_bin_once_more_when_the_item_is_still_there():
    bench = Bench([*still(7), "empty"], GLASS)
    move = [*["moving"] * 3, "checking"]
    assert bench.steps(11) == ["voting", *move, *move, "watching", "watching"]
    assert bench.moved() == GLASS_MOVES * 2
    assert bench.log.kinds() == ["decision"]
    assert bench.log.counts == {"retry": 1, "sorted:Glass": 1}


def test_alarms_after_the_retry_and_waits_until_the_tray_is_empty():
    bench = Bench(still(1), GLASS)
    bench.steps(14)
    assert bench.steps(6)[-1] == "alarm"
    bench.gate.views = [view("blocked"), view("item"), view("moving"), view("empty")]
    assert bench.steps(5) == ["alarm", "alarm", "alarm", "watching", "watching"]
    assert bench.moved()[:8] == GLASS_MOVES * 2
    assert {output for output, _ in bench.moved()[8:]} == {"alarm"}
    assert bench.moved()[8] == ("alarm", 1.0)
    assert bench.moved()[-1] == ("alarm", 0.0)
    assert bench.log.kinds() == ["decision", "alarm"]
    assert bench.log.events[1].detail == "item still in the tray after 2 moves to Glass; take it out by hand"
    assert bench.log.counts == {"retry": 1, "jam": 1}


def jam() -> Bench:
    bench = Bench(still(1), GLASS)
    assert bench.steps(20)[-1] == "alarm"
    return bench


def test_learns_the_tray_anew_when_somebody_was_there_and_left_it_as_it_is():
    bench = jam()
    bench.gate.views = [view("blocked"), *[view("item")] * 80, view("learning"), view("empty")]
    assert bench.steps(80) == ["alarm"] * 80
    assert bench.gate.relearnt == 0
    assert bench.steps(3) == ["watching", "learning", "watching"]
    assert bench.gate.relearnt == 1
    assert bench.log.kinds() == ["decision", "alarm", "alarm"]


def test_people_who_come_and_go_all_day_do_not_keep_it_from_learning_the_tray_anew():
    bench = jam()
    bench.gate.views = [*[view("blocked"), *[view("item")] * 20] * 4, view("item"), view("item"), view("empty")]
    assert bench.steps(83) == ["alarm"] * 83
    assert bench.gate.relearnt == 0
    bench.steps(3)
    assert bench.gate.relearnt == 1


def test_waits_for_ever_with_an_alarm_that_nobody_attends():
    bench = jam()
    bench.gate.views = [view("learning"), view("item")]
    assert bench.steps(200) == ["alarm"] * 200
    assert bench.gate.relearnt == 0


def test_an_item_that_comes_after_the_tray_was_seen_empty_gets_a_vote_of_its_own():
    bench = Bench([*still(3), "empty", "moving", "item"], GLASS, GLASS, prediction("paper"))
    bench.steps(8)
    assert [(e.kind, e.bin) for e in bench.log.events] == [("decision", "Glass"), ("decision", "Paper")]
    assert "retry" not in bench.log.counts


def test_waits_with_a_decision_until_the_outputs_are_parked():
    bench = Bench(["item"], GLASS)
    bench.engine.replace_drive(bench.open_drive())
    bench.trace.clear()
    assert bench.steps(6) == ["voting", *["waiting_clear"] * 3, "moving", "moving"]
    assert bench.log.kinds() == ["decision"]


def test_moves_nothing_for_an_item_that_was_taken_out_before_its_flap_moved():
    bench = Bench(["item", "item", "moving", "empty"], GLASS)
    bench.engine.replace_drive(bench.open_drive())
    bench.steps(12)
    assert bench.log.kinds() == ["decision"]
    assert bench.log.counts == {"taken_out": 1}
    assert {value for _, value in bench.moved()} == {1000.0, None}  # only the way to rest


def test_moves_nothing_when_another_thing_lies_there_by_then():
    elsewhere = view("item", (300, 100, 80, 60))
    bench = Bench(["item", "item", "moving", elsewhere], GLASS, GLASS, prediction("paper"))
    bench.engine.replace_drive(bench.open_drive())
    bench.steps(25)
    assert bench.log.counts["replaced"] == 1
    assert [event.bin for event in bench.log.events[:2]] == ["Glass", "Paper"]
    assert ("Glass", 2000.0) not in bench.moved()


def test_one_frame_that_cannot_be_classified_is_recorded_and_skipped():
    bench = Bench(["item"], GLASS, BundleMismatch("nan"), GLASS)
    assert bench.steps(3) == ["voting", "voting", "moving"]
    assert [(e.kind, e.detail) for e in bench.log.events] == [("fault", "nan"), ("decision", "")]
    assert bench.log.counts == {"classify_failed": 1}


def test_a_model_that_fails_on_frame_after_frame_raises():
    bench = Bench(["item"], BundleMismatch("nan"))
    assert bench.steps(4) == ["voting"] * 4
    with pytest.raises(BundleMismatch, match="nan"):
        bench.step()
    assert bench.log.kinds() == ["fault"]
    assert bench.moved() == []


def test_hold_parks_an_open_flap_and_forgets_the_job():
    bench = Bench([*still(2), "moving"], GLASS)
    bench.steps(5)
    assert bench.moved() == [("Glass", 2000.0), ("Glass", None)]
    bench.engine.hold(bench.now_s)
    for eighths in range(1, 4):
        bench.engine.rest(bench.now_s + eighths / 8)
    assert bench.moved() == GLASS_MOVES
    assert bench.engine.drive.phase == "parked"


def test_time_never_runs_backwards_for_the_outputs():
    bench = Bench(["empty"], GLASS)
    bench.engine.rest(bench.now_s + 5)
    bench.step()
    assert bench.engine.now_s == bench.now_s + 5 - 0.125


def test_swaps_the_model_between_two_items_and_never_within_a_vote():
    bench = Bench([*still(3), "empty"], prediction("glass", logit=0.5))
    bench.step()
    bench.engine.swap(lambda: model(GLASS, version="2-def")).join()
    bench.step()
    assert bench.engine.model.version == "1-abc"
    bench.steps(10)
    assert bench.engine.model.version == "2-def"
    assert [(e.kind, e.model_version) for e in bench.log.events] == [("decision", "1-abc"), ("model", "2-def")]


def test_an_item_that_comes_right_after_another_is_named_by_the_new_model_already():
    elsewhere = view("item", (300, 100, 80, 60))
    bench = Bench(["item", elsewhere, elsewhere, "empty"], prediction("glass", logit=0.5))
    bench.step()
    bench.engine.swap(lambda: model(GLASS, version="2-def")).join()
    bench.steps(2)
    assert [(e.kind, e.model_version) for e in bench.log.events] == [("model", "2-def"), ("decision", "2-def")]


def test_goes_on_with_the_old_model_when_the_new_one_cannot_be_opened():
    def refuse() -> None:
        raise BundleNotFound("models/next: missing")

    bench = Bench(["empty"], GLASS)
    bench.engine.swap(refuse).join()
    bench.step()
    assert bench.engine.model.version == "1-abc"
    assert [(e.kind, e.detail) for e in bench.log.events] == [("fault", "models/next: missing; 1-abc goes on")]


def test_the_status_says_what_a_view_needs():
    bench = Bench(["item", "item", "empty"], GLASS)
    first, second = bench.step(), bench.step()
    assert (first.state, first.tray, first.box, first.vote_frames) == ("voting", "item", BOX, 1)
    assert list(first.vote) == ["glass", "paper", "trash"]
    assert sum(first.vote.values()) == pytest.approx(1.0)
    assert (second.vote, second.last, second.classify_ms) == ({}, second.decided, 5.0)
    assert second.outputs == {"Glass": 2000.0, "Paper": None, "Rest": None, "alarm": 0.0}
    assert second.counts == {bin_.name: 0 for bin_ in SITE.bins}
    assert second.fps == pytest.approx(8.0)
    bench.steps(10)
    assert bench.step().counts == {"Glass": 1, "Paper": 0, "Rest": 0}


def test_importing_the_engine_loads_no_torch():
    code = "import sys, device.engine; print([name for name in ('torch', 'trainer', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
