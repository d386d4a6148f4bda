"""The printed card is found whatever the camera does to it."""

import cv2
import numpy as np
import pytest

from device.calibrate.card import CARD_PX, draw_card, edge_width_px, find_card
from device.camera.frame import Rgb

SIZE_PX = (640, 480)
SIDE_PX = 180


def photograph(turn_deg: float = 0.0, blur_px: float = 0.0, gains: tuple[float, ...] = (1, 1, 1)) -> Rgb:
    """The card on a grey table, upper left corner at (200, 120) before it is turned about its middle."""
    rgb = np.full((SIZE_PX[1], SIZE_PX[0], 3), 105, np.uint8)
    small = cv2.resize(draw_card(), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    rgb[120 : 120 + SIDE_PX, 200 : 200 + SIDE_PX] = small
    turn = cv2.getRotationMatrix2D((200 + SIDE_PX / 2, 120 + SIDE_PX / 2), turn_deg, 1.0)
    seen = cv2.warpAffine(rgb, turn, SIZE_PX, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    if blur_px:
        seen = cv2.GaussianBlur(seen, (0, 0), blur_px)
    return (seen * np.array(gains, np.float32)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn_deg", [0, 14, 90, 200])
def test_says_where_it_lies_which_way_round_and_what_colours_its_patches_have(turn_deg: float) -> None:
    card = find_card(photograph(turn_deg))
    assert card is not None
    middle = np.array((200 + SIDE_PX / 2, 120 + SIDE_PX / 2))
    turn = np.radians(-turn_deg)
    corner = np.array((-SIDE_PX / 2, -SIDE_PX / 2))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    expected = middle + turned @ corner
    assert np.abs(card.corners_px[0] - expected).max() < 1.5
    rounded = {name: tuple(round(level / 10) * 10 for level in colour) for name, colour in card.patches.items()}
    assert rounded == {
        "dark": (110, 110, 110),
        "light": (150, 150, 150),
        "red": (190, 40, 40),
        "blue": (40, 60, 180),
        "green": (50, 150, 60),
    }


def test_is_found_in_the_wrong_colours_and_not_where_there_is_none() -> None:
    card = find_card(photograph(5, gains=(1.4, 1.0, 0.5))[..., ::-1].copy())
    assert card is not None
    assert card.patches["red"][2] > 2 * card.patches["red"][0]
    assert find_card(np.full((480, 640, 3), 120, np.uint8)) is None


def test_its_edges_and_those_of_any_picture_say_how_sharp_the_lens_draws() -> None:
    widths = [find_card(photograph(10, blur_px)).edge_px for blur_px in (0.0, 1.0, 2.0, 3.0)]  # type: ignore[union-attr]
    assert widths == sorted(widths)
    assert widths[0] < 1.0
    assert widths[2] > 1.5
    any_widths = [edge_width_px(photograph(10, blur_px)) or 0.0 for blur_px in (0.0, 2.0, 5.0)]
    assert any_widths == sorted(any_widths)
    assert any_widths[0] < 1.3
    assert any_widths[2] > 3.0


def test_a_picture_without_edges_tells_no_sharpness() -> None:
    assert edge_width_px(np.full((480, 640, 3), 120, np.uint8)) is None


def test_the_card_is_as_large_as_it_says() -> None:
    assert draw_card().shape == (CARD_PX, CARD_PX, 3)
