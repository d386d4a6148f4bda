"""The printed card: drawn here, and found again in a picture of it.

    draw_card -> a printer -> the tray -> camera -> find_card -> Card: colours, corners, edges

Four ArUco markers (Garrido-Jurado 2014, OpenCV's own) say where it lies and which way round, whatever the colours are;
between them are two greys, red, green and blue. Grey proves the white balance, red and blue prove the colour order, and
the markers' black edges are as sharp as the lens draws them.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb

__all__ = ["CARD_PX", "Card", "draw_card", "edge_width_px", "find_card"]

CARD_PX: Final = 1000
"""Side of the card, in its own units."""

_MARKER: Final = 280
_MARGIN: Final = 60
_PLACES: Final = (
    (_MARGIN, _MARGIN),
    (CARD_PX - _MARGIN - _MARKER, _MARGIN),
    (CARD_PX - _MARGIN - _MARKER, CARD_PX - _MARGIN - _MARKER),
    (_MARGIN, CARD_PX - _MARGIN - _MARKER),
)
"""Upper left corner of markers 0 to 3."""

_PATCHES: Final = {
    "dark": ((385, 75, 230, 250), (110, 110, 110)),
    "light": ((385, 385, 230, 230), (150, 150, 150)),
    "red": ((75, 385, 250, 230), (190, 45, 45)),
    "blue": ((675, 385, 250, 230), (45, 60, 185)),
    "green": ((385, 675, 230, 250), (50, 150, 60)),
}
"""Name -> x, y, width, height on the card, and its colour."""

_DICTIONARY: Final = cv2.aruco.DICT_4X4_50
_LEAST_CONTRAST: Final = 60.0
_SQRT_2_PI: Final = math.sqrt(2 * math.pi)

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """A card in a picture.

    Attributes:
        corners_px: float32 [4, 2], its outline from the upper left clockwise, as it was drawn.
        patches: name -> mean red, green, blue, 0-255.
        edge_px: width of its edges: the deviation of the blur, px; a sharp picture has about 1.
    """

    corners_px: F32
    patches: dict[str, tuple[float, float, float]]
    edge_px: float


def draw_card() -> Rgb:
    """The card as it is printed, uint8 [1000, 1000, 3]; any size from 8 cm will do."""
    card = np.full((CARD_PX, CARD_PX, 3), 250, np.uint8)
    dictionary = cv2.aruco.getPredefinedDictionary(_DICTIONARY)
    for number, (x, y) in enumerate(_PLACES):
        marker = cv2.aruco.generateImageMarker(dictionary, number, _MARKER)
        card[y : y + _MARKER, x : x + _MARKER] = np.maximum(marker, 12)[..., None]
    for (x, y, w, h), colour in _PATCHES.values():
        card[y : y + h, x : x + w] = colour
    return card


def find_card(rgb: Rgb) -> Card | None:
    """Find the card.

    Args:
        rgb: uint8 [H, W, 3], in any colours.

    Returns:
        None where fewer than two of its markers can be read.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    dictionary = cv2.aruco.getPredefinedDictionary(_DICTIONARY)
    detector = cv2.aruco.ArucoDetector(dictionary, cv2.aruco.DetectorParameters())
    corners, numbers, _ = detector.detectMarkers(grey)
    known: list[tuple[float, float]] = []
    seen: list[Any] = []
    for quad, number in zip(corners, [] if numbers is None else numbers.ravel(), strict=False):
        if int(number) < len(_PLACES):
            x, y = _PLACES[int(number)]
            known += [(x, y), (x + _MARKER, y), (x + _MARKER, y + _MARKER), (x, y + _MARKER)]
            seen += list(quad.reshape(4, 2))
    if len(known) < 8:
        return None
    # A marker's corner is half a pixel off the middle of its outermost pixel, on the card as in the picture.
    to_picture, _ = cv2.findHomography(np.array(known, np.float32), np.array(seen, np.float32), cv2.RANSAC, 3.0)
    if to_picture is None:
        return None
    outline = _map(to_picture, np.array([(0, 0), (CARD_PX, 0), (CARD_PX, CARD_PX), (0, CARD_PX)], np.float32))
    patches = {name: _mean(rgb, to_picture, box) for name, (box, _) in _PATCHES.items()}
    return Card(outline, patches, _edge_px(grey, to_picture))


def edge_width_px(rgb: Rgb) -> float | None:
    """How sharp the sharpest edges of any picture are, as `Card.edge_px`; None where it has none."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (3, 3), 0)
    around = np.ones((25, 25), np.uint8)
    contrast = cv2.dilate(grey, around) - cv2.erode(grey, around)
    slope = cv2.magnitude(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=0.125), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    )
    strong = contrast > _LEAST_CONTRAST
    if np.count_nonzero(strong) < 200:
        return None
    steepest = float(np.percentile(slope[strong] / contrast[strong], 99.5))
    return 1.0 / (_SQRT_2_PI * max(steepest, 1e-3))


def _map(to_picture: NDArray[Any], points: F32) -> F32:
    return np.asarray(cv2.perspectiveTransform(points.reshape(1, -1, 2), to_picture)[0], np.float32)


def _mean(rgb: Rgb, to_picture: NDArray[Any], box: tuple[int, int, int, int]) -> tuple[float, float, float]:
    """The middle of a patch: its rim is mixed with what lies beside it."""
    x, y, w, h = box
    across, down = np.meshgrid(np.linspace(x + w * 0.3, x + w * 0.7, 12), np.linspace(y + h * 0.3, y + h * 0.7, 12))
    at = _map(to_picture, np.stack([across.ravel(), down.ravel()], 1).astype(np.float32))
    seen = cv2.remap(rgb, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    red, green, blue = np.median(seen.reshape(-1, 3).astype(np.float32), axis=0)
    return float(red), float(green), float(blue)


def _edge_px(grey: NDArray[Any], to_picture: NDArray[Any]) -> float:
    """The median over the outer edges of all markers."""
    widths = []
    depth = np.linspace(-40, 50, 181)
    for x, y in _PLACES:
        along = np.linspace(0.2, 0.8, 13) * _MARKER
        for origin, way, out in (
            ((x, y), (1, 0), (0, -1)),
            ((x, y), (0, 1), (-1, 0)),
            ((x + _MARKER, y), (0, 1), (1, 0)),
            ((x, y + _MARKER), (1, 0), (0, 1)),
        ):
            points = (
                np.array(origin)
                + along[:, None, None] * np.array(way)
                + depth[None, :, None] * np.array(out, np.float64)
            ).astype(np.float32)
            at = _map(to_picture, points.reshape(-1, 2)).reshape(*points.shape)
            seen = cv2.remap(grey, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            profile = seen.astype(np.float32).mean(axis=0)
            length_px = float(np.linalg.norm(at[6, -1] - at[6, 0]))
            contrast = float(profile.max() - profile.min())
            if contrast < 20.0 or length_px < 3.0:
                continue
            per_px = (len(depth) - 1) / length_px
            span = max(1, round(per_px))
            slope = float(np.abs(profile[span:] - profile[:-span]).max()) / (span / per_px)
            widths.append(contrast / (slope * _SQRT_2_PI))
    return float(np.median(widths)) if widths else math.inf
