"""The network's input, against tensors worked by hand: what trainer and bin must agree on to the bit."""

import numpy as np
import pytest
from numpy.typing import NDArray

from device.bundle import Input, Resize
from device.preprocess import fit, preprocess


def spec(side_px: int, layout: str = "NCHW") -> Input:
    return Input(
        name="pixels",
        dtype="int8",
        layout=layout,
        shape=(1, 3, side_px, side_px) if layout == "NCHW" else (1, side_px, side_px, 3),
        colour="RGB",
        resize=Resize(side_px, side_px, "area", "linear"),
        xor=0x80,
        scale=1 / 128,
        zero_point=-1,
        mean=(127.0,) * 3,
        std=(128.0,) * 3,
    )


def grey(rows: list[list[int]]) -> NDArray[np.uint8]:
    return np.repeat(np.array(rows, np.uint8)[..., None], 3, axis=2)


# 4 x 4 pixels; each quarter's mean is a whole number in every colour.
PICTURE = np.array(
    [
        [[0, 10, 255], [2, 10, 255], [100, 0, 7], [100, 4, 7]],
        [[4, 10, 255], [2, 10, 255], [100, 8, 7], [100, 12, 7]],
        [[255, 0, 128], [255, 0, 128], [0, 255, 0], [0, 255, 255]],
        [[255, 0, 128], [255, 0, 128], [0, 255, 0], [0, 255, 255]],
    ],
    np.uint8,
)
# Means 2 100 / 255 0 in red, 10 6 / 0 255 in green, 255 7 / 128 127.5 in blue; OpenCV rounds the half to even: 128.
RED, GREEN, BLUE = [[2 - 128, 100 - 128], [127, -128]], [[10 - 128, 6 - 128], [-128, 127]], [[127, 7 - 128], [0, 0]]


def test_a_picture_becomes_the_tensor_that_was_worked_by_hand() -> None:
    made = preprocess(PICTURE, spec(2))
    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.int8, (1, 3, 2, 2), True)
    assert made.tolist() == [[RED, GREEN, BLUE]]


def test_nhwc_is_the_same_numbers_in_another_order() -> None:
    made = preprocess(PICTURE, spec(2, "NHWC"))
    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.int8, (1, 2, 2, 3), True)
    assert made.transpose(0, 3, 1, 2).tolist() == [[RED, GREEN, BLUE]]


def test_every_byte_becomes_itself_less_128() -> None:
    ramp = grey([list(range(16 * row, 16 * row + 16)) for row in range(16)])
    assert preprocess(ramp, spec(16))[0, 0].ravel().tolist() == list(range(-128, 128))


def test_a_number_of_the_file_stands_for_the_value_that_training_saw() -> None:
    rule = spec(16)
    ramp = grey([list(range(16 * row, 16 * row + 16)) for row in range(16)])
    numbers = preprocess(ramp, rule)[0, 0].astype(np.float64)
    trained = (ramp[..., 0].astype(np.float64) - rule.mean[0]) / rule.std[0]
    assert ((numbers - rule.zero_point) * rule.scale).tolist() == trained.tolist()


def test_a_small_picture_is_enlarged_linearly() -> None:
    assert fit(grey([[0, 100], [0, 100]]), 4)[..., 0].tolist() == [[0, 25, 75, 100]] * 4


def test_a_large_picture_is_shrunk_by_the_mean_of_all_its_pixels() -> None:
    # Any other way would skip or blur the single bright pixel: 160 / 16 = 10.
    spot = np.zeros((8, 8), np.uint8)
    spot[1, 2] = 160
    assert fit(grey(spot.tolist()), 2)[..., 0].tolist() == [[10, 0], [0, 0]]


def test_the_right_size_is_left_alone() -> None:
    assert fit(PICTURE, 4).tolist() == PICTURE.tolist()


def test_the_whole_of_an_oblong_picture_is_kept() -> None:
    wide = grey([[0, 0, 0, 0, 80, 80, 80, 80]] * 4)
    assert fit(wide, 2)[..., 0].tolist() == [[0, 80], [0, 80]]


def test_a_picture_that_is_small_one_way_counts_as_small() -> None:
    # Two rows, eight columns: OpenCV's area would repeat the rows, linear goes from one to the other.
    low = grey([[0] * 8, [100] * 8])
    assert fit(low, 4)[..., 0].tolist() == [[0] * 4, [25] * 4, [75] * 4, [100] * 4]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "view",
    [
        lambda rgb: np.ascontiguousarray(rgb[::-1, ::-1])[::-1, ::-1],
        np.asfortranarray,
        lambda rgb: np.pad(rgb, ((3, 2), (1, 5), (0, 0)))[3:-2, 1:-5],
        lambda rgb: np.repeat(rgb, 2, axis=1)[:, ::2],
        lambda rgb: np.dstack([rgb, rgb])[..., :3],
    ],
    ids=["read backwards", "columns first", "cut out", "every other column", "of six channels"],
)
def test_how_a_picture_lies_in_memory_changes_nothing(layout: str, view: object) -> None:
    rgb = view(PICTURE)  # type: ignore[operator]
    assert preprocess(rgb, spec(2, layout)).tolist() == preprocess(PICTURE, spec(2, layout)).tolist()


def test_the_picture_is_not_written_to() -> None:
    rgb = PICTURE.copy()
    rgb.setflags(write=False)
    for side_px in (2, 4, 8):
        preprocess(rgb, spec(side_px))
    assert rgb.tolist() == PICTURE.tolist()
