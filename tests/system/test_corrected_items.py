"""The measurement of what corrections bring: it counts right, and a lesson shows in it."""

import pytest

from benchmarks.corrected import ROOT, Outcome, play
from device.config import load_config
from device.model import Model, bundle_rule, open_model


def test_each_thing_is_counted_once_on_the_side_where_day_one_put_it() -> None:
    out = Outcome()
    out.add(
        {"cup": False, "can": False, "peel": True, "jar": True, "gone": True},
        alone={"cup": False, "can": True, "peel": True, "jar": False},
        learnt={"cup": True, "can": True, "peel": False, "jar": False, "gone": True},
    )
    assert out == Outcome(corrected=2, before=1, after=2, others=2, others_before=1, others_after=0)
    assert out.text() == "of 2 corrected items 50% right before, 100% after; of 2 others 50% and 0%"


@pytest.fixture(scope="module")
def nano() -> Model:
    return open_model(ROOT / "models" / "nano", bundle_rule)


@pytest.mark.slow
def test_what_is_corrected_is_right_on_day_two(nano: Model) -> None:
    out = play(nano, load_config(None), None, bins=1, most=12)
    assert out.corrected + out.others == 12
    assert out.corrected > out.before
    assert out.after > out.before
    assert out.others_after >= out.others_before - 1
    assert out.refused == 0
