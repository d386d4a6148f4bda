"""What is taken away is gone, and what is left is left."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.shortcuts import background_alone, colour_cast, found_outline, grey, item_alone, middle, shortcuts

BOARD = np.array([200, 195, 190], np.uint8)
RED = np.array([200, 30, 20], np.uint8)


def photograph(item: NDArray[np.uint8] = RED, grain: float = 0.0) -> NDArray[np.uint8]:
    """An item of 160 x 120 px on a board that darkens to the right, uint8 RGB [300, 400, 3]."""
    light = np.linspace(1, 0.85, 400)[None, :, None]
    rgb = np.broadcast_to(BOARD * light, (300, 400, 3)).copy()
    rgb[90:210, 120:280] = item
    noise = np.random.default_rng(1).normal(0, grain, rgb.shape[:2])[..., None] if grain else 0
    return np.clip(np.round(rgb + noise), 0, 255).astype(np.uint8)


def outlined(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = found_outline(rgb)
    assert alpha is not None
    return alpha


def test_the_background_alone_shows_nothing_of_the_item() -> None:
    rgb = photograph()
    alone = background_alone(rgb, outlined(rgb))
    empty = np.round(np.broadcast_to(BOARD * np.linspace(1, 0.85, 400)[None, :, None], (300, 400, 3)))
    assert alone.shape == rgb.shape
    assert alone.dtype == np.uint8
    assert np.abs(alone - empty).max() <= 8
    # Far from the item nothing was touched.
    assert np.array_equal(alone[:40], rgb[:40])


def test_a_shadow_beside_the_item_goes_with_it() -> None:
    rgb = photograph()
    alpha = outlined(rgb)
    rgb[90:210, 280:288] = 150
    assert background_alone(rgb, alpha)[150, 282:288].min() >= 165


def test_the_item_alone_shows_nothing_of_the_board() -> None:
    rgb = photograph()
    alone = item_alone(rgb, outlined(rgb))
    assert alone[150, 200].tolist() == RED.tolist()
    assert np.unique(alone[:70]).tolist() == [128]
    assert np.unique(alone[:, 320:]).tolist() == [128]


def test_no_outline_is_believed_in_a_picture_that_shows_none() -> None:
    rng = np.random.default_rng(5)
    clutter = rng.integers(0, 255, (30, 40, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    assert found_outline(clutter) is None


def test_a_textured_sheet_that_fills_the_picture_is_no_background() -> None:
    # The print is found, and what is left around it is the sheet itself.
    assert found_outline(photograph(grain=0.5)) is not None
    assert found_outline(photograph(grain=2.5)) is None


def test_an_item_that_leaves_no_background_is_not_used() -> None:
    rgb = photograph()
    rgb[12:288, 16:384] = RED
    assert found_outline(rgb) is None


def test_grey_has_no_colour_and_keeps_its_brightness() -> None:
    without = grey(photograph())
    assert np.ptp(without, axis=2).max() == 0
    assert without[150, 200, 0] == round(0.299 * 200 + 0.587 * 30 + 0.114 * 20)


def test_a_cast_changes_the_colours_and_hardly_the_brightness() -> None:
    flat = np.full((4, 4, 3), 120, np.uint8)
    casts = [colour_cast(flat, np.random.default_rng(seed)) for seed in range(20)]
    assert np.mean([np.ptp(cast[0, 0]) for cast in casts]) > 30
    first, second = casts[1:3]
    assert first.mean() == pytest.approx(120, abs=1)
    assert first[0, 0].tolist() != second[0, 0].tolist()
    assert np.array_equal(first, colour_cast(flat, np.random.default_rng(1)))


def test_only_what_can_be_made_is_made() -> None:
    rng = np.random.default_rng(1)
    assert list(shortcuts(photograph(), rng)) == [
        "as it is", "middle covered", "grey", "colour cast", "background alone", "item alone",
    ]  # fmt: skip
    empty = shortcuts(np.zeros((60, 80, 3), np.uint8), rng)
    assert list(empty) == ["as it is", "middle covered", "grey", "colour cast"]


def test_the_middle_hides_what_is_held_there_and_leaves_the_rim() -> None:
    rgb = np.full((300, 400, 3), 60, np.uint8)
    rgb[90:210, 120:280] = RED
    covered = background_alone(rgb, middle(rgb))
    assert np.unique(covered).tolist() == [60]
    assert np.unique(middle(rgb)[:44]).tolist() == [0]
    assert middle(rgb)[150, 70] == 255


def test_the_photograph_itself_is_not_written_to() -> None:
    rgb = photograph()
    rgb.setflags(write=False)
    assert shortcuts(rgb, np.random.default_rng(1))["as it is"] is rgb
