"""A run whose network is the mean colour, so that every answer is known: red is metal, green glass, all else paper."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import network
from conftest import LABELS, RECIPE, save
from numpy.typing import NDArray

from trainer.answers import open_answers
from trainer.cli import run_app
from trainer.dataset import Record, write_records, write_split
from trainer.errors import DatasetError, StageMissing
from trainer.evaluate import evaluate, leading_source, originals
from trainer.nets import build_net
from trainer.probe import probe
from trainer.recipe import Recipe, load_recipe
from trainer.stage import Stage

COLOURS = {"metal": (235, 20, 20), "glass": (20, 235, 20), "paper": (20, 20, 235)}
COUNTS = [  # split, source, folder, pictures
    ("train", "lab", "metal", 5), ("train", "lab", "glass", 2), ("train", "lab", "paper", 2),
    ("train", "home", "metal", 3),
    ("tune", "lab", "metal", 2), ("tune", "lab", "glass", 2), ("tune", "lab", "paper", 2),
    ("val", "lab", "metal", 3), ("val", "lab", "glass", 4), ("val", "lab", "paper", 5), ("val", "lab", "hand", 2),
    ("val", "home", "metal", 1), ("val", "home", "hand", 1),
]  # fmt: skip
FIELD = [("phone", "metal", 3), ("phone", "glass", 1), ("phone", "hand", 1), ("shop", "paper", 2)]
MAPPED = {"hand": "!glass"}
HANDS = {"lab": "glass", "home": "metal"}


def photograph(folder: str, number: int, hand: str = "glass") -> NDArray[np.uint8]:
    """A coloured card on a grey board, uint8 RGB [90, 120, 3]; a hand has the colour of `hand`, no two are the same."""
    rgb = np.full((90, 120, 3), 170, np.uint8)
    rgb[18:72, 24:96] = COLOURS.get(folder, COLOURS[hand])
    rgb[0, 0] = 165 + number % 10
    rgb[0, 1] = 165 + number // 10
    return rgb


@dataclass(frozen=True, slots=True)
class Measurable:
    run: Path
    recipe: Recipe
    recipe_path: Path
    pictures: Path
    field: Path

    @property
    def rest(self) -> list[str]:
        return ["--run", str(self.run), "--recipe", str(self.recipe_path)]


@pytest.fixture
def made(tmp_path: Path) -> Measurable:
    """A run as the steps before evaluate leave it, and photographs of others."""
    return make(tmp_path)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a probe of such a run found, once for all tests that only look at it."""
    made = make(tmp_path_factory.mktemp("probed"))
    evaluate(made.run, made.recipe)
    found = probe(made.run, made.recipe, [made.field])
    kept: dict[str, Any] = json.loads((made.run / "evaluate" / "probes.json").read_text())
    assert kept == json.loads(json.dumps(found))
    assert kept["model"]["bytes"] == (made.run / "quantize" / "model.onnx").stat().st_size
    return kept


def make(tmp_path: Path) -> Measurable:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "tiny.toml"))
    records, number = [], 0
    for split, source, folder, count in COUNTS:
        for _ in range(count):
            path = tmp_path / "pictures" / source / folder / f"{number:03d}.png"
            save(path, photograph(folder, number, hand=HANDS.get(source, "glass")))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            target = MAPPED.get(folder, folder)
            records.append(Record(digest, str(path), source, target, group=number, split=split))
            number += 1
    for source, folder, count in FIELD:
        for _ in range(count):
            save(tmp_path / "field" / source / folder / f"{number}.png", photograph(folder, number))
            number += 1
    run = tmp_path / "run"
    sources = [tmp_path / "pictures" / source for source in ("lab", "home")]
    data = Stage(run, "data", {})
    write_records(records, data.path / "records.tsv")
    write_split(records, data.path / "split.txt")
    for name in ("pixels", "alpha"):
        np.save(data.path / f"{name}.npy", np.zeros(1, np.uint8))
    data.finish({"sources": sources})
    distill = Stage(run, "distill", {})
    torch.save({"net": build_net(recipe.net, len(LABELS)).state_dict()}, distill.path / "student.pt")
    distill.finish({"net": recipe.net, "labels": LABELS})
    quantize = Stage(run, "quantize", {})
    for name in ("model", "float"):
        (quantize.path / f"{name}.onnx").write_bytes(network(size_px=recipe.size_px))
    quantize.finish({"features": 3, "scheme": "S8S8 QDQ per-channel", "calibration_sha256": "0" * 64, "bytes": 1})
    return Measurable(run, recipe, tmp_path / "tiny.toml", tmp_path / "pictures", tmp_path / "field")


def test_evaluate_keeps_every_answer_of_tune_and_val_and_some_of_train(made: Measurable) -> None:
    found = evaluate(made.run, made.recipe)
    assert {source: (row.pictures, row.accuracy) for source, row in found.int8.items()} == {
        "lab": (12, 1.0),
        "home": (1, 1.0),
    }
    assert found.not_named == {"lab": 0.0, "home": 1.0}
    assert found.agreement == 1.0
    answers = open_answers(made.run)
    assert answers.labels.tolist() == list(LABELS)
    count = {split: len(answers.rows(split)) for split in ("train", "tune", "val")}
    assert count == {"train": 12, "tune": 6, "val": 16}
    assert (answers.features.shape, answers.int8_logits.shape) == ((34, 3), (34, 3))
    measured = answers.split != "train"
    assert np.isfinite(answers.int8_logits).all()
    np.testing.assert_array_equal(answers.float_logits[measured], answers.int8_logits[measured])
    assert np.isnan(answers.float_logits[~measured]).all()
    # Each answer stands beside its own picture.
    for digest, target, logits in zip(answers.sha256, answers.target, answers.int8_logits, strict=True):
        (path,) = [p for p in made.pictures.rglob("*.png") if hashlib.sha256(p.read_bytes()).hexdigest() == digest]
        assert MAPPED.get(path.parent.name, path.parent.name) == target
        assert LABELS[int(logits.argmax())] == (target if target in LABELS else HANDS[path.parent.parent.name])


def test_answers_of_other_networks_are_not_kept(made: Measurable) -> None:
    evaluate(made.run, made.recipe)
    (made.run / "evaluate" / "probes.json").write_text("{}")
    evaluate(made.run, made.recipe)  # unchanged: the probes still belong to it
    assert (made.run / "evaluate" / "probes.json").exists()
    again = Stage(made.run, "quantize", {"other": "network"})
    again.finish(Stage.result_of(made.run, "quantize")[1])
    evaluate(made.run, made.recipe)
    assert not (made.run / "evaluate" / "probes.json").exists()


def test_pictures_that_are_gone_are_said(made: Measurable) -> None:
    (victim,) = sorted((made.pictures / "home" / "metal").glob("*.png"))[-1:]
    victim.unlink()
    with pytest.raises(DatasetError, match="1 of 34 pictures are not what trainer data read"):
        evaluate(made.run, made.recipe)
    assert not (made.run / "evaluate" / "answers.npz").exists()


def test_originals_come_once_and_whole(made: Measurable) -> None:
    from trainer.data import open_dataset

    dataset = open_dataset(made.run)
    wanted = [record for record in dataset.records if record.split == "tune"]
    found = list(originals([*dataset.sources, dataset.sources[0]], wanted))
    assert [record.name for record, _ in found] == sorted(record.name for record in wanted)
    assert {decode().shape for _, decode in found} == {(90, 120, 3)}
    assert leading_source(dataset, LABELS) == "lab"
    with pytest.raises(DatasetError, match="no picture of it has a label"):
        leading_source(dataset, ["wood"])


def test_shortcuts_are_counted_picture_by_picture(probed: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in probed["shortcuts"]}
    assert {row["source"] for row in probed["shortcuts"]} == {"lab"}
    # A board without its card is bright grey, and that is paper: 5 of 12.
    right = {name: (row["pictures"], row["accuracy"]) for name, row in rows.items()}
    assert right == {
        "as it is": (12, 1.0),
        "background alone": (12, pytest.approx(5 / 12)),
        "middle covered": (12, pytest.approx(5 / 12)),
        "item alone": (12, 1.0),
        "grey": (12, 0.0),  # a bright one is paper, the dark one of a blue card is nothing
        "colour cast": (12, right["colour cast"][1]),
    }
    assert {row["commonest"] for row in rows.values()} == {5 / 12}
    assert rows["background alone"]["low"] < 5 / 12 < rows["background alone"]["high"]


def test_worse_pictures_begin_at_the_unchanged_ones(probed: dict[str, Any]) -> None:
    rows = {row["change"]: row for row in probed["robustness"]}
    assert list(rows) == ["rotation", "blur", "brightness", "noise", "JPEG", "colour"]
    for row in rows.values():
        strengths = [point["at"] for point in row["points"]]
        assert strengths == sorted(strengths)
        assert {point["at"]: point["accuracy"] for point in row["points"]}[row["none_at"]] == 1.0
        assert {point["pictures"] for point in row["points"]} == {12}
    # The mean colour knows no direction, but it does know a cast.
    assert {point["accuracy"] for point in rows["rotation"]["points"]} == {1.0}
    assert rows["colour"]["points"][0]["accuracy"] < 1


def test_other_peoples_photographs_are_measured_by_source(probed: dict[str, Any]) -> None:
    phone, shop = probed["field"]
    assert (phone["source"], phone["pictures"], phone["accuracy"], phone["macro_f1"]) == ("phone", 4, 1.0, 1.0)
    assert phone["confusion"] == [[1, 0, 0], [0, 3, 0], [0, 0, 0]]
    assert (phone["at_half_coverage"], phone["at_90_coverage"], phone["at_half_coverage_device"]) == (1.0, 1.0, None)
    # The hand is green and taken for glass: it is in a bin where it does not belong, at 40 % of the visits.
    assert phone["diversion_at_default"]["contamination"] == pytest.approx(0.4)
    assert (shop["source"], shop["pictures"], shop["diversion_at_default"]) == ("shop", 2, None)


def test_the_rest_of_the_page(probed: dict[str, Any]) -> None:
    assert probed["labels"] == list(LABELS)
    assert (probed["model"]["name"], probed["model"]["size_px"]) == ("tiny", 32)
    assert probed["model"]["params"] == sum(p.numel() for p in build_net("nano", 3).parameters())
    assert (probed["coverage"]["source"], probed["coverage"]["at_half"], probed["coverage"]["area"]) == (
        "lab",
        1.0,
        0.0,
    )
    assert sum(row["share"] for row in probed["calibration"]["bins"]) == pytest.approx(1)
    for key, recyclable in (("diversion", 12), ("diversion_all", 13)):
        curve = probed[key]
        assert (curve["residual_share"], curve["residual"], curve["recyclable"]) == (0.4, 3, recyclable)
        assert curve["at_default"]["contamination"] == pytest.approx(0.4)
        assert curve["at_default"]["contamination_high"] > 0.4
        assert curve["at_default"]["diversion"] == 1.0
    assert {(row["source"], row["target"], row["named"]) for row in probed["mistakes"]} == {("lab", "!glass", "glass")}
    assert len(probed["mistakes"]) == 2
    assert all(0.5 < row["prob"] <= 1 for row in probed["mistakes"])


def test_the_command_prints_tables(made: Measurable, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["evaluate", *made.rest]) == 0
    assert run_app(["probe", *made.rest, "--field", str(made.field / "phone"), "--field", str(made.field)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    for words in ("shortcuts, val", "worse pictures, val", "other people's photographs", "surest half 100.0%",
                  "40% of visits residual or unknown", "the default"):  # fmt: skip
        assert words in captured.err


def test_nothing_is_probed_before_it_is_measured(made: Measurable) -> None:
    with pytest.raises(StageMissing, match="run: trainer evaluate"):
        probe(made.run, made.recipe)


def test_photographs_that_were_trained_on_are_refused(made: Measurable) -> None:
    evaluate(made.run, made.recipe)
    with pytest.raises(DatasetError, match="expected pictures that this run has not learnt from"):
        probe(made.run, made.recipe, [made.pictures])
