"""A step is done only when it was finished with these very inputs, however it was cut off."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.errors import StageMissing, TrainerError
from trainer.stage import Stage, write_atomic


@dataclass(frozen=True, slots=True)
class Rule:
    epochs: int


def test_a_new_stage_is_neither_begun_nor_done(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "run", "distill", {"epochs": 3})
    assert (stage.path, stage.path.is_dir()) == (tmp_path / "run" / "distill", True)
    assert (stage.is_begun, stage.is_done) == (False, False)


def test_a_finished_stage_is_done_for_the_same_inputs_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "distill", {"rule": Rule(3), "data": "abc"})
    stage.begin()
    stage.finish({"right": 0.9, "where": tmp_path, "rule": Rule(3)})
    again = Stage(tmp_path, "distill", {"data": "abc", "rule": Rule(3)})
    assert (again.is_begun, again.is_done) == (True, True)
    assert again.result == {"right": 0.9, "where": str(tmp_path), "rule": {"epochs": 3}}
    assert Stage.result_of(tmp_path, "distill") == (again.fingerprint, again.result)
    other = Stage(tmp_path, "distill", {"data": "abc", "rule": Rule(4)})
    assert (other.is_begun, other.is_done) == (False, False)


def test_a_stage_that_was_cut_off_is_begun_and_not_done(tmp_path: Path) -> None:
    Stage(tmp_path, "distill", {"epochs": 3}).begin()
    again = Stage(tmp_path, "distill", {"epochs": 3})
    assert (again.is_begun, again.is_done) == (True, False)
    with pytest.raises(StageMissing) as caught:
        Stage.result_of(tmp_path, "distill")
    assert str(caught.value) == (
        f"{tmp_path / 'distill'}: this step has not been finished; run: trainer distill --run {tmp_path}"
    )


def test_beginning_anew_takes_back_that_it_was_done(tmp_path: Path) -> None:
    before = Stage(tmp_path, "distill", {"epochs": 3})
    before.begin()
    before.finish({})
    Stage(tmp_path, "distill", {"epochs": 4}).begin()
    # The files belong to neither now; the first must not pass as done.
    assert (before.is_begun, before.is_done) == (False, False)


@pytest.mark.parametrize("text", ["", "{", '{"fingerprint": '])
def test_a_record_that_was_cut_off_counts_as_not_finished(tmp_path: Path, text: str) -> None:
    stage = Stage(tmp_path, "distill", {})
    stage.begin()
    stage.finish({"right": 1})
    (stage.path / "stage.json").write_text(text)
    assert stage.is_done is False
    with pytest.raises(StageMissing):
        Stage.result_of(tmp_path, "distill")


def test_steps_of_a_run_do_not_mix(tmp_path: Path) -> None:
    one, other = Stage(tmp_path, "data", {}), Stage(tmp_path, "distill", {})
    one.begin()
    one.finish({"pictures": 3})
    assert (one.is_done, other.is_done) == (True, False)
    assert json.loads((tmp_path / "data" / "stage.json").read_text()) == {
        "stage": "data",
        "fingerprint": one.fingerprint,
        "result": {"pictures": 3},
    }


def test_a_file_in_the_runs_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(TrainerError, match=r"run/data: no folder can be made there \(.*\); give another with --run"):
        Stage(tmp_path / "run", "data", {})
    with pytest.raises(StageMissing, match="this step has not been finished; run: trainer data"):
        Stage.result_of(tmp_path / "run", "data")


def test_a_write_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    write_atomic(path, b"new and longer")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("last.pt", b"new and longer")]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    (tmp_path / "last.pt.part").mkdir()  # in the way of the new one
    with pytest.raises(IsADirectoryError):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
