"""Training pictures: the same seed gives the same bytes, every effect does what it is for, the item stays in view."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.simulator.scene import paste
from trainer.augment import Augmenter
from trainer.recipe import Augment

U8 = NDArray[np.uint8]
NONE = dict.fromkeys(Augment.__dataclass_fields__, 0.0)
SIDE_PX = 48


@cache
def augmenter(**shares: float) -> Augmenter:
    return Augmenter(Augment(**{**NONE, **shares}), SIDE_PX, seed=1)


def soft_picture() -> U8:
    """Smooth colours, so that noise and compression show against it."""
    y, x = np.mgrid[0:224, 0:224]
    return np.stack([60 + x / 2, 190 - y / 2, 90 + (x + y) / 8], axis=2).astype(np.uint8)


def striped_picture() -> U8:
    picture = soft_picture()
    picture[:, np.arange(224) // 12 % 2 == 0] = (235, 40, 30)
    return picture


WHOLE = np.full((224, 224), 255, np.uint8)


def item() -> U8:
    """A magenta L on nothing, uint8 [90, 120, 4]: no turn of it looks like another, and nothing else is magenta."""
    rgba = np.zeros((90, 120, 4), np.uint8)
    rgba[..., :3] = (250, 0, 250)
    rgba[5:85, 10:50, 3] = 255
    rgba[60:85, 10:115, 3] = 255
    return rgba


def magenta(rgb: U8) -> NDArray[np.bool_]:
    red, green, blue = (rgb[..., channel].astype(int) for channel in range(3))
    return (red > 110) & (blue > 110) & (green < 0.6 * red)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


# Every picture


@pytest.mark.parametrize("seed", range(12))
def test_a_training_picture_is_a_square_of_bytes(seed: int) -> None:
    full = Augmenter(Augment(), 64, seed=1)
    for made in (full.photograph(striped_picture(), WHOLE, rng(seed)), full.item(item(), rng(seed))):
        assert (made.dtype, made.shape) == (np.uint8, (64, 64, 3))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, second = Augmenter(Augment(), 64, seed=1), Augmenter(Augment(), 64, seed=1)
    for seed in range(6):
        made = first.photograph(striped_picture(), WHOLE, rng(seed))
        assert np.array_equal(made, second.photograph(striped_picture(), WHOLE, rng(seed)))
        assert not np.array_equal(made, first.photograph(striped_picture(), WHOLE, rng(seed + 100)))
        made = first.item(item(), rng(seed))
        assert np.array_equal(made, second.item(item(), rng(seed)))


def test_what_is_handed_in_is_not_written_to() -> None:
    full = Augmenter(Augment(**dict.fromkeys(NONE, 1.0)), SIDE_PX, seed=1)
    rgb, alpha, rgba = striped_picture(), WHOLE.copy(), item()
    before = rgb.copy(), alpha.copy(), rgba.copy()
    for array in (rgb, alpha, rgba):
        array.setflags(write=False)
    for seed in range(4):
        full.photograph(rgb, alpha, rng(seed))
        full.item(rgba, rng(seed))
    assert [np.array_equal(a, b) for a, b in zip((rgb, alpha, rgba), before, strict=True)] == [True] * 3


# One effect at a time


def test_without_effects_a_photograph_is_only_cropped_and_stretched() -> None:
    plain = np.full((224, 224, 3), (200, 100, 50), np.uint8)
    made = augmenter().photograph(plain, WHOLE, rng())
    assert made.reshape(-1, 3).tolist() == [[200, 100, 50]] * SIDE_PX**2


def roughness(rgb: U8) -> float:
    return float(np.abs(cv2.Laplacian(rgb.astype(np.float32), cv2.CV_32F)).mean())


def is_grey(rgb: U8) -> bool:
    return bool((rgb == rgb[..., :1]).all())


@pytest.mark.parametrize(
    ("effect", "picture", "shows"),
    [
        ("grey", striped_picture, lambda before, after: is_grey(after) and not is_grey(before)),
        ("blur", striped_picture, lambda before, after: roughness(after) < 0.9 * roughness(before)),
        ("noise", soft_picture, lambda before, after: roughness(after) > 1.5 * roughness(before)),
        ("jpeg", striped_picture, lambda before, after: 0.5 < np.abs(after.astype(int) - before).mean() < 25),
        ("colour", soft_picture, lambda before, after: np.abs(after.mean((0, 1)) - before.mean((0, 1))).max() > 3),
    ],
)
def test_an_effect_does_what_it_is_for(effect: str, picture: Callable[[], U8], shows: Callable[[U8, U8], bool]) -> None:
    seen = []
    for seed in range(8):
        before = augmenter().photograph(picture(), WHOLE, rng(seed))
        after = augmenter(**{effect: 1.0}).photograph(picture(), WHOLE, rng(seed))
        seen.append(bool(shows(before, after)))
    assert sum(seen) >= 7, seen  # a mild draw may hardly show


def test_jpeg_keeps_the_colours_in_their_order() -> None:
    plain = np.full((224, 224, 3), (200, 100, 50), np.uint8)
    made = augmenter(jpeg=1.0).photograph(plain, WHOLE, rng())
    assert np.abs(made.astype(int) - (200, 100, 50)).max() <= 6


def test_rotation_turns_the_stripes() -> None:
    def slants(shares: dict[str, float]) -> list[float]:
        made = [augmenter(**shares).photograph(striped_picture(), WHOLE, rng(seed))[..., 1] for seed in range(6)]
        up = [float(np.abs(np.diff(rgb.astype(int), axis=0)).mean()) for rgb in made]
        along = [float(np.abs(np.diff(rgb.astype(int), axis=1)).mean()) for rgb in made]
        return [a / (a + b) for a, b in zip(up, along, strict=True)]

    assert max(slants({})) < 0.1  # stripes run down, whatever the crop
    assert max(slants({"rotate": 1.0})) > 0.3


def test_a_composite_is_set_into_a_bin() -> None:
    rgb = np.full((224, 224, 3), (250, 0, 250), np.uint8)
    alpha = np.zeros((224, 224), np.uint8)
    alpha[60:170, 80:150] = 255
    kept = magenta(augmenter().photograph(rgb, alpha, rng())).mean()
    shares = [magenta(augmenter(composite=1.0).photograph(rgb, alpha, rng(seed))).mean() for seed in range(10)]
    assert kept == 1.0
    assert max(shares) < 0.9
    assert min(shares) > 0.05


def test_every_kind_of_background_occurs() -> None:
    # One background in five is a smooth sweep of colours, the others are painted bins.
    made = [augmenter().item(item(), rng(seed)) for seed in range(40)]
    assert len({picture.tobytes() for picture in made}) == 40


# Where the item is


@pytest.mark.parametrize("angle_deg", [0, 30, 90, -120, 180, 271])
@pytest.mark.parametrize("size_px", [120.0, 200.0])
def test_the_box_is_where_the_item_was_pasted(angle_deg: float, size_px: float) -> None:
    centre = (170.0, 150.0)
    scene = paste(np.zeros((320, 320, 3), np.uint8), item(), centre, size_px, angle_deg, rng=rng(), shadow=False)
    rows, columns = np.nonzero(scene[..., 0] > 60)
    true = (columns.min(), rows.min(), np.ptp(columns), np.ptp(rows))
    found = Augmenter._box(item(), size_px, angle_deg, centre)
    # It looks at every fourth pixel of the item, so it may miss a tip on either side.
    assert np.abs(np.subtract(found, true)).max() <= 0.06 * size_px


def test_the_box_of_something_nearly_transparent_is_its_whole_square() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    assert Augmenter._box(rgba, 100.0, 30.0, (160.0, 150.0)) == (110.0, 100.0, 100.0, 100.0)


def test_the_item_is_inside_the_crop_mirrored_or_not() -> None:
    shares, middles = [], []
    for seed in range(200):
        # A background may be magenta too; where another colour of item changes the picture, there is the item.
        other = item()
        other[..., :3] = (0, 250, 0)
        pictures = [augmenter().item(rgba, rng(seed)).astype(int) for rgba in (item(), other)]
        seen = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
        shares.append(float(seen.mean()))
        rows, columns = np.nonzero(seen)
        box = np.array([rows.min(), rows.max(), columns.min(), columns.max()])
        if box.min() > 0 and box.max() < SIDE_PX - 1:  # whole in the picture, so that its middle is known
            middles.append([(box[0] + box[1]) / 2, (box[2] + box[3]) / 2])
    # The L covers about half of its box, the crop is 0.95 to 1.55 times the box.
    assert min(shares) > 0.08
    assert max(shares) < 0.75
    # It lies off the middle by at most 0.14 of the crop's side, and a pixel or two of the box's own error.
    assert len(middles) > 20
    assert np.abs(np.array(middles) - (SIDE_PX - 1) / 2).max() < 0.19 * SIDE_PX
