"""Photographs in, a bundle out: every step through the command line, and a second time, when nothing is left to do."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import network
from conftest import LABELS, PER_LABEL, Drawn, photograph, save

from device.bundle import load_bundle
from device.classify import Classifier, open_classifier
from device.pictures import read_picture
from device.preprocess import fit
from trainer.cli import run_app
from trainer.data import open_dataset
from trainer.dataset import CACHE_PX, read_records, read_split, write_records
from trainer.evaluate import evaluate
from trainer.stage import Stage


def files_of(run: Path) -> dict[str, int]:
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_from_pictures_to_a_bundle_that_a_bin_can_use_and_nothing_is_done_twice(
    run: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path)]
    out = tmp_path / "bundles" / "tiny"
    for step in ("quantize", "evaluate"):
        assert run_app([step, *rest]) == 0, capsys.readouterr().err
    assert run_app(["pack", str(out), *rest]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out == ""  # stdout stays free

    bundle = load_bundle(out)
    classifier = open_classifier(bundle)
    assert (bundle.name, bundle.labels, bundle.size_px) == ("tiny", LABELS, 32)
    named = classifier.classify(read_picture(drawn.pictures / "metal" / "03.png"))
    assert named.label in LABELS
    np.testing.assert_allclose(named.probs.sum(), 1, rtol=1e-5)
    assert Classifier(bundle, use_float=True).classify(photograph("glass", 2)).label in LABELS
    check_manifest(run, out)
    check_card(out)

    # Once more: nothing is computed, nothing is written.
    before = files_of(run)
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 0
    for step in ("distill", "quantize", "evaluate"):
        assert run_app([step, *rest]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if "unchanged" in line] == [
        f"data: unchanged, {3 * PER_LABEL + 5} pictures",
        "distill: unchanged",
        "quantize: unchanged",
        "evaluate: unchanged",
    ]
    assert files_of(run) == before
    # A bundle is never written over.
    assert run_app(["pack", str(out), *rest]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {out}: not empty, and a bundle never changes; give a new folder"
    )

    # What no longer fits is said, not measured.
    other = drawn.recipe_path.read_text().replace('labels = ["glass", "metal", "paper"]', 'labels = ["glass", "metal"]')
    (tmp_path / "other.toml").write_text(other)
    (run / "quantize" / "stage.json").unlink()
    assert run_app(["quantize", "--run", str(run), "--recipe", str(tmp_path / "other.toml")]) == 1
    assert "but recipe tiny asks for a nano of glass, metal; give its own with --recipe" in capsys.readouterr().err
    assert run_app(["evaluate", *rest]) == 1
    assert capsys.readouterr().err == (
        f"error: {run / 'quantize'}: this step has not been finished; run: trainer quantize --run {run}\n"
    )


def check_manifest(run: Path, out: Path) -> None:
    """What the bundle says of itself is what the steps found."""
    manifest = load_bundle(out).manifest
    dataset = open_dataset(run)
    _, quantized = Stage.result_of(run, "quantize")
    _, measured = Stage.result_of(run, "evaluate")
    assert manifest.files["model.onnx"].size == quantized["bytes"] == (run / "quantize" / "model.onnx").stat().st_size
    assert manifest.quantization.scheme == quantized["scheme"]
    assert manifest.quantization.calibration_sha256 == quantized["calibration_sha256"]
    assert (manifest.features, manifest.temperature) == (quantized["features"], measured["temperature"])
    assert list(manifest.metrics.int8) == list(manifest.metrics.float32) == ["drawn"]
    in_val = Counter(record.target for record in dataset.records if record.split == "val")
    assert manifest.metrics.int8["drawn"].pictures == sum(in_val[label] for label in LABELS)
    assert sorted(measured["not_named"]) == (["drawn"] if in_val["!glass"] else [])
    assert manifest.golden.pictures == len(LABELS)
    assert manifest.licences.data == ("drawn: MIT, drawn by a test",)
    table = json.loads((run / "evaluate" / "confusion.json").read_text())["drawn"]["confusion"]
    assert np.sum(table) == manifest.metrics.int8["drawn"].pictures
    assert np.trace(table) / np.sum(table) == pytest.approx(manifest.metrics.int8["drawn"].accuracy, abs=1e-4)


def check_card(out: Path) -> None:
    card = (out / "card.md").read_text(encoding="utf-8")
    assert card.startswith("# tiny\n\nNames glass, metal, paper in a picture of one item, 32 x 32 pixels.\n")
    for line in ("- drawn: MIT, drawn by a test", "- weights: EfficientNet-Lite1, ImageNet: Apache-2.0"):
        assert line in card.splitlines()


def test_the_data_step_keeps_what_it_found(finished: Path, drawn: Drawn) -> None:
    dataset = open_dataset(finished)
    targets = Counter(record.target for record in dataset.records)
    assert targets == {"glass": PER_LABEL + 1, "metal": PER_LABEL, "paper": PER_LABEL, "!glass": 4}
    _, result = Stage.result_of(finished, "data")
    assert (result["pictures"], result["sources"]) == (3 * PER_LABEL + 5, [str(drawn.pictures)])
    (complaint,) = result["left_out"]
    assert complaint.startswith(f"{drawn.pictures / 'metal' / 'damaged.png'}: ")
    # The same thing in other light is one object; it is never on two sides.
    by_name = {Path(record.name).name: record for record in dataset.records if record.target == "glass"}
    twins = by_name["00.png"], by_name["00-brighter.png"]
    assert twins[0].group == twins[1].group
    sides = {(record.group, record.split) for record in dataset.records}
    assert len(sides) == len({group for group, _ in sides})
    assert read_split(dataset.split_path) == {record.sha256: record.split for record in dataset.records}


def test_cached_pixels_belong_to_their_records(finished: Path) -> None:
    dataset = open_dataset(finished)
    assert dataset.pixels.shape[1:] == (CACHE_PX, CACHE_PX, 3)
    for index in (0, 14, len(dataset.records) - 1):
        rgb = read_picture(Path(dataset.records[index].name))
        assert np.array_equal(dataset.pixels[index], fit(rgb, CACHE_PX))
        inside = dataset.alpha[index]
        assert 0 < (inside > 128).mean() < 1


def test_a_given_split_is_kept_and_leaks_are_said(
    finished: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = open_dataset(finished).records
    twins = [record for record in records if record.name.endswith(("glass/00.png", "glass/00-brighter.png"))]
    turned = {"train": "val", "val": "train", "tune": "tune"}
    given = {record.sha256: turned[record.split] for record in records} | {
        twins[0].sha256: "train",
        twins[1].sha256: "val",
    }
    (tmp_path / "split.txt").write_text("".join(f"{split} {digest}\n" for digest, split in given.items()))
    rest = ["--run", str(tmp_path / "run"), "--recipe", str(drawn.recipe_path), "--split", str(tmp_path / "split.txt")]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 0
    used = given | {twins[1].sha256: ""}  # a near-copy of what is trained on
    assert {record.sha256: record.split for record in open_dataset(tmp_path / "run").records} == used
    assert "note: the given split puts 1 groups of near-copies on both sides" in capsys.readouterr().err


def test_a_changed_picture_makes_the_data_step_run_again(drawn: Drawn, run: Path, tmp_path: Path) -> None:
    # All the way to the end would take seconds: an unknown folder shows that it looked.
    pictures = Path(shutil.copytree(drawn.pictures, tmp_path / "pictures"))
    save(pictures / "surprise" / "0.png", photograph("glass", 99))
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path)]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 0
    assert run_app(["data", f"drawn={pictures}", *rest]) == 1


def quantize_by_hand(run: Path) -> None:
    """Put a network that names by colour in the student's place, as `trainer quantize` would leave it."""
    stage = Stage(run, "quantize", {})
    for name in ("model.onnx", "float.onnx"):
        (stage.path / name).write_bytes(network(size_px=32))
    stage.begin()
    stage.finish({"features": 3, "scheme": "none", "calibration_sha256": "0" * 64, "bytes": 1})


def test_pictures_that_changed_since_are_not_measured(
    run: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = Path(shutil.copytree(drawn.pictures, tmp_path / "pictures"))
    dataset = open_dataset(run)
    lost = next(record for record in dataset.records if record.split == "val")
    (pictures / Path(lost.name).relative_to(drawn.pictures)).write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3)))[1])
    (run / "data" / "stage.json").write_text(
        (run / "data" / "stage.json").read_text().replace(str(drawn.pictures), str(pictures))
    )
    quantize_by_hand(run)
    assert run_app(["evaluate", "--run", str(run), "--recipe", str(drawn.recipe_path)]) == 1
    text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith(f"error: {lost.name}: 1 of ")
    assert text.endswith("pictures are not what trainer data read; put them back, or read again with: trainer data")


def test_a_first_source_without_labels_is_measured_too(run: Path, drawn: Drawn) -> None:
    # The hands come first and under a name of their own, as with: trainer data unknown=... trashnet=...
    path = run / "data" / "records.tsv"
    records = [
        replace(record, source="hands", split="val") if record.target == "!glass" else record
        for record in read_records(path)
    ]
    write_records(sorted(records, key=lambda record: record.source != "hands"), path)
    quantize_by_hand(run)
    made = evaluate(run, drawn.recipe)
    assert list(made.int8) == list(made.float32) == ["drawn"]
    assert list(made.not_named) == ["hands"]
    assert (made.agreement, made.int8) == (1.0, made.float32)
    assert 0 <= made.calibration_error <= 1
    assert evaluate(run, drawn.recipe) == made  # as it was kept
