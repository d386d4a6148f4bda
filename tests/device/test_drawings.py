"""The drawn waste: same seed, same bytes; every shape is there; the split holds."""

import hashlib

import numpy as np
import pytest

from device.errors import UsageError
from device.simulator.drawings import HELD_OUT_SHAPES, LABELS, SHAPES, TRAINING_SHAPES, draw_item

EVERY_SHAPE = [(label, shape) for label in LABELS for shape in SHAPES[label]]


def digest(label: str, seed: int, shape: str | None = None, size_px: int = 64) -> str:
    return hashlib.sha256(draw_item(label, seed, shape, size_px).tobytes()).hexdigest()


def test_draws_the_seven_materials_in_alphabetical_order() -> None:
    assert LABELS == ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")


def test_training_and_held_out_shapes_are_the_shapes_and_nothing_is_in_both() -> None:
    assert {label: set(TRAINING_SHAPES[label]) | set(HELD_OUT_SHAPES[label]) for label in LABELS} == {
        label: set(SHAPES[label]) for label in LABELS
    }
    assert [label for label in LABELS if set(TRAINING_SHAPES[label]) & set(HELD_OUT_SHAPES[label])] == []
    assert min(len(SHAPES[label]) for label in LABELS) >= 5
    assert min(len(HELD_OUT_SHAPES[label]) for label in LABELS) >= 2


@pytest.mark.parametrize(("label", "shape"), EVERY_SHAPE)
def test_each_shape_fills_its_canvas_without_leaving_it(label: str, shape: str) -> None:
    rgba = draw_item(label, 3, shape, 64)
    alpha = rgba[..., 3]

    assert (rgba.shape, rgba.dtype.name) == ((64, 64, 4), "uint8")
    assert 0.04 < float((alpha > 100).mean()) < 0.95
    # Its longer side reaches across the canvas, and its border stays free.
    covered = max(np.ptp(np.nonzero(alpha.max(0) > 20)[0]), np.ptp(np.nonzero(alpha.max(1) > 20)[0])) + 1
    assert covered >= 54
    assert int(np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).max()) < 128
    assert int(rgba[alpha == 0].max()) == 0


@pytest.mark.parametrize(("label", "shape"), EVERY_SHAPE)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(label: str, shape: str) -> None:
    assert digest(label, 7, shape) == digest(label, 7, shape)
    assert digest(label, 7, shape) != digest(label, 8, shape)


def test_the_seed_chooses_the_shape_when_none_is_named() -> None:
    drawn = {digest("metal", seed) for seed in range(24)}
    named = {digest("metal", seed, shape) for seed in range(24) for shape in SHAPES["metal"]}

    assert len(drawn) == 24
    assert drawn < named


def test_glass_and_film_let_the_background_through() -> None:
    middle = slice(24, 40)
    seen = [draw_item("glass", seed, "tumbler", 64)[middle, middle, 3].min() for seed in range(6)]

    assert max(seen) < 200


def test_a_label_or_shape_that_cannot_be_drawn_is_named_with_those_that_can() -> None:
    with pytest.raises(UsageError) as label:
        draw_item("wood", 1)
    with pytest.raises(UsageError) as shape:
        draw_item("organic", 1, "bottle")

    assert str(label.value) == (
        "drawings: no label 'wood'; can draw cardboard, glass, metal, organic, paper, plastic, trash. "
        "Choose one of these"
    )
    assert str(shape.value) == (
        "drawings: organic has no shape 'bottle'; it has banana, banana_peel, apple, apple_core, leaf, carrot, "
        "egg_shell, orange_peel, potato, pear, cucumber, bread. Choose one of these"
    )
