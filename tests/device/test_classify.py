"""A picture becomes a prediction; what a bundle must be for that is in tests/contract/test_golden.py."""

from pathlib import Path

import numpy as np
import pytest
from bundles import LABELS, SCALE, WEIGHTS, make_bundle, network, rewrite

from device.bundle import OutOfDistribution, load_bundle
from device.camera.frame import Rgb
from device.classify import Classifier, Familiarity, softmax
from device.errors import BundleMismatch


def plain(red: int, green: int, blue: int, height: int = 20, width: int = 30) -> Rgb:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    return Classifier(make_bundle(tmp_path / "b"))


def test_softmax_is_what_it_is_by_hand() -> None:
    logits = np.log(np.array([1, 2, 5], np.float32))
    np.testing.assert_allclose(softmax(logits), [0.125, 0.25, 0.625], rtol=1e-6)
    # At temperature 0.5 the odds are squared: 1 : 4 : 25.
    np.testing.assert_allclose(softmax(logits, 0.5), [1 / 30, 4 / 30, 25 / 30], rtol=1e-6)


def test_softmax_works_row_by_row_and_does_not_overflow() -> None:
    made = softmax(np.array([[1e4, 0], [-1e4, -1e4]], np.float32))
    assert (made.dtype, made.tolist()) == (np.float32, [[1.0, 0.0], [0.5, 0.5]])


def test_a_prediction_says_all_that_the_network_does(classifier: Classifier) -> None:
    made = classifier.classify(plain(227, 127, 99))
    features = np.array([100, 0, -28], np.float32) * np.float32(SCALE)
    np.testing.assert_allclose(made.features, features, rtol=1e-6)
    np.testing.assert_allclose(made.logits, features @ WEIGHTS, rtol=1e-5)
    np.testing.assert_allclose(made.probs, softmax(made.logits, 1.5), rtol=1e-6)
    assert (made.label, made.labels) == ("metal", LABELS)
    assert made.prob == made.probs[1] == made.probs.max()
    assert (made.logits.dtype, made.probs.dtype, made.features.dtype) == (np.float32,) * 3
    assert made.ms > 0


@pytest.mark.parametrize(
    ("rgb", "label"),
    [(plain(250, 10, 10), "metal"), (plain(10, 250, 10), "glass"), (plain(10, 10, 250), "paper")],
    ids=["red", "green", "blue"],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_colours_keep_their_order(tmp_path: Path, layout: str, rgb: Rgb, label: str) -> None:
    assert Classifier(make_bundle(tmp_path / "b", layout=layout)).classify(rgb).label == label


def test_the_bundles_temperature_is_used_and_the_logits_are_left_as_they_are(tmp_path: Path) -> None:
    rgb = plain(200, 120, 100)
    path = make_bundle(tmp_path / "b").path
    before = Classifier(load_bundle(path)).classify(rgb)
    rewrite(path, lambda table: table.update(temperature=3.0))
    after = Classifier(load_bundle(path)).classify(rgb)
    assert after.logits.tolist() == before.logits.tolist()
    np.testing.assert_allclose(after.probs, softmax(before.logits, 3.0), rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (480, 640), (640, 48)])
def test_a_picture_of_any_size_will_do(classifier: Classifier, size: tuple[int, int]) -> None:
    assert classifier.classify(plain(250, 10, 10, *size)).label == "metal"


@pytest.mark.parametrize("kwargs", [{"threads": 1}, {"threads": 2}, {"arm_exact": False}, {"use_float": True}])
def test_every_way_to_open_it_answers_the_same(classifier: Classifier, kwargs: dict[str, int]) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (40, 30, 3), np.uint8)
    other = Classifier(classifier.bundle, **kwargs)  # type: ignore[arg-type]
    np.testing.assert_allclose(other.classify(rgb).logits, classifier.classify(rgb).logits, atol=1e-5)


def test_the_float_file_is_the_one_that_is_opened(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", model=network(bias=1.0))
    rgb = plain(10, 20, 30)
    apart = Classifier(bundle).classify(rgb).logits - Classifier(bundle, use_float=True).classify(rgb).logits
    np.testing.assert_allclose(apart, [1.0, 1.0, 1.0], rtol=1e-5)


def test_a_network_that_breaks_on_some_pictures_says_so_then(tmp_path: Path) -> None:
    classifier = Classifier(make_bundle(tmp_path / "b", model=network(log_features=True)))
    assert classifier.classify(plain(200, 200, 200)).features.min() > 0
    with pytest.raises(BundleMismatch, match="the network's features are nan, nan, nan, expected finite numbers"):
        classifier.classify(plain(10, 10, 10))


MEANS = ((3.0, 1.0), (-1.0, 1.0))  # their middle is 1, 1; from there one lies right, the other left


@pytest.mark.parametrize(
    ("features", "known", "less_half_of_strange"),
    [
        ((9.0, 1.0), 1.0, 1.0),  # right: as a label, across from the strange kind
        ((-5.0, 1.0), 1.0, 1.0),  # left
        ((1.0, 4.0), 0.0, -0.5),  # up: as the strange kind
        ((4.0, 5.0), 0.6, 0.2),  # 3 to the right and 4 up
        ((1.0, -7.0), 0.0, 0.5),  # down: neither, and away from the strange kind
        ((1.0, 1.0), 0.0, 0.0),  # the middle itself has no direction
    ],
)
def test_familiarity_by_hand(features: tuple[float, ...], known: float, less_half_of_strange: float) -> None:
    row = np.array(features, np.float32)
    assert float(Familiarity(OutOfDistribution(MEANS, None, 0.0)).score(row)) == pytest.approx(known)
    with_strange = OutOfDistribution(MEANS, ((1.0, 3.0),), 0.0)
    assert float(Familiarity(with_strange).score(row)) == pytest.approx(less_half_of_strange)


def test_the_nearest_of_several_strange_kinds_counts_and_rows_are_scored_one_by_one() -> None:
    familiarity = Familiarity(OutOfDistribution(MEANS, ((1.0, 3.0), (1.0, -8.0)), 0.0))
    made = familiarity.score(np.array([[9, 1], [1, 4], [1, -7]], np.float32))
    assert (made.dtype, made.tolist()) == (np.float32, [1.0, -0.5, -0.5])


def test_a_prediction_says_how_familiar_the_features_are_where_the_bundle_can_tell(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b").path
    green, white = (Classifier(load_bundle(path)).classify(rgb) for rgb in (plain(0, 200, 0), plain(250, 250, 250)))
    assert green.familiarity == pytest.approx(0.9252 + 0.5 * 0.3811, abs=1e-3)
    assert white.familiarity == pytest.approx(-0.5, abs=1e-3)
    rewrite(path, lambda table: table.update(out_of_distribution=None))
    assert Classifier(load_bundle(path)).classify(plain(0, 200, 0)).familiarity is None
