"""A model with what a site has taught: it answers as one, and comes off again."""

import numpy as np
import pytest
from bin_fakes import LABELS, RGB, model, prediction

from device.classify import softmax
from device.learn import Looked, fit
from device.site_model import bare_model, dress

HERE = np.array([1.0, 0.2, 0.1, 0.0], np.float32)
HOME = np.random.default_rng(1).normal(0, 0.3, (9, 4)).astype(np.float32)


def answer(familiarity: float | None = None):
    """The model is sure of glass."""
    from dataclasses import replace

    return replace(prediction("glass", familiarity=familiarity), features=HERE)


def learnt(label: str = "paper"):
    own = answer().logits[None]
    names = np.zeros(1, np.int64), np.ones(1, bool)
    labels = (*LABELS, *({label} - set(LABELS)))
    return fit(Looked(("a",), (label,), HERE[None], own, *names), labels, HOME)


def test_it_names_what_the_site_taught_with_probabilities_that_fit_its_logits():
    dressed = dress(model(answer()), learnt())
    said = dressed.classifier.classify(RGB)
    assert (said.label, said.labels, dressed.labels) == ("paper", LABELS, LABELS)
    assert said.probs == pytest.approx(softmax(said.logits, dressed.rule.temperature), abs=1e-6)
    assert said.probs.sum() == pytest.approx(1.0, abs=1e-5)
    assert said.features is not None
    assert said.ms >= 5.0


def test_a_new_material_is_one_of_its_labels():
    dressed = dress(model(answer()), learnt("battery"))
    assert dressed.labels == (*LABELS, "battery")
    assert dressed.classifier.classify(RGB).label == "battery"


def test_what_is_like_a_look_is_no_stranger():
    said = dress(model(answer(familiarity=-0.5)), learnt()).classifier.classify(RGB)
    assert said.familiarity == dress(model(answer()), learnt()).rule.lowest_familiarity
    assert dress(model(answer(familiarity=0.9)), learnt()).classifier.classify(RGB).familiarity == 0.9
    assert dress(model(answer()), learnt()).classifier.classify(RGB).familiarity is None


def test_it_comes_off_and_is_never_worn_twice():
    bare = model(answer())
    once = dress(bare, learnt())
    twice = dress(once, learnt("trash"))
    assert bare_model(once) is bare_model(twice) is bare
    assert dress(twice, None) is bare
    assert bare_model(bare) is bare
