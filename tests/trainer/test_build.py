"""One command makes a bundle of photographs, says where it is, and does nothing twice."""

from pathlib import Path

import pytest
from conftest import Drawn

from device.bundle import load_bundle
from trainer.build import measured_steps
from trainer.cli import run_app
from trainer.recipe import Recipe, load_recipe

TAUGHT = """
[views]
photographs = 24
drawings = 4
size_px = 32
[teach]
nets = ["nano"]
frozen_stages = 5
probe_passes = 1
passes = 1
"""


def steps(recipe: Recipe) -> list[str]:
    return [*measured_steps(Path(), (), recipe, None), "pack"]


def test_only_the_steps_that_a_recipe_needs_are_taken(drawn: Drawn) -> None:
    assert steps(drawn.recipe) == ["data", "distill", "quantize", "evaluate", "pack"]
    assert steps(load_recipe("nano")) == ["data", "views", "teach", "distill", "quantize", "evaluate", "pack"]


def test_one_command_makes_a_bundle_and_goes_on_where_it_was(
    drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "taught.toml"
    text = drawn.recipe_path.read_text()
    recipe.write_text(text.replace("epochs = 2", "epochs = 1").replace("tail_epochs = 1", "tail_epochs = 0") + TAUGHT)
    run, out = tmp_path / "run", tmp_path / "bundle"
    rest = ["--run", str(run), "--recipe", str(recipe), "--out", str(out)]
    assert run_app(["build", f"drawn={drawn.pictures}", *rest]) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    assert [line.split(" (")[0] for line in said.splitlines() if line.startswith("step ")] == [
        f"step {number} of 7: {name}" for number, name in enumerate(steps(load_recipe("nano")), 1)
    ]
    assert load_bundle(out).name == "tiny"
    again = [*rest[:-1], str(tmp_path / "again")]
    assert run_app(["build", f"drawn={drawn.pictures}", *again]) == 0, capsys.readouterr().err
    unchanged = [line for line in capsys.readouterr().err.splitlines() if "unchanged" in line]
    assert [line.split(":")[0] for line in unchanged if not line.startswith("evaluate")] == [
        "data", "views", "views", "teach", "distill", "quantize",
    ]  # fmt: skip
