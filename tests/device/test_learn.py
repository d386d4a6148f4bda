"""What a few looks teach, on made-up places: features are drawn around a middle for each place and each material."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from device.classify import softmax
from device.learn import OWN, Looked, group_same
from device.lesson import learn

LABELS = ("glass", "metal", "paper", "trash")
SIZE = 24
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Pictures of one place: their features, what they show, and the model's calibrated log-odds."""

    features: F32
    truth: NDArray[np.intp]
    log_odds: F32

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(LABELS[each] for each in self.truth)

    def right(self, answers: F32) -> float:
        return float((answers.argmax(axis=-1) == self.truth).mean())


def place(shift: float, count: int, seed: int = 0, sure: float = 3.0, wrong: float = 0.0) -> Place:
    """So many of each label; `shift` moves the whole place away from home, the model is wrong in a share of them."""
    fixed = np.random.default_rng(5)
    middles = np.maximum(fixed.normal(0, 1, (len(LABELS), SIZE)), 0)
    away = np.maximum(fixed.normal(0, 1, SIZE), 0) * shift
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(LABELS)), count)
    features = np.abs(middles[truth] + away + rng.normal(0, 0.15, (len(truth), SIZE))).astype(np.float32)
    named = np.where(rng.random(len(truth)) < wrong, (truth + rng.integers(1, 4, len(truth))) % 4, truth)
    log_odds = (sure * np.eye(len(LABELS))[named]).astype(np.float32)
    return Place(features, truth, log_odds)


HOME = place(0.0, 40, seed=1)
LOOKS = place(2.0, 5, seed=2, wrong=0.5)
REST = place(2.0, 50, seed=3, wrong=0.5)


def looked(looks: Place, labels: tuple[str, ...] | None = None) -> Looked:
    count = len(looks.truth)
    names = tuple(f"{label}/{number}" for number, label in enumerate(labels or looks.labels))
    return Looked(names, labels or looks.labels, looks.features, looks.log_odds, np.arange(count), np.ones(count, bool))


def corrections(looks: Place) -> Looked:
    return replace(looked(looks), shown=np.zeros(len(looks.truth), bool))


def test_looks_teach_what_the_model_gets_wrong_here():
    lesson = learn(looked(LOOKS), LABELS, HOME.features)
    assert lesson.refusal == ""
    assert REST.right(REST.log_odds) < 0.6
    assert REST.right(lesson.learnt.answer(REST.features, REST.log_odds)[0]) > 0.95
    assert lesson.counts == dict.fromkeys(LABELS, 5)
    assert (lesson.judged, lesson.right_after) == (20, 20)
    assert lesson.sentence.startswith(
        "learnt from 20 looks (glass 5, metal 5, paper 5, trash 5): of 20 left out in turn 20 are named right, "
        f"{lesson.right_before} without it"
    )


def test_pictures_of_home_keep_the_models_own_answer():
    unseen = place(0.0, 20, seed=4, wrong=0.5)
    learnt = learn(looked(LOOKS), LABELS, HOME.features).learnt
    answers, weight = learnt.answer(unseen.features, unseen.log_odds)
    assert (weight < 0.2).mean() > 0.95
    assert (answers.argmax(axis=1) == unseen.log_odds.argmax(axis=1)).mean() > 0.95


def test_one_corrected_item_is_named_right_the_next_time_and_the_others_are_left_alone():
    model_says = np.array([4.0, 0, 0, 0], np.float32)
    one = corrections(replace(LOOKS, features=LOOKS.features[5:6], truth=np.array([1]), log_odds=model_says[None]))
    lesson = learn(one, LABELS, HOME.features)
    assert (lesson.refusal, lesson.judged, lesson.suspicious) == ("", 0, ())
    assert lesson.sentence == "learnt from 1 looks (metal 1): corrections only, which count for their own kind of item"
    again = lesson.learnt.answer(LOOKS.features[5], model_says)[0]
    assert again.argmax() == 1
    assert softmax(again)[1] > 0.8
    away = place(0.0, 50, seed=3, wrong=0.5)
    assert (lesson.learnt.answer(away.features, away.log_odds)[0].argmax(1) == away.log_odds.argmax(1)).all()


def test_corrections_alone_do_not_unlearn_what_was_right():
    """They are all wrong ones: a share of mistakes that the rest of the place does not have."""
    near = place(0.6, 10, seed=2, wrong=0.3)
    wrong = near.log_odds.argmax(axis=1) != near.truth
    corrected = Place(near.features[wrong], near.truth[wrong], near.log_odds[wrong])
    asked = place(0.6, 50, seed=3)
    lesson = learn(corrections(corrected), LABELS, HOME.features)
    assert (lesson.refusal, lesson.judged) == ("", 0)
    assert asked.right(lesson.learnt.answer(asked.features, asked.log_odds)[0]) > 0.97
    again = lesson.learnt.answer(corrected.features, corrected.log_odds)[0]
    assert corrected.right(again) > 0.95


def test_of_twins_with_two_labels_one_is_named_though_both_are_corrections():
    twins = Place(LOOKS.features[[0, 0, 0, 7]], np.array([0, 0, 2, 1]), LOOKS.log_odds[[0, 0, 0, 7]])
    lesson = learn(corrections(twins), LABELS, HOME.features)
    assert lesson.suspicious == ("paper/2",)


def test_one_picture_and_many_are_answered_alike():
    learnt = learn(looked(LOOKS), LABELS, HOME.features).learnt
    many, weights = learnt.answer(REST.features, REST.log_odds)
    one, weight = learnt.answer(REST.features[7], REST.log_odds[7])
    assert one == pytest.approx(many[7], abs=1e-4)
    assert weight == pytest.approx(weights[7], abs=1e-4)
    assert (one.shape, one.dtype, weight.shape) == ((4,), np.float32, ())


def test_frames_of_one_still_item_count_as_one_look():
    single = looked(LOOKS)
    many = single.some(np.concatenate([np.zeros(9, np.intp), np.arange(20)]))
    lesson = learn(many, LABELS, HOME.features)
    assert (lesson.counts, lesson.judged) == (dict.fromkeys(LABELS, 5), 20)
    alone = learn(single, LABELS, HOME.features).learnt.answer(REST.features, REST.log_odds)[0]
    assert np.abs(lesson.learnt.answer(REST.features, REST.log_odds)[0] - alone).max() < 0.4
    # Had each of the ten counted, glass would have had fourteen looks.
    separate = learn(replace(many, groups=np.arange(29)), LABELS, HOME.features)
    assert separate.counts["glass"] == 14


def test_a_look_is_not_judged_by_its_near_duplicates():
    """Labels by chance on things that look alike: twins would make guessing look like knowing."""
    noise = np.random.default_rng(6)
    features = np.abs(noise.normal(3, 1, (12, SIZE))).astype(np.float32)
    labels = tuple(noise.permutation([*LABELS] * 3))
    twins = np.repeat(np.arange(12), 2)
    own = np.zeros((24, 4), np.float32)
    names, given = tuple(map(str, range(24))), tuple(labels[each] for each in twins)
    pairs = Looked(names, given, features[twins], own, twins * 2, np.ones(24, bool))
    assert learn(pairs, LABELS, HOME.features).right_after <= 6


def test_near_duplicates_are_found_in_a_chain():
    thumbs = np.array([[1, 0], [0, 1], [0.97, 0.243], [0.882, 0.471]], np.float32)
    assert group_same(thumbs).tolist() == [0, 1, 0, 0]


def test_a_new_material_is_named_once_it_was_shown():
    shown = tuple("battery" if label == "metal" else label for label in LOOKS.labels)
    lesson = learn(looked(LOOKS, shown), LABELS, HOME.features)
    assert (lesson.refusal, lesson.learnt.labels, lesson.learnt.known) == ("", (*LABELS, "battery"), 4)
    answers = lesson.learnt.answer(REST.features, REST.log_odds)[0]
    is_new = answers.argmax(axis=1) == 4
    assert is_new[REST.truth == 1].mean() > 0.9
    assert is_new[REST.truth != 1].mean() < 0.1
    away = lesson.learnt.answer(HOME.features, HOME.log_odds)[0]
    assert (away.argmax(axis=1) == 4).sum() == 0


def test_labels_given_by_chance_are_refused():
    for seed in range(5):
        labels = tuple(np.random.default_rng(seed).permutation(LOOKS.labels))
        refusal = learn(looked(LOOKS, labels), LABELS, HOME.features).refusal
        assert refusal.startswith("the labels fit the 20 pictures no better than shuffled ones")
        assert "look again at" in refusal


def test_two_swapped_labels_are_refused_where_the_model_knows_the_place():
    looks = place(2.0, 5, seed=2)
    swap = {"glass": "metal", "metal": "glass"}
    labels = tuple(swap.get(label, label) for label in looks.labels)
    lesson = learn(looked(looks, labels), LABELS, HOME.features)
    assert lesson.swapped == ("glass", "metal")
    assert lesson.refusal == (
        "to the model, which knows the rest, glass and metal look swapped; were the two labels swapped?"
    )


def test_two_labels_that_only_the_model_mixes_up_are_learnt_and_told():
    """Corrections show what the model gets wrong, and nothing else: that is no reason to refuse them."""
    mixed_up = np.isin(LOOKS.truth, [0, 1])
    says = (3.0 * np.eye(4)[1 - LOOKS.truth[mixed_up]]).astype(np.float32)
    corrected = Place(LOOKS.features[mixed_up], LOOKS.truth[mixed_up], says)
    lesson = learn(looked(corrected), LABELS, HOME.features)
    assert (lesson.refusal, lesson.right_before, lesson.right_after) == ("", 0, 10)
    assert "; to the model alone glass and metal look swapped: are these labels right?" in lesson.sentence


def test_right_labels_are_not_refused_however_lost_the_model_is():
    for seed in range(5):
        lost = place(2.0, 5, seed=seed, wrong=0.9)
        lesson = learn(looked(lost), LABELS, HOME.features)
        assert (lesson.refusal, lesson.right_after) == ("", 20)


def test_the_model_counts_for_more_where_the_looks_show_that_it_is_right():
    of = lambda wrong: learn(looked(place(2.0, 5, seed=2, wrong=wrong)), LABELS, HOME.features).learnt.own  # noqa: E731
    assert of(0.0) > 0.99
    assert of(0.5) == OWN
    assert OWN < of(0.25) < 0.9
    # Three right looks prove little.
    three = Place(LOOKS.features[:3], np.zeros(3, np.intp), place(2.0, 1).log_odds[[0, 0, 0]])
    assert OWN < learn(looked(three), LABELS, HOME.features).learnt.own < 0.9


def test_one_wrong_label_is_named():
    looks = place(2.0, 5, seed=2)
    labels = ("paper", *looks.labels[1:])
    lesson = learn(looked(looks, labels), LABELS, HOME.features)
    assert lesson.refusal == ""
    assert lesson.suspicious == ("paper/0",)
    assert lesson.sentence.endswith("; look again at paper/0: the others contradict the label")


def test_looks_that_make_it_worse_are_refused():
    """A model that is right here, and labels that nobody could learn from the pictures."""
    noise = np.random.default_rng(3)
    looks = Place(np.abs(noise.normal(2, 1, (20, SIZE))).astype(np.float32), LOOKS.truth, place(0, 5).log_odds * 0.2)
    lesson = learn(looked(looks), LABELS, HOME.features)
    assert lesson.right_before == 20
    assert lesson.refusal == (
        f"of 20 left out in turn {lesson.right_after} are named right, 20 without it, expected no fewer"
        + lesson.refusal.partition("expected no fewer")[2]
    )


def test_what_is_learnt_stays_calibrated():
    """Where looks help half of the time, the probabilities say so."""
    noisy = place(2.0, 10, seed=8, wrong=0.5)
    blurred = np.random.default_rng(9)
    blur = lambda of: np.abs(of + blurred.normal(0, 1.2, of.shape)).astype(np.float32)  # noqa: E731
    looks, rest = replace(noisy, features=blur(noisy.features)), replace(REST, features=blur(REST.features))
    learnt = learn(looked(looks), LABELS, HOME.features).learnt
    probs = softmax(learnt.answer(rest.features, rest.log_odds)[0])
    assert probs.sum(axis=1) == pytest.approx(np.ones(len(probs)), abs=1e-5)
    right = (probs.argmax(axis=1) == rest.truth).mean()
    assert 0.5 < right < 0.95
    assert abs(probs.max(axis=1).mean() - right) < 0.15
    assert abs(softmax(rest.log_odds).max(axis=1).mean() - rest.right(rest.log_odds)) > 0.3
