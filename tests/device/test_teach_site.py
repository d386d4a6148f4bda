"""Labelled pictures become what a bundle learns, with a real network that sees mean colours: red is metal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import GOLDEN_RGB, SCALE, WEIGHTS, golden, make_bundle

from device.config import load_config
from device.errors import LearntError
from device.learnt import LearntStore
from device.looks import keep_look
from device.model import Model, bundle_rule, open_model
from device.route import Bin, Site
from device.simulate import simulate
from device.teach import Teacher, home_features, looks_here, made_of, thumb_of

SITE = Site(
    (
        Bin("Glass", frozenset({"glass"})),
        Bin("Metal", frozenset({"metal", "battery"})),
        Bin("Paper", frozenset({"paper"})),
        Bin("Rest", frozenset(), True),
    )
)
HOME = np.random.default_rng(7).normal(0, 0.05, (30, 3)).astype(np.float16)
"""Grey things, such as the golden pictures."""

COLOURS = {"glass": (20, 230, 230), "metal": (230, 20, 230), "paper": (230, 230, 20)}
"""Of this site: the model calls them paper, glass or metal as it likes."""


def picture(colour: tuple[int, int, int], seed: int = 0):
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.integers(0, 2, (6, 6, 1)), np.ones((4, 4, 3)))  # a thing of its own shape
    return np.clip(128 + (np.array(colour) - 128) * patches + rng.integers(-5, 5, 3), 0, 255).astype(np.uint8)


class Counting:
    """A classifier that counts how often it is asked."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.asked = 0

    def classify(self, rgb):
        self.asked += 1
        return self.inner.classify(rgb)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    make_bundle(tmp_path / "bundle", golden_npz=golden(home=HOME))
    return open_model(tmp_path / "bundle", bundle_rule)


@pytest.fixture
def looks(tmp_path: Path) -> Path:
    for label, colour in COLOURS.items():
        for number in range(4):
            keep_look(tmp_path / "looks", label, f"shown-{number}", picture(colour, number))
    return tmp_path / "looks"


def teacher(looks: Path, site: Site = SITE) -> Teacher:
    return Teacher(looks, LearntStore(looks.with_name("learnt")), site, wall=lambda: 0.0)


def test_looks_are_learnt_kept_and_in_use(looks: Path, model: Model):
    taught = teacher(looks).teach(model)
    store = LearntStore(looks.with_name("learnt"))
    assert store.read_active().versions == {model.version: taught.name}
    version, learnt = store.read(taught.name)
    assert (version.looks, version.judged, version.right_after) == (dict.fromkeys(COLOURS, 4), 12, 12)
    assert version.at == "1970-01-01T00:00:00.000+00:00"
    assert taught.sentence.startswith("learnt from 12 looks (glass 4, metal 4, paper 4)")
    said = model.classifier.classify(picture(COLOURS["glass"], 99))
    assert said.label != "glass"
    answers = learnt.answer(said.features, said.logits / np.float32(model.rule.temperature))[0]
    assert learnt.labels[int(answers.argmax())] == "glass"


def test_a_simulated_day_is_played_with_what_was_learnt_here(looks: Path, model: Model):
    config = load_config(None, environ={"HOME": str(looks.parent)})
    config = replace(config, events_path=looks.with_name("events.db"))

    def learnt() -> str | None:
        bundle = looks.with_name("bundle")
        return simulate(config, items=None, visits=1, seed=0, model_path=bundle).learnt

    assert learnt() is None
    taught = teacher(looks).teach(model)
    assert taught.name is not None
    assert learnt() == taught.name


def test_frames_of_one_thing_count_once(looks: Path, model: Model):
    for number in range(9):
        still = np.clip(picture(COLOURS["glass"], 0).astype(int) + number, 0, 255).astype(np.uint8)
        keep_look(looks, "glass", f"frame-{number}", still)
    assert teacher(looks).teach(model).lesson.counts == dict.fromkeys(COLOURS, 4)


def test_a_tiny_picture_is_the_same_in_another_light_and_not_of_another_thing():
    one = picture((120, 120, 120), 1)
    assert float(thumb_of(one) @ thumb_of((one * 0.7).astype(np.uint8))) > 0.99
    assert float(thumb_of(one) @ thumb_of(picture((120, 120, 120), 2))) < 0.9


def test_a_picture_is_looked_at_once(looks: Path, model: Model):
    counting = Counting(model.classifier)
    counted = replace(model, classifier=counting)
    mine = teacher(looks)
    mine.teach(counted)
    first = counting.asked
    keep_look(looks, "glass", "new", picture(COLOURS["glass"], 50))
    mine.teach(counted)
    assert counting.asked - first == first - 36 + 3  # the golden pictures, and the new one's three views
    other = replace(counted, version="2-def")
    before = counting.asked
    mine.teach(other)
    assert counting.asked - before == first + 3


def test_a_new_material_needs_a_bin(looks: Path, model: Model):
    keep_look(looks, "battery", "shown-0", picture((250, 250, 250)))
    keep_look(looks, "cloth", "shown-0", picture((10, 10, 250)))
    found, lost = looks_here(looks, SITE)
    assert (len(found), lost) == (13, ["cloth"])
    taught = teacher(looks).teach(model)
    assert taught.lesson.learnt.labels == ("glass", "metal", "paper", "battery")
    assert taught.sentence.endswith("; left out cloth: add it to the takes of a [[bin]]")


def test_labels_by_chance_are_refused_and_what_was_learnt_stays(looks: Path, model: Model):
    first = teacher(looks).teach(model).name
    for at, label in enumerate(COLOURS):
        for number in range(4):
            keep_look(looks, label, f"shown-{number}", picture([*COLOURS.values()][number % 3], 10 * at + number))
    taught = teacher(looks).teach(model)
    assert taught.name is None
    assert taught.sentence.startswith("nothing learnt: the labels fit the 12 pictures no better than shuffled ones")
    active = LearntStore(looks.with_name("learnt")).read_active()
    assert active.versions == {model.version: first}
    assert f"nothing learnt: {active.refusal}" == taught.sentence
    assert active.settled == {model.version: made_of(looks_here(looks, SITE)[0])}


def test_what_renames_a_golden_picture_is_refused(looks: Path, model: Model):
    name = model.classifier.classify(GOLDEN_RGB[0]).label
    wrong = next(label for label in COLOURS if label != name)
    keep_look(looks, wrong, "event-1", GOLDEN_RGB[0])
    taught = teacher(looks).teach(model)
    assert taught.name is None
    assert "golden pictures would get another name" in taught.sentence


def test_a_damaged_picture_is_passed_over(looks: Path, model: Model):
    (looks / "glass" / "shown-0.png").write_bytes(b"no picture")
    taught = teacher(looks).teach(model)
    assert taught.lesson.counts == {"glass": 3, "metal": 4, "paper": 4}
    assert [str(looks / "glass" / "shown-0.png") in each for each in taught.unreadable] == [True]


@pytest.mark.parametrize("make", ["nothing", "homeless", "damaged"])
def test_nothing_to_learn_from_is_told(tmp_path: Path, model: Model, make: str):
    if make == "homeless":
        keep_look(tmp_path / "looks", "cloth", "a", picture((9, 9, 9)))
    if make == "damaged":
        (tmp_path / "looks" / "glass").mkdir(parents=True)
        (tmp_path / "looks" / "glass" / "a.png").write_bytes(b"")
    with pytest.raises(LearntError, match=r"no labelled pictures to learn from|not one picture can be used"):
        teacher(tmp_path / "looks").teach(model)


def test_a_bundle_without_features_of_home_has_its_golden_pictures(tmp_path: Path, model: Model):
    assert home_features(model) == pytest.approx(HOME.astype(np.float32))
    make_bundle(tmp_path / "plain")
    plain = home_features(open_model(tmp_path / "plain", bundle_rule))
    assert plain.shape == (len(GOLDEN_RGB), 3)
    assert (plain @ WEIGHTS).shape == (2, 3)
    assert np.abs(plain).max() < 127 * SCALE


@pytest.mark.parametrize("home", [np.zeros((0, 3)), np.zeros(3), np.full((2, 3), np.nan)])
def test_features_of_home_that_are_no_use_are_told(tmp_path: Path, home):
    make_bundle(tmp_path / "b", golden_npz=golden(home=home.astype(np.float16)))
    with pytest.raises(LearntError, match="expected finite rows; ship another bundle"):
        home_features(open_model(tmp_path / "b", bundle_rule))


def test_a_model_without_golden_pictures_cannot_be_judged(looks: Path, model: Model):
    with pytest.raises(LearntError, match="has no golden pictures"):
        teacher(looks).teach(replace(model, golden=None))
