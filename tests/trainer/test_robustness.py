"""Every change does what it says, as much as it says."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.robustness import CHANGES, changed, turned

BY_NAME = {change.name: change for change in CHANGES}


def picture() -> NDArray[np.uint8]:
    """Coloured blocks, uint8 RGB [60, 80, 3]."""
    rng = np.random.default_rng(8)
    return rng.integers(40, 200, (6, 8, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)


def apply(name: str, strength: float, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return BY_NAME[name].apply(rgb, strength, np.random.default_rng(3))


def test_these_are_tried() -> None:
    assert {change.name: (change.none_at, change.strengths) for change in CHANGES} == {
        "rotation": (0, (15, 30, 45, 90, 180)),
        "blur": (0, (0.5, 1, 2, 3)),
        "brightness": (0, (-75, -50, -25, 25, 50, 75)),
        "noise": (0, (5, 10, 20, 40)),
        "JPEG": (100, (70, 40, 20, 10)),
        "colour": (0, (-40, -20, 20, 40)),
    }


def test_every_strength_is_made_once_and_none_is_the_picture_itself() -> None:
    made = list(changed(picture(), 32, np.random.default_rng(1)))
    count = Counter(name for name, _, _ in made)
    assert count == {change.name: len(change.strengths) for change in CHANGES}
    assert len({(name, at) for name, at, _ in made}) == len(made)
    assert all(rgb.dtype == np.uint8 and rgb.shape[2] == 3 for _, _, rgb in made)
    assert {rgb.shape for name, _, rgb in made if name != "rotation"} == {(32, 32, 3)}
    assert not any(change.none_at in change.strengths for change in CHANGES)


def test_a_quarter_turn_and_a_half_turn_lose_nothing() -> None:
    rgb = picture()
    assert np.array_equal(turned(rgb, 90), np.rot90(rgb))
    assert np.array_equal(turned(rgb, 180), np.rot90(rgb, 2))
    assert np.array_equal(turned(rgb, 0), rgb)


def test_a_turn_keeps_the_scale_and_fills_the_corners() -> None:
    rgb = np.full((60, 80, 3), 200, np.uint8)
    rgb[25:35, 20:60] = 0
    for degrees in (15, 30, 45):
        round_about = turned(rgb, degrees)
        assert (200 - round_about[..., 0].astype(int)).sum() == pytest.approx(200 * 400, rel=0.02)
        assert round_about[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [[200] * 3] * 4


def test_brightness_by_hand() -> None:
    rgb = np.array([[[100, 200, 0]]], np.uint8)
    assert apply("brightness", -25, rgb).tolist() == [[[75, 150, 0]]]
    assert apply("brightness", 50, rgb).tolist() == [[[150, 255, 0]]]


def test_colour_by_hand() -> None:
    rgb = np.array([[[100, 100, 100]]], np.uint8)
    assert apply("colour", 40, rgb).tolist() == [[[140, 100, 60]]]
    assert apply("colour", -20, rgb).tolist() == [[[80, 100, 120]]]


def test_noise_has_the_strength_it_says() -> None:
    flat = np.full((100, 100, 3), 128, np.uint8)
    assert apply("noise", 10, flat).astype(float).std() == pytest.approx(10, rel=0.05)


def test_blur_spreads_a_point_by_its_sigma() -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    spread = apply("blur", 1, point)[..., 0].astype(float)
    away = (np.arange(41) - 20.0) ** 2
    assert np.sqrt((spread.sum(axis=0) * away).sum() / spread.sum()) == pytest.approx(1, rel=0.05)


def test_more_compression_is_further_off_and_keeps_the_colours_in_place() -> None:
    rgb = picture()
    off = [float(np.abs(apply("JPEG", quality, rgb).astype(int) - rgb).mean()) for quality in (70, 40, 20, 10)]
    assert off == sorted(off)
    assert 0 < off[0] < 12
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert apply("JPEG", 70, red)[16, 16].tolist() == pytest.approx([200, 0, 0], abs=6)


# A quarter turn is not further off than an eighth; JPEG has a test of its own.
@pytest.mark.parametrize("name", ["blur", "brightness", "noise", "colour"])
def test_more_of_a_change_is_further_from_the_picture(name: str) -> None:
    rgb = picture()
    off = {at: float(np.abs(apply(name, at, rgb).astype(int) - rgb).mean()) for at in BY_NAME[name].strengths}
    for sign in (-1, 1):
        ways = [off[at] for at in sorted(off, key=abs) if at * sign > 0]
        assert ways == sorted(ways)
    assert min(off.values()) > 0
