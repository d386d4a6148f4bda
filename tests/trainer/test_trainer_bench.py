"""Pictures a second are counted over whole passes, for each part of a recipe."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from conftest import Drawn

from trainer.bench import bench, pictures_per_s
from trainer.cli import run_app
from trainer.machine import Machine
from trainer.recipe import Teach, Views

torch.set_num_threads(1)


def clock_of(*times_s: float) -> Callable[[], float]:
    left = iter(times_s)
    return lambda: next(left)


def test_passes_are_counted_until_the_time_is_up_and_the_first_only_warms_up() -> None:
    passes = iter([100, 4, 5, 6])
    # Begun at 10; 9 pictures until 11.9, 15 until 12.5.
    clock = clock_of(10.0, 11.0, 11.9, 12.5)
    assert pictures_per_s(lambda: next(passes), Machine(), 2.0, clock) == pytest.approx(15 / 2.5)
    assert next(passes, None) is None


def test_one_pass_is_enough_when_it_takes_longer() -> None:
    assert pictures_per_s(lambda: 8, Machine(), 0.5, clock_of(1.0, 5.0)) == pytest.approx(2.0)


def test_every_part_of_a_recipe_gets_a_row(drawn: Drawn) -> None:
    teach = Teach(nets=("lite0", "timm:efficientnet_lite1"), batch=2)
    recipe = replace(drawn.recipe, teach=teach, views=Views(10, 0, size_px=64))
    times_s = [second for part in range(4) for second in (10.0 * part, 10.0 * part + 2.0)]
    rows = [(speed.what, speed.pictures_per_s) for speed in bench(recipe, Machine(), 1.0, clock_of(*times_s))]
    assert rows == [
        ("augmentation to 32 px, one thread", 7 / 2.0),  # one picture a material
        ("nano's step at 32 px, 8 a batch", 8 / 2.0),
        ("lite0's answers at 64 px, 2 a batch", 2 / 2.0),
        ("timm:efficientnet_lite1's answers at 64 px, 2 a batch", 2 / 2.0),
    ]


def test_the_command_shows_a_table_and_how_long_an_epochs_pictures_take(
    drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["bench", "--recipe", str(drawn.recipe_path), "--seconds", "0.1"]) == 0
    said = capsys.readouterr().err
    assert "augmentation to 32 px, one thread" in said
    assert "nano's step at 32 px, 8 a batch" in said
    assert "12 of them" in said
