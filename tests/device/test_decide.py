import math
from dataclasses import replace

import numpy as np
import pytest

from device.classify import Prediction, softmax
from device.decide import Decision, Rule, Vote
from device.errors import BundleMismatch, ConfigError

LABELS = ("glass", "metal", "paper")


def rule(accept_prob: float = 0.8, frame_correlation: float = 0.0, min_frames: int = 1, max_frames: int = 5) -> Rule:
    return Rule(accept_prob, frame_correlation, min_frames, max_frames, temperature=1.0)


def prediction(*logits: float, labels: tuple[str, ...] = LABELS, familiarity: float | None = None) -> Prediction:
    values = np.array(logits, np.float32)
    return Prediction(values, softmax(values), np.zeros(4, np.float32), labels, 1.0, familiarity)


def odds(decision: Decision) -> float:
    """Log-odds of glass over metal."""
    return math.log(decision.probs["glass"] / decision.probs["metal"])


def decide(rule_: Rule, *frames: tuple[float, ...]) -> list[Decision | None]:
    vote = Vote(rule_, LABELS)
    return [vote.add(prediction(*frame)) for frame in frames]


def test_one_frame_keeps_its_own_calibrated_probability() -> None:
    rule_ = Rule(0.5, 0.3, 1, 5, temperature=2.0)
    (decision,) = decide(rule_, (4.0, 2.0, 0.0))
    total = math.exp(2) + math.exp(1) + 1
    assert decision is not None
    assert decision.probs == pytest.approx(
        {"glass": math.exp(2) / total, "metal": math.exp(1) / total, "paper": 1 / total}
    )
    assert (decision.label, decision.prob) == ("glass", decision.probs["glass"])
    assert (decision.accepted, decision.frames, decision.reason, decision.familiarity) == (True, 1, None, None)


def test_independent_frames_add_their_log_odds() -> None:
    *early, decision = decide(rule(0.95, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 0.0))
    assert early == [None, None]
    assert decision is not None
    assert odds(decision) == pytest.approx(4.0)


def test_three_frames_at_correlation_one_half_count_as_one_and_a_half() -> None:
    # n_eff = 3 / (1 + 2 * 0.5) = 1.5; mean log-odds 2; evidence 3.
    decisions = decide(rule(0.0, 0.5, min_frames=3), (2.0, 0.0, -9.0), (1.0, 0.0, -9.0), (3.0, 0.0, -9.0))
    assert decisions[:2] == [None, None]
    assert decisions[2] is not None
    assert odds(decisions[2]) == pytest.approx(3.0)


def test_identical_frames_never_count_as_more_than_one_over_the_correlation() -> None:
    frames = 400
    decision = decide(Rule(1.0, 0.25, 1, frames, 1.0), *[(0.5, 0.0, -20.0)] * frames)[-1]
    assert decision is not None
    assert 0.99 * 4 * 0.5 < odds(decision) < 4 * 0.5


def test_wholly_correlated_frames_say_no_more_than_one_of_them() -> None:
    decision = decide(rule(1.0, 1.0), *[(0.5, 0.0, 0.0)] * 5)[-1]
    assert decision is not None
    assert odds(decision) == pytest.approx(0.5)


def test_a_frame_that_disagrees_lowers_the_probability() -> None:
    agree = decide(rule(0.0, 0.5, min_frames=2), (2.0, 0.0, 0.0), (2.0, 0.0, 0.0))[-1]
    differ = decide(rule(0.0, 0.5, min_frames=2), (2.0, 0.0, 0.0), (0.0, 1.0, 0.0))[-1]
    alone = decide(rule(0.0, 0.5), (2.0, 0.0, 0.0))[-1]
    assert agree is not None
    assert differ is not None
    assert alone is not None
    assert differ.prob < alone.prob < agree.prob
    assert odds(differ) == pytest.approx((2 - 1) / 2 * (2 / 1.5))


def test_stops_as_soon_as_the_evidence_is_enough() -> None:
    # Log-odds of 1 a frame: 0.58, 0.79, 0.91 with three labels.
    decisions = decide(rule(0.9), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    assert [decision is not None for decision in decisions] == [False, False, True]
    assert decisions[2] is not None
    assert (decisions[2].accepted, decisions[2].frames) == (True, 3)


def test_looks_at_min_frames_however_sure_the_first_one_is() -> None:
    decisions = decide(rule(0.5, 0.5, min_frames=3), *[(20.0, 0.0, 0.0)] * 3)
    assert [decision is not None for decision in decisions] == [False, False, True]


def test_gives_up_at_max_frames_and_still_names_the_likeliest() -> None:
    decisions = decide(rule(0.99, 0.9, max_frames=3), *[(0.0, 0.3, 0.0)] * 3)
    assert decisions[:2] == [None, None]
    assert decisions[2] is not None
    assert (decisions[2].label, decisions[2].accepted, decisions[2].frames) == ("metal", False, 3)
    assert decisions[2].reason == "unsure"


def test_probabilities_sum_to_one_in_the_order_of_the_labels_even_for_huge_logits() -> None:
    decision = decide(rule(0.0), (900.0, -900.0, -300.0))[0]
    assert decision is not None
    assert decision.probs == {"glass": 1.0, "metal": 0.0, "paper": 0.0}
    assert list(decision.probs) == list(LABELS)


def test_the_state_is_even_before_the_first_frame_and_follows_the_frames() -> None:
    vote = Vote(rule(0.999), LABELS)
    assert vote.state() == pytest.approx({"glass": 1 / 3, "metal": 1 / 3, "paper": 1 / 3})
    vote.add(prediction(math.log(2), 0.0, 0.0))
    assert vote.state() == pytest.approx({"glass": 0.5, "metal": 0.25, "paper": 0.25})


def test_refuses_a_prediction_of_another_model_and_keeps_the_vote() -> None:
    vote = Vote(rule(), LABELS)
    with pytest.raises(BundleMismatch, match="swap models only between two items"):
        vote.add(prediction(1.0, 0.0, 0.0, labels=("metal", "glass", "paper")))
    assert vote.state() == pytest.approx({"glass": 1 / 3, "metal": 1 / 3, "paper": 1 / 3})


def test_a_rule_names_all_its_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Rule(accept_prob=1.5, frame_correlation=-0.1, min_frames=0, max_frames=-1, temperature=math.nan)
    assert [problem.split(" is ")[0] for problem in caught.value.problems] == [
        "decision rule: accept_prob",
        "decision rule: frame_correlation",
        "decision rule: min_frames",
        "decision rule: max_frames",
        "decision rule: temperature",
    ]


@pytest.mark.parametrize(("frames", "worth"), [(0, 0.0), (1, 1.0), (2, 4 / 3), (4, 1.6)])
def test_effective_frames_at_correlation_one_half(frames: int, worth: float) -> None:
    assert rule(frame_correlation=0.5).effective_frames(frames) == pytest.approx(worth)


def judged(lowest: float | None, *familiarities: float | None) -> list[tuple[str | None, float | None, int] | None]:
    """Reason, familiarity and frames after each of these frames, all of which are surely glass."""
    vote = Vote(replace(rule(max_frames=3), lowest_familiarity=lowest), LABELS)
    decisions = [vote.add(prediction(9.0, 0.0, 0.0, familiarity=each)) for each in familiarities]
    return [each and (each.reason, each.familiarity, each.frames) for each in decisions]


def test_a_strange_thing_is_never_accepted_however_sure_the_softmax_sounds() -> None:
    assert judged(0.25, 0.125, 0.125, 0.125) == [None, None, ("strange", 0.125, 3)]


def test_the_mean_of_the_frames_tells_what_is_strange() -> None:
    assert judged(0.25, 0.125, 0.25, 0.375) == [None, None, (None, 0.25, 3)]
    assert judged(0.25, 0.5) == [(None, 0.5, 1)]


def test_a_thing_is_called_strange_rather_than_unsure_where_it_is_both() -> None:
    vote = Vote(replace(rule(max_frames=1), lowest_familiarity=0.0), LABELS)
    decision = vote.add(prediction(0.1, 0.0, 0.0, familiarity=-0.5))
    assert decision is not None
    assert (decision.accepted, decision.reason) == (False, "strange")


def test_nothing_is_strange_to_a_model_that_cannot_tell() -> None:
    assert judged(None, -1.5) == [(None, -1.5, 1)]
    assert judged(0.25, None) == [(None, None, 1)]


def test_labels_that_share_a_bin_count_together() -> None:
    # 0.5, 0.45 and 0.05.
    frame = (math.log(10), math.log(9), 0.0)
    apart, shared = rule(max_frames=1), replace(rule(max_frames=1), together=(frozenset({"glass", "metal"}),))
    (doubtful,), (settled,) = decide(apart, frame), decide(shared, frame)
    assert doubtful is not None
    assert settled is not None
    assert (doubtful.label, doubtful.prob, doubtful.reason) == ("glass", pytest.approx(0.5), "unsure")
    assert (settled.label, settled.prob, settled.reason) == ("glass", pytest.approx(0.5), None)
    assert settled.probs == doubtful.probs


def test_a_label_outside_every_shared_bin_stands_alone() -> None:
    shared = replace(rule(max_frames=1), together=(frozenset({"glass", "metal"}),))
    assert [decision and decision.reason for decision in decide(shared, (0.0, 0.0, 9.0))] == [None]


def test_one_bin_for_everything_is_sure_at_once() -> None:
    shared = replace(rule(1.0), together=(frozenset(LABELS),))
    assert [decision and decision.reason for decision in decide(shared, (0.3, 0.2, 0.1))] == [None]
