"""Some hundred simulated visits with hands at any moment, jams and opened lids; benchmarks.visits plays thousands."""

import json
from pathlib import Path

import pytest

from benchmarks.visits import HABITS, Outcome, play, play_parts
from device.simulator.items import load_items
from device.simulator.visits import VisitKind, script


@pytest.mark.slow
def test_nothing_moves_while_somebody_is_about_and_everything_adds_up():
    outcome = play(200, seed=11)
    assert outcome.wrongs == []
    # It has met what it is about.
    counts = outcome.counts
    assert min(outcome.guarded, outcome.stuck, counts["retry"], counts["jam"], counts["interrupted"]) > 0
    assert min(outcome.landings, outcome.pictures, counts["lid_opened"]) > 0


@pytest.mark.slow
def test_the_model_that_came_along_sorts_among_hands_too():
    outcome = play(20, seed=12, real_model=True)
    assert outcome.wrongs == []
    assert outcome.decisions >= 10


def test_a_long_run_that_was_cut_off_goes_on_where_it_was(tmp_path: Path):
    def timeless(outcome: Outcome) -> dict[str, object]:
        return outcome.fields() | {"seconds": 0.0}

    out = tmp_path / "visits.json"
    whole = timeless(play_parts(3, seed=5, out=out, part=2))
    written = json.loads(out.read_text())
    assert (written["played"] | {"seconds": 0.0}, whole["visits"]) == (whole, 3)
    out.write_text(json.dumps(written | {"played": play(2, seed=5).fields()}))
    assert timeless(play_parts(3, seed=5, out=out, part=2)) == whole
    with pytest.raises(SystemExit, match="name another file"):
        play_parts(4, seed=5, out=out, part=2)


def test_habits_change_nothing_else_of_the_day():
    items = load_items(None, ("glass", "paper"), 3)
    plain, lively = script(items, 200, 3), script(items, 200, 3, HABITS)
    assert [(v.kind, v.seed, v.wait_s) for v in plain] == [(v.kind, v.seed, v.wait_s) for v in lively]
    assert [v for v in plain if v.reach or v.lid_open_s or v.sticks] == []
    assert 70 < sum(v.reach is not None for v in lively) < 130
    assert 5 < sum(v.lid_open_s is not None for v in lively) < 40
    stuck = {v.sticks for v in lively if v.kind in (VisitKind.ITEM, VisitKind.TWO)}
    assert stuck == {0, 1, 9}
    assert {v.sticks for v in lively if not v.items} == {0}
