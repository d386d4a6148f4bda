"""The empty bin: floor, walls, rim, dirt and the light on them.

random numbers -> paint_bin, light_map -> uint8 RGB of an empty bin

Every bin looks different, as bins do: plastic, metal, wood or paint in any colour. It must never draw anything that
could be taken for an item.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb
from device.simulator.brush import Floats, darker, hsv

__all__ = ["interior", "light_map", "paint_bin", "to_bytes"]


def _tray_corners(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """The floor's corners: top left, top right, bottom right, bottom left; narrower at the far end."""
    far, near = rng.uniform(0.1, 0.16), rng.uniform(0.05, 0.09)
    top, low = rng.uniform(0.08, 0.14), rng.uniform(0.93, 0.96)
    corners = np.array([(far, top), (1 - far, top), (1 - near, low), (near, low)], np.float32)
    return (corners * (width, height)).astype(np.float32)


def _noise(rng: np.random.Generator, width: int, height: int, cells_x: int, cells_y: int) -> Floats:
    small = rng.uniform(-1, 1, (max(2, cells_y), max(2, cells_x))).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _texture(rng: np.random.Generator, width: int, height: int) -> tuple[Floats, tuple[float, float, float]]:
    """The floor's material: a brightness pattern about 1, float32 [H, W], and its colour 0-1."""
    kind = ("plastic", "metal", "wood", "paint")[int(rng.integers(4))]
    grain = rng.standard_normal((height, width), np.float32)
    if kind == "plastic":
        colour = hsv(rng.uniform(), rng.choice([0.04, 0.5]) * rng.uniform(0.5, 1.2), rng.uniform(0.3, 0.8))
        pattern = 1 + 0.02 * cv2.GaussianBlur(grain, (0, 0), 1.0) * 2 + 0.03 * _noise(rng, width, height, 8, 6)
    elif kind == "metal":
        colour = hsv(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.07), rng.uniform(0.5, 0.75))
        pattern = 1 + 0.16 * cv2.blur(grain, (61, 1)) + 0.06 * _noise(rng, width, height, 3, 80)
    elif kind == "wood":
        colour = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.7))
        x, y = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32))
        rings = np.sin((y + 0.05 * _noise(rng, width, height, 4, 6) + 0.1 * (x - 0.5) ** 2) * rng.uniform(60, 120))
        pattern = 1 + 0.07 * rings + 0.1 * cv2.blur(grain, (41, 1))
    else:
        colour = hsv(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.85))
        pattern = 1 + 0.05 * _noise(rng, width, height, 5, 4) + 0.02 * grain
        for _ in range(int(rng.integers(2, 9))):
            start = rng.uniform(0, (width, height))
            end = start + rng.normal(0, 0.15, 2) * (width, height)
            stroke = [(int(v[0] * 16), int(v[1] * 16)) for v in (start, end)]
            scratch = np.zeros((height, width), np.uint8)
            cv2.line(scratch, stroke[0], stroke[1], 255, 1, cv2.LINE_AA, 4)
            pattern = pattern + scratch.astype(np.float32) / 255 * rng.uniform(-0.25, 0.25)
    return np.asarray(pattern, np.float32), colour


def light_map(rng: np.random.Generator, size_px: tuple[int, int]) -> Floats:
    """Uneven light with a bright spot and dark corners, float32 [H, W], about 0.4 to 1.25."""
    width, height = size_px
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    spot = rng.uniform(-0.8, 0.8, 2)
    lit = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / rng.uniform(0.8, 2.5))
    lean = rng.uniform(-0.12, 0.12, 2)
    corners = 1 - rng.uniform(0.08, 0.25) * (x * x + y * y) / 2
    return np.asarray((0.75 + 0.35 * lit + lean[0] * x + lean[1] * y) * corners, np.float32)


def paint_bin(rng: np.random.Generator, size_px: tuple[int, int]) -> tuple[Floats, NDArray[np.float32]]:
    """The empty bin in even light, float32 [H, W, 3], 0-1; and the corners of its floor."""
    width, height = size_px
    corners = _tray_corners(rng, width, height)
    pattern, colour = _texture(rng, width, height)
    inset = rng.uniform(0.0, 0.03)
    rim = np.array([(inset, inset), (1 - inset, inset), (1 - inset, 1 - inset), (inset, 1 - inset)]) * (width, height)
    wall_tone = darker(colour, rng.uniform(0.6, 1.1)) if rng.random() < 0.7 else hsv(rng.uniform(), 0.1, 0.4)
    shade = np.ones((height, width), np.float32)
    is_floor = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(is_floor, np.round(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    for side in range(4):
        wall = np.array([rim[side], rim[(side + 1) % 4], corners[(side + 1) % 4], corners[side]])
        face = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(face, np.round(wall * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
        shade += (np.float32(rng.uniform(0.55, 1.0)) - shade) * (face.astype(np.float32) / 255)
    floor = (is_floor.astype(np.float32) / 255)[..., None]
    rgb = np.asarray(wall_tone, np.float32) * shade[..., None] * (1 - floor) + np.asarray(colour, np.float32) * floor
    rgb = rgb * (1 + (pattern[..., None] - 1) * (0.4 + 0.6 * floor))
    # Corners collect dark, and dirt.
    edge = np.zeros((height, width), np.uint8)
    cv2.polylines(edge, [np.round(corners * 16).astype(np.int32)], True, 255, max(2, width // 90), cv2.LINE_AA, 4)
    rgb *= 1 - 0.5 * cv2.GaussianBlur(edge.astype(np.float32) / 255, (0, 0), width / 90)[..., None]
    stains = np.clip(_noise(rng, width, height, 7, 5) - rng.uniform(0.5, 0.9), 0, 1)
    rgb *= 1 - 0.5 * rng.uniform(0, 1) * stains[..., None]
    return np.asarray(rgb, np.float32), corners


def to_bytes(rgb: Floats) -> Rgb:
    """Colour of 0-1 as uint8, 0-255, clipped."""
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)


def interior(rng: np.random.Generator, size_px: tuple[int, int] = (640, 480)) -> Rgb:
    """Paint a random empty bin: material, hue, walls, light and dirt.

    Args:
        rng: where its random numbers come from.
        size_px: width and height.

    Returns:
        uint8 [H, W, 3], 0-255, RGB.
    """
    painted, _ = paint_bin(rng, size_px)
    return to_bytes(painted * light_map(rng, size_px)[..., None])
