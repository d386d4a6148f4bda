"""What a model knows, fitted to hand-worked features in two dimensions; the score itself is tested with the device."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.bundle import OutOfDistribution
from device.classify import Familiarity
from trainer.answers import Answers, save_answers
from trainer.errors import DatasetError, StageMissing
from trainer.familiar import familiar_of, fit_familiar

LABELS = ("glass", "paper")
F32 = NDArray[np.float32]
RIGHT, LEFT, UP, DOWN = (4.0, 0.0), (-4.0, 0.0), (0.0, 4.0), (0.0, -4.0)


def rows(*points: tuple[float, float], times: int = 1) -> F32:
    return np.array(points * times, np.float32)


KNOWN = rows((3.0, 1.0), (5.0, -1.0), (-3.0, 1.0), (-5.0, -1.0))
TARGETS = ["glass", "glass", "paper", "paper"]


def fit(strange: F32, tune: F32 | None = None) -> OutOfDistribution:
    features = np.concatenate([KNOWN, strange])
    targets = TARGETS + ["!paper"] * len(strange)
    return fit_familiar(features, targets, LABELS, tune=rows(RIGHT, LEFT, times=20) if tune is None else tune)


def test_a_labels_mean_is_the_mean_of_its_pictures_in_the_order_of_the_labels() -> None:
    assert fit(rows()[:0].reshape(0, 2)).means == (RIGHT, LEFT)
    swapped = fit_familiar(KNOWN, TARGETS, ("paper", "glass"), tune=rows(RIGHT))
    assert swapped.means == (LEFT, RIGHT)


def test_things_that_are_only_known_not_to_be_a_label_are_strange_kinds_and_no_labels() -> None:
    fitted = fit(rows(UP, DOWN, (0.5, 4.0), (-0.5, -4.0), times=10))
    assert fitted.means == (RIGHT, LEFT)
    assert fitted.strange is not None
    assert sorted(fitted.strange) == [(-0.25, -4.0), (0.25, 4.0)]


def test_a_target_that_is_no_label_of_this_model_is_strange_too() -> None:
    features = np.concatenate([KNOWN, rows(UP, DOWN, times=10)])
    fitted = fit_familiar(features, TARGETS + ["battery"] * 20, LABELS, tune=rows(RIGHT))
    assert fitted.strange is not None
    assert sorted(fitted.strange) == [DOWN, UP]


def test_few_strange_examples_are_no_kind() -> None:
    assert fit(rows(UP, times=19)).strange is None


def test_strange_examples_that_are_all_alike_are_one_kind() -> None:
    assert fit(rows(UP, times=20)).strange == (UP,)


def test_a_twentieth_of_the_known_tune_pictures_may_fall_below_the_lowest_familiarity() -> None:
    # 40 pictures, angles of 0 to 39 degrees away from glass: the two furthest fall out.
    angles = np.radians(np.arange(40))
    tune = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    fitted = fit(np.zeros((0, 2), np.float32), tune[::-1].copy())
    assert fitted.lowest == pytest.approx(float(np.cos(np.radians(37))), abs=1e-4)
    assert int((Familiarity(fitted).score(tune) < fitted.lowest).sum()) == 2


def test_numbers_keep_three_digits_of_what_tells_labels_apart_whatever_their_size() -> None:
    for scale in (1e-3, 1.0, 1e3):
        features = (KNOWN * np.float32(scale / 3)).astype(np.float32)
        fitted = fit_familiar(features, TARGETS, LABELS, tune=features)
        # 4 / 3, and the root mean square over both numbers of a row is 0.94: two digits after the point, and one more.
        assert fitted.means == pytest.approx(np.array([[1.333 * scale, 0], [-1.333 * scale, 0]]), rel=1e-6)


def test_the_same_pictures_give_the_same_statistics() -> None:
    rng = np.random.default_rng(5)
    strange = rng.normal(0, 1, (60, 2)).astype(np.float32)
    assert fit(strange) == fit(strange.copy())


def test_what_resembles_a_strange_kind_is_below_the_lowest_and_a_label_is_not() -> None:
    fitted = fit(rows(UP, DOWN, times=10))
    score = Familiarity(fitted).score(rows(RIGHT, LEFT, (3.0, 1.0), UP, DOWN, (1.0, 4.0)))
    assert (score >= fitted.lowest).tolist() == [True, True, False, False, False, False]


def test_a_label_without_pictures_is_refused() -> None:
    with pytest.raises(DatasetError, match="no picture of train has the label 'metal', expected some of each"):
        fit_familiar(KNOWN, TARGETS, (*LABELS, "metal"), tune=KNOWN)


def test_a_network_that_answers_the_same_to_everything_is_refused() -> None:
    with pytest.raises(DatasetError, match="all 4 pictures of train have the same features"):
        fit_familiar(np.ones((4, 2), np.float32), TARGETS, LABELS, tune=KNOWN)


def keep(run: Path, tune_times: int) -> None:
    """Answers: train as above with a kind of strange things, tune, and a val that would spoil both."""
    parts = [
        ("train", np.concatenate([KNOWN, rows(UP, times=20)]), TARGETS + ["!paper"] * 20),
        ("tune", rows(RIGHT, UP, times=tune_times), ["glass", "!paper"] * tune_times),
        ("val", rows(UP, DOWN), ["glass", "paper"]),
    ]
    features = np.concatenate([part[1] for part in parts])
    count = len(features)
    logits = np.zeros((count, 2), np.float32)
    (run / "evaluate").mkdir(parents=True)
    save_answers(
        run / "evaluate",
        Answers(
            sha256=np.array([f"{number:064x}" for number in range(count)]),
            split=np.array([split for split, values, _ in parts for _ in values]),
            source=np.array(["s"] * count),
            target=np.array([target for *_, targets in parts for target in targets]),
            labels=np.array(LABELS),
            int8_logits=logits,
            float_logits=logits,
            features=features,
        ),
    )


def test_a_runs_statistics_come_from_train_and_the_threshold_from_what_tune_knows(tmp_path: Path) -> None:
    keep(tmp_path, 40)
    # Glass itself: a cosine of 1 to its mean, of 0 to the strange kind.
    assert familiar_of(tmp_path) == OutOfDistribution((RIGHT, LEFT), (UP,), 1.0)


def test_a_tune_too_small_for_a_threshold_judges_nothing(tmp_path: Path) -> None:
    keep(tmp_path, 39)
    assert familiar_of(tmp_path) is None


def test_a_run_without_answers_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match=r"answers\.npz"):
        familiar_of(tmp_path)
