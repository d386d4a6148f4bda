"""A bin starts as strict as it may be and still do its work."""

import numpy as np

from device.classify import Prediction, softmax
from device.decide import Rule
from device.route import DEFAULT_SITE
from trainer.answers import Answers
from trainer.stream import Stream, make_stream, near_rows, stream_of
from trainer.threshold import STEPS, strictest

LABELS = ("glass", "paper", "trash")
# Frames of a thing that lies still are no news.
RULE = Rule(accept_prob=0.8, frame_correlation=1.0, min_frames=2, max_frames=3, temperature=1.0)


def seen(prob: float) -> Prediction:
    """A thing named glass with this probability."""
    logits = np.log([prob, (1 - prob) / 2, (1 - prob) / 2]).astype(np.float32)
    return Prediction(logits, softmax(logits), np.ones(2, np.float32), LABELS, 0.0)


def stream(glass: list[float], trash: int = 1) -> Stream:
    targets = ["glass"] * len(glass) + ["trash"] * trash
    return make_stream("drawn", [seen(prob) for prob in glass] + [seen(0.5)] * trash, targets, DEFAULT_SITE)


def test_the_strictest_that_keeps_seven_of_ten() -> None:
    assert strictest(stream([0.962] * 70 + [0.85] * 30), RULE, DEFAULT_SITE) == 0.96
    assert strictest(stream([0.962] * 69 + [0.852] * 31), RULE, DEFAULT_SITE) == 0.85


def test_where_none_keeps_enough_or_too_little_was_seen_the_costs_decide() -> None:
    for things in (stream([0.962] * 60 + [0.5] * 40), stream([0.962] * 39), stream([0.962] * 70, trash=0)):
        assert strictest(things, RULE, DEFAULT_SITE) == RULE.accept_prob


def test_it_is_never_more_lenient_than_the_costs() -> None:
    assert min(STEPS) == 0.8
    strict = Rule(accept_prob=0.97, frame_correlation=1.0, min_frames=2, max_frames=3, temperature=1.0)
    assert strictest(stream([0.962] * 100), strict, DEFAULT_SITE) == 0.97


def test_a_bin_like_the_lab_meets_its_things_the_labels_it_lacks_and_unknown_ones() -> None:
    rows = [
        ("tune", "lab", "glass"), ("tune", "home", "glass"), ("tune", "home", "trash"), ("tune", "hands", "!paper"),
        ("val", "lab", "glass"), ("tune", "lab", "paper"),
    ]  # fmt: skip
    logits = np.arange(18, dtype=np.float32).reshape(6, 3)
    answers = Answers(
        sha256=np.array([str(at) for at in range(6)]),
        split=np.array([split for split, _, _ in rows]),
        source=np.array([source for _, source, _ in rows]),
        target=np.array([target for _, _, target in rows]),
        labels=np.array(LABELS),
        int8_logits=logits,
        float_logits=logits,
        features=np.ones((6, 2), np.float32),
    )
    near = near_rows(answers, "tune", "lab")
    assert near.tolist() == [0, 2, 3, 5]
    made = stream_of("tune", answers, near, DEFAULT_SITE, temperature=2.0, known=None)
    assert made.homes == ("Glass", "Trash", "Trash", "Paper")
    assert made.counts(DEFAULT_SITE) == (2, 2)
    assert [prediction.logits.tolist() for prediction in made.predictions] == logits[near].tolist()
    assert made.predictions[0].probs.tolist() == softmax(logits[0], 2.0).tolist()
