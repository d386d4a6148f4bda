"""Streams of which the outcome can be counted by hand; the rule and the bins are the device's own."""

import math
from dataclasses import replace

import numpy as np
import pytest

from device.classify import Prediction, softmax
from device.decide import Rule
from device.route import DEFAULT_SITE, Costs
from trainer.diversion import ACCEPT_PROBS, Outcome, diversion, outcome, still_decision
from trainer.stream import Stream, make_stream

LABELS = ("cardboard", "glass", "paper", "trash")
RULE = Rule(accept_prob=0.8, frame_correlation=0.8, min_frames=2, max_frames=8, temperature=1.0)


def seen(label: str, prob: float) -> Prediction:
    """A picture that is named so with this probability, the others sharing the rest."""
    rest = (1 - prob) / (len(LABELS) - 1)
    logits = np.log([prob if name == label else rest for name in LABELS]).astype(np.float32)
    return Prediction(logits, softmax(logits), np.ones(2, np.float32), LABELS, 0.0)


def stream(*things: tuple[str, str, float]) -> Stream:
    """(truth, named, probability) of each."""
    return make_stream(
        "drawn", [seen(named, prob) for _, named, prob in things], [t for t, _, _ in things], DEFAULT_SITE
    )


def test_unknown_things_belong_in_the_residual_bin_and_others_in_theirs() -> None:
    made = stream(("cardboard", "glass", 0.9), ("trash", "glass", 0.9), ("!glass", "glass", 0.9))
    assert made.homes == ("Paper", "Trash", "Trash")


def test_a_still_thing_is_seen_again_and_again_until_the_vote_ends() -> None:
    sure, unsure, hopeless = (still_decision(seen("glass", prob), RULE) for prob in (0.9, 0.78, 0.3))
    assert (sure.frames, sure.accepted) == (2, True)
    # 0.78 grows a little with each frame of correlation 0.8, as it does in the bin.
    assert (unsure.frames > 1, unsure.accepted, unsure.prob > 0.8) == (True, True, True)
    assert (hopeless.frames, hopeless.accepted) == (8, False)


def test_contamination_and_diversion_by_hand() -> None:
    # Residual, 4: one is put into Glass. Recyclable, 10: six right (paper named cardboard is right: one bin), one
    # wrong, three unsure.
    things = [("trash", "glass", 0.99), ("trash", "trash", 0.99), ("!glass", "paper", 0.5), ("trash", "glass", 0.4)]
    things += [("glass", "glass", 0.99)] * 4 + [("paper", "paper", 0.99), ("paper", "cardboard", 0.99)]
    things += [("paper", "glass", 0.99)] + [("glass", "paper", 0.5)] * 3
    found = outcome(stream(*things), RULE, DEFAULT_SITE)
    bad = 0.4 * 1 / 4 + 0.6 * 1 / 10
    assert found == Outcome(
        accept_prob=0.8,
        contamination=pytest.approx(bad / (bad + 0.6 * 6 / 10)),
        contamination_high=found.contamination_high,
        diversion=0.6,
        diversion_low=found.diversion_low,
    )
    assert bad / (bad + 0.36) < found.contamination_high < 0.75
    assert 0.3 < found.diversion_low < 0.6


def test_more_pictures_than_their_share_do_not_weigh_more() -> None:
    few = [("trash", "glass", 0.99), ("trash", "trash", 0.99)]
    things = [("glass", "glass", 0.99)] * 8
    once, often = (outcome(stream(*few * times, *things), RULE, DEFAULT_SITE) for times in (1, 20))
    assert once.contamination == pytest.approx(often.contamination)
    assert once.contamination == pytest.approx(0.2 / 0.8)
    assert often.contamination_high < once.contamination_high  # only surer


def test_no_bad_item_among_few_is_no_proof() -> None:
    things = [("trash", "trash", 0.99)] * 50 + [("glass", "glass", 0.99)] * 400
    found = outcome(stream(*things), RULE, DEFAULT_SITE)
    assert found.contamination == 0.0
    # Clopper and Pearson: none of 50 says at most 1 - 0.05 ** (1 / 50) of the residual visits.
    spoilt = 0.4 * (1 - 0.05 ** (1 / 50))
    assert found.contamination_high == pytest.approx(spoilt / (spoilt + 0.6), rel=0.1)


def test_where_nothing_is_sorted_nothing_is_contaminated() -> None:
    found = outcome(stream(("trash", "glass", 0.4), ("glass", "glass", 0.4)), RULE, DEFAULT_SITE)
    assert (found.contamination, found.diversion) == (None, 0.0)
    assert math.isfinite(found.contamination_high)


def test_the_bound_is_the_same_every_time() -> None:
    made = stream(*[("trash", "glass", 0.9), ("glass", "glass", 0.99)] * 9)
    assert outcome(made, RULE, DEFAULT_SITE) == outcome(made, RULE, DEFAULT_SITE)


def test_the_curve_trades_diversion_for_contamination() -> None:
    things = [("trash", "glass", 0.85)] * 3 + [("trash", "trash", 0.9)] * 7 + [("glass", "glass", 0.9)] * 10
    things += [("paper", "paper", 0.999)] * 10
    curve = diversion(stream(*things), RULE, DEFAULT_SITE, 0.99)
    assert curve is not None
    assert (curve.stream, curve.residual_share, curve.residual, curve.recyclable) == ("drawn", 0.4, 10, 20)
    # Below 0.8 a site where a spoilt bin costs four misses accepts nothing.
    assert tuple(point.accept_prob for point in curve.points) == tuple(prob for prob in ACCEPT_PROBS if prob >= 0.8)
    assert curve.at_default == outcome(stream(*things), RULE, DEFAULT_SITE)
    assert curve.at_strict == outcome(stream(*things), replace(RULE, accept_prob=0.99), DEFAULT_SITE)
    assert curve.at_strict != curve.at_default
    ways = [(point.diversion, point.contamination) for point in curve.points]
    assert ways == sorted(ways, key=lambda way: way[0], reverse=True)
    assert ways[0] == (1.0, pytest.approx(0.12 / 0.72))  # at 0.8 everything is accepted
    assert ways[-1] == (0.5, 0.0)  # at 0.999 only the paper


def test_what_costs_nothing_is_accepted_earlier() -> None:
    easy = replace(DEFAULT_SITE, costs=Costs(contamination=1.0, missed=1.0))
    curve = diversion(stream(("trash", "trash", 0.9), ("glass", "glass", 0.6)), RULE, easy, 0.9)
    assert curve is not None
    assert [(point.accept_prob, point.diversion) for point in curve.points[:3]] == [(0.5, 1.0), (0.6, 1.0), (0.7, 0.0)]


def test_labels_of_one_bin_count_together_and_strange_things_are_given_up() -> None:
    logits = np.log([0.5, 0.01, 0.48, 0.01]).astype(np.float32)  # cardboard or paper
    plain = Prediction(logits, softmax(logits), np.ones(2, np.float32), LABELS, 0.0)
    strange = replace(plain, familiarity=0.1)
    rule = replace(RULE, lowest_familiarity=0.2)
    sure = seen("trash", 0.99)
    for view, diverted in ((plain, 1.0), (strange, 0.0), (replace(plain, familiarity=0.3), 1.0)):
        made = make_stream("drawn", [view, sure], ["paper", "trash"], DEFAULT_SITE)
        assert outcome(made, rule, DEFAULT_SITE).diversion == diverted


def test_a_stream_of_one_kind_has_no_curve() -> None:
    assert diversion(stream(("trash", "trash", 0.9), ("!glass", "glass", 0.9)), RULE, DEFAULT_SITE, 0.9) is None
    assert diversion(stream(("glass", "glass", 0.9)), RULE, DEFAULT_SITE, 0.9) is None
