"""Answers that are kept come back as they were."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from trainer.answers import Answers, open_answers, save_answers
from trainer.errors import StageMissing

ANSWERS = Answers(
    sha256=np.array(["aa", "bb", "cc", "dd"]),
    split=np.array(["tune", "val", "val", "train"]),
    source=np.array(["drawn", "drawn", "wild/taco", "drawn"]),
    target=np.array(["metal", "!glass", "glass", "glass"]),
    labels=np.array(["glass", "metal"]),
    int8_logits=np.arange(8, dtype=np.float32).reshape(4, 2),
    float_logits=np.array([[0, 1], [2, 3], [4, 5], [np.nan, np.nan]], np.float32),
    features=np.ones((4, 3), np.float32),
)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    (tmp_path / "evaluate").mkdir()
    save_answers(tmp_path / "evaluate", ANSWERS)
    back = open_answers(tmp_path)
    for field in fields(Answers):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(ANSWERS, field.name), strict=True)
    assert [path.name for path in (tmp_path / "evaluate").iterdir()] == ["answers.npz"]


def test_rows_are_chosen_by_split_source_and_label() -> None:
    assert ANSWERS.rows("val").tolist() == [1, 2]
    assert ANSWERS.rows("val", labelled=True).tolist() == [2]
    assert ANSWERS.rows("val", source="drawn").tolist() == [1]
    assert ANSWERS.rows("val", source="drawn", labelled=True).tolist() == []


def test_truth_is_the_labels_place() -> None:
    assert ANSWERS.truth([0, 2, 3]) == [1, 0, 0]
    assert ANSWERS.truth(ANSWERS.rows("val", source="drawn", labelled=True)) == []
    with pytest.raises(ValueError, match="!glass"):
        ANSWERS.truth([1])


def test_a_run_without_answers_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(StageMissing) as caught:
        open_answers(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'evaluate' / 'answers.npz'}: no answers kept there; run: trainer evaluate --run {tmp_path}"
    )
