"""The data step: splits as the recipe asks for them, and sentences where a label cannot be split at all."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, Drawn, photograph, save

from trainer.cli import run_app
from trainer.data import open_dataset, prepare_data
from trainer.dataset import Source
from trainer.recipe import load_recipe

U8 = np.uint8


@pytest.fixture
def pictures(drawn: Drawn, tmp_path: Path) -> Path:
    """Twelve different pictures a label, and nothing else."""
    top = tmp_path / "pictures"
    for label in LABELS:
        (top / label).mkdir(parents=True)
        for number in range(12):
            shutil.copy(drawn.pictures / label / f"{number:02d}.png", top / label)
    return top


def run_data(pictures: Path, drawn: Drawn, run: Path) -> int:
    return run_app(["data", f"drawn={pictures}", "--run", str(run), "--recipe", str(drawn.recipe_path)])


def test_a_recipe_may_ask_for_an_ungrouped_split_of_other_shares(pictures: Path, drawn: Drawn, tmp_path: Path) -> None:
    # The same object four times: grouped, they would stay together.
    for number in range(1, 5):
        save(pictures / "glass" / f"again{number}.png", np.minimum(photograph("glass", 0), 230) + U8(number))
    path = tmp_path / "apart.toml"
    text = drawn.recipe_path.read_text()
    path.write_text(text.replace("[data]", "[data]\nsame_object = 1\nshares = [0.5, 0.25, 0.25]"))
    recipe = load_recipe(str(path))
    made = prepare_data(tmp_path / "run", [Source("drawn", pictures)], recipe)
    assert Counter((record.target, record.split) for record in made.records) == {
        ("glass", "train"): 8, ("glass", "tune"): 4, ("glass", "val"): 4,
        **{(label, split): count for label in ("metal", "paper")
           for split, count in (("train", 6), ("tune", 3), ("val", 3))},
    }  # fmt: skip
    assert sorted(record.group for record in made.records) == list(range(40))
    # Another split of the same pictures is another data set; the same is not made again.
    again = prepare_data(tmp_path / "run", [Source("drawn", pictures)], recipe)
    assert again.fingerprint == made.fingerprint
    usual = prepare_data(tmp_path / "run", [Source("drawn", pictures)], drawn.recipe)
    assert usual.fingerprint != made.fingerprint
    assert len({record.group for record in usual.records}) < 40


def test_folds_are_asked_for_on_the_command_line_and_are_data_sets_of_their_own(
    pictures: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [f"drawn={pictures}", "--recipe", str(drawn.recipe_path)]
    runs = [tmp_path / str(number) for number in range(1, 4)]
    for number, run in enumerate(runs, 1):
        assert run_app(["data", *rest, "--run", str(run), "--fold", f"{number}/3"]) == 0
    made = [open_dataset(run) for run in runs]
    assert sorted(one.records[i].sha256 for one in made for i in one.indices("val")) == sorted(
        record.sha256 for record in made[0].records
    )
    assert len({one.fingerprint for one in made}) == 3
    capsys.readouterr()
    assert run_app(["data", *rest, "--run", str(runs[0]), "--fold", "1/3"]) == 0
    assert "data: unchanged" in capsys.readouterr().err
    assert run_app(["data", *rest, "--fold", "4/3"]) == 2
    assert capsys.readouterr().err.startswith("error: --fold 4/3: expected a part and how many there are")
    assert run_app(["data", *rest, "--fold", "1/3", "--split", str(runs[0] / "data" / "split.txt")]) == 2
    assert capsys.readouterr().err == "error: data: use just one of --split and --fold\n"


def test_a_label_of_one_object_is_refused_for_it_lies_in_one_split(
    pictures: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        save(pictures / "paper" / f"{number:02d}.png", np.minimum(photograph("paper", 0), 200) + U8(number))
    assert run_data(pictures, drawn, tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        "error: label 'paper': its 12 pictures show 1 different objects and fall into train alone, "
        "expected train, tune, val; add pictures of other objects\n"
    )
    assert run_app(["distill", "--run", str(tmp_path / "run"), "--recipe", str(drawn.recipe_path)]) == 1
    assert "this step has not been finished" in capsys.readouterr().err


def test_one_picture_a_label_is_refused(
    pictures: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures.rglob("*.png"):
        if path.name != "00.png":
            path.unlink()
    assert run_data(pictures, drawn, tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        "error: label 'glass' has 1 pictures, expected at least 10; "
        "add a source that has it, or take it out of the recipe's data.labels\n"
    )


def test_each_label_is_in_every_split(finished: Path) -> None:
    records = open_dataset(finished).records
    assert {(record.target, record.split) for record in records if record.target in LABELS} == {
        (label, split) for label in LABELS for split in ("train", "tune", "val")
    }
