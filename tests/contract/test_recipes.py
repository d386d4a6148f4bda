"""Every recipe of the project loads, can be drawn and built, and is what its name says."""

from pathlib import Path

import pytest

import trainer.recipes
from device.simulator.drawings import LABELS
from trainer.nets import NETS
from trainer.recipe import load_recipe

PATHS = sorted(Path(trainer.recipes.__file__).parent.rglob("*.toml"))
NAMES = [path.stem for path in PATHS]
BUNDLES = {"nano-live": "nano"}
"""Recipes that make a bundle of another name: nano is made in two steps."""


def test_there_are_recipes() -> None:
    assert {"base", "carry", "nano", "trashnet"} <= set(NAMES)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_recipe_loads_by_name_and_by_path_alike(path: Path) -> None:
    by_name = load_recipe(path.stem)
    assert by_name == load_recipe(str(path))
    assert by_name.name == BUNDLES.get(path.stem, path.stem)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_recipe_can_be_carried_out(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe.net in NETS
    # Golden pictures are drawings of every label.
    assert set(recipe.data.labels) <= set(LABELS)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_recipe_is_headed_by_a_comment_that_names_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"# {path.stem}: ")


def test_the_first_model_names_seven_materials_and_the_trashnet_one_six() -> None:
    seven = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")
    assert load_recipe("nano").data.labels == seven
    assert load_recipe("trashnet").data.labels == tuple(label for label in seven if label != "organic")
