"""Every bundle under models/ is sound, answers its golden pictures, and keeps to the limits that it was made for."""

from pathlib import Path

import numpy as np
import pytest

from device.bundle import MANIFEST, factory_bundle_path, load_bundle
from device.classify import Classifier, open_classifier

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = sorted(path.parent for path in MODELS.rglob(MANIFEST))
MODEL_LIMIT_BYTES = {"nano": 390_000, "base": 5_000_000}
SEVEN = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")

each_bundle = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(MODELS)))


def test_the_bundles_that_ship_are_nano_and_base() -> None:
    assert [str(folder.relative_to(MODELS)) for folder in FOLDERS] == ["base", "nano"]


def test_the_factory_bundle_is_one_that_loads() -> None:
    assert load_bundle(factory_bundle_path()).name == "nano"


@each_bundle
def test_it_loads_and_answers_its_golden_pictures(folder: Path) -> None:
    bundle = load_bundle(folder)
    open_classifier(bundle)
    assert bundle.name == folder.name
    assert (folder / "card.md").read_text(encoding="utf-8").startswith(f"# {bundle.name}\n")


@each_bundle
def test_its_golden_pictures_would_notice_swapped_colours(folder: Path) -> None:
    bundle = load_bundle(folder)
    classifier = Classifier(bundle)
    with np.load(bundle.golden) as arrays:
        rgb, logits = arrays["rgb"], arrays["logits"]
    off = [
        np.abs(classifier.classify(np.ascontiguousarray(picture[..., ::-1])).logits - true).max()
        for picture, true in zip(rgb, logits, strict=True)
    ]
    assert max(off) > 4 * bundle.manifest.golden.tolerance


@each_bundle
def test_its_golden_pictures_are_named_right_one_of_each_label(folder: Path) -> None:
    bundle = load_bundle(folder)
    with np.load(bundle.golden) as arrays:
        named = [bundle.labels[index] for index in arrays["logits"].argmax(axis=1)]
    # They are drawings in shapes of any kind; a wrong order of labels would get nearly all of them wrong.
    right = sum(name == label for name, label in zip(named, bundle.labels, strict=True))
    assert right >= len(bundle.labels) * 0.7, named


@each_bundle
def test_its_int8_file_keeps_to_its_limit(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.model.stat().st_size <= MODEL_LIMIT_BYTES[bundle.name]


def test_nano_names_the_seven_materials() -> None:
    assert load_bundle(MODELS / "nano").labels == SEVEN


@each_bundle
def test_it_carries_figures_and_the_licences_of_what_it_was_made_from(folder: Path) -> None:
    manifest = load_bundle(folder).manifest
    assert "trashnet" in manifest.metrics.int8
    assert all("not stated" not in line for line in manifest.licences.data)
    # Within 1.5 points of the float file, on TrashNet's own pictures.
    apart = manifest.metrics.float32["trashnet"].accuracy - manifest.metrics.int8["trashnet"].accuracy
    assert apart <= 0.015
    assert manifest.metrics.int8["trashnet"].accuracy >= 0.88
