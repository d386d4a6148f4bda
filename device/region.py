"""The part of the camera's picture that shows the tray: made small for the gate, and cut out for the classifier.

    camera.Frame.rgb -> Region.shrink -> gate -> box -> Region.to_picture -> cut_square -> crop

It must never hand out memory of a frame. No clock, no state.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from device.background import Floats
from device.camera.frame import Rgb
from device.errors import ConfigError

__all__ = ["LEAST_REGION_PX", "Box", "Region", "cut_square", "overlap"]

Box = tuple[int, int, int, int]
"""x, y, width, height."""

GRID_PX = 160
"""Length of the small picture."""

LEAST_REGION_PX = 32
"""Shortest side of a region."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where to look.

    Attributes:
        box_px: in px of the camera's picture; None is all of it.

    Raises:
        ConfigError: it is too small or begins outside the picture.
    """

    box_px: Box | None

    def __post_init__(self) -> None:
        if self.box_px is not None and (min(self.box_px[:2]) < 0 or min(self.box_px[2:]) < LEAST_REGION_PX):
            raise ConfigError(
                f"region: {list(self.box_px)}, expected x and y of 0 or more, width and height of {LEAST_REGION_PX} px "
                "or more; correct it"
            )

    def shrink(self, rgb: Rgb) -> Floats:
        """The region, slightly smoothed; float32 [h, w, 3], 0-255, the longer side `GRID_PX`.

        Raises:
            ConfigError: the region reaches beyond the picture.
        """
        height, width = rgb.shape[:2]
        x, y, w, h = self.box_px or (0, 0, width, height)
        if x + w > width or y + h > height:
            raise ConfigError(
                f"region: {[x, y, w, h]} reaches beyond the camera's picture of {width} x {height} px; "
                "make it fit, or remove it to watch all of the picture"
            )
        scale = GRID_PX / max(w, h)
        size = max(8, round(w * scale)), max(8, round(h * scale))
        small = cv2.resize(rgb[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.blur(small.astype(np.float32), (3, 3)), dtype=np.float32)

    def to_picture(self, box: Box, small: Floats, size_px: tuple[int, int]) -> Box:
        """A box of the small picture in px of the camera's picture, which is `size_px` wide and high."""
        x, y, w, h = self.box_px or (0, 0, *size_px)
        across, down = w / small.shape[1], h / small.shape[0]
        left, top = round(box[0] * across), round(box[1] * down)
        right, bottom = round((box[0] + box[2]) * across), round((box[1] + box[3]) * down)
        return x + left, y + top, right - left, bottom - top


def cut_square(rgb: Rgb, box: Box, margin: float) -> Rgb:
    """A box with a margin, made square; the picture's edge is repeated where the square reaches beyond it.

    Args:
        rgb: uint8 [H, W, 3]; not kept.
        box: in px of this picture.
        margin: added to each side, as a share of the box's longer side.

    Returns:
        uint8 [S, S, 3] with memory of its own.
    """
    x, y, w, h = box
    side = max(1, round(max(w, h) * (1.0 + 2.0 * margin)))
    left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    right, bottom = left + side, top + side
    height, width = rgb.shape[:2]
    inside = rgb[max(top, 0) : bottom, max(left, 0) : right]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), dtype=np.uint8)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0..1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
