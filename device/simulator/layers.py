"""Lay things into a picture: turned, scaled, streaked by motion, with a shadow.

Rgba + place -> Layer -> blend -> uint8 RGB

All of it is 8-bit OpenCV work on the part of the picture that changes, because a camera waits for it 15 times a
second. It must never write to a drawing: the same one is pasted again in the next frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from device.camera.frame import Rgb
from device.simulator.brush import Rgba

__all__ = ["Layer", "Sprites", "blend", "paste"]

_STILL_PX = 3.0  # slower than this in a frame leaves no visible streak
_LONGEST_STREAK_PX = 56.0
_SHADOW_SHRINK = 4  # a soft shadow has no detail to lose


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One thing in view.

    Attributes:
        rgba: uint8 [H, W, 4], straight alpha; not written to.
        centre_px: where its middle is in the frame (x, y).
        size_px: its longer side in the frame.
        angle_deg: turned anticlockwise.
        velocity_px: how far it moves in one frame (x, y); streaks the picture.
        height: 0 lies on the tray, 1 is high above it; moves and softens the shadow.
    """

    rgba: Rgba
    centre_px: tuple[float, float]
    size_px: float
    angle_deg: float = 0.0
    velocity_px: tuple[float, float] = (0.0, 0.0)
    height: float = 0.0


class Sprites:
    """Drawings made ready for pasting, kept while they are in use: premultiplied, halved until they fit.

    Premultiplied, because a blur or a turn would otherwise drag in the colour that lies under full transparency.
    """

    def __init__(self, keep: int = 12) -> None:
        self._keep = keep
        self._ready: dict[tuple[int, int], tuple[Rgba, Rgba]] = {}

    def get(self, rgba: Rgba, halvings: int) -> Rgba:
        """The drawing, halved so many times, premultiplied; uint8 [h, w, 4], not to be written to."""
        key = (id(rgba), halvings)
        if key not in self._ready:
            while len(self._ready) >= self._keep:
                self._ready.pop(next(iter(self._ready)))
            # The drawing itself is kept beside it: its id stays taken.
            self._ready[key] = (rgba, _premultiplied(rgba, halvings))
        return self._ready[key][1]


def _premultiplied(rgba: Rgba, halvings: int) -> Rgba:
    alpha = rgba[..., 3]
    ready = cv2.multiply(rgba, cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)]), scale=1 / 255)
    for _ in range(halvings):
        ready = cv2.resize(ready, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(ready, np.uint8)


def _streaked(patch: Rgba, velocity_px: tuple[float, float]) -> Rgba:
    """Smear a patch over the way of half a frame: averages of shifted copies, each step halving the gap."""
    speed = float(np.hypot(*velocity_px))
    if speed < _STILL_PX:
        return patch
    reach = min(speed * 0.5, _LONGEST_STREAK_PX)
    step = reach / 2
    while step >= 1:
        dx, dy = velocity_px[0] / speed * step / 2, velocity_px[1] / speed * step / 2
        patch = np.asarray(cv2.addWeighted(_shifted(patch, dx, dy), 0.5, _shifted(patch, -dx, -dy), 0.5, 0), np.uint8)
        step /= 2
    return patch


def _shifted(patch: Rgba, dx: float, dy: float) -> Rgba:
    x, y = round(dx), round(dy)
    rows, cols = patch.shape[:2]
    if abs(x) >= cols or abs(y) >= rows:
        return np.zeros_like(patch)
    part = patch[max(0, -y) : rows - max(0, y), max(0, -x) : cols - max(0, x)]
    return np.asarray(
        cv2.copyMakeBorder(part, max(0, y), max(0, -y), max(0, x), max(0, -x), cv2.BORDER_CONSTANT), np.uint8
    )


def blend(
    canvas: Rgb,
    layer: Layer,
    gain: float,
    sprites: Sprites,
    *,
    shadow_way: tuple[float, float] | None = None,
) -> None:
    """Paste a layer on the canvas, in place; parts outside are cut off.

    Args:
        canvas: uint8 [H, W, 3], RGB; changed.
        layer: what, and where.
        gain: brightness of the light there, 1 keeps the drawing's.
        sprites: keeps the drawing ready for the next frame.
        shadow_way: where shadows fall, (x, y) of length 1; None for no shadow.
    """
    height, width = canvas.shape[:2]
    rows, cols = layer.rgba.shape[:2]
    scale = layer.size_px / max(rows, cols)
    turn = np.deg2rad(layer.angle_deg)
    c, s = abs(np.cos(turn)), abs(np.sin(turn))
    reach = 12.0 + 30.0 * layer.height + min(float(np.hypot(*layer.velocity_px)), 2 * _LONGEST_STREAK_PX) * 0.3
    half_w = (cols * c + rows * s) * scale / 2 + reach
    half_h = (cols * s + rows * c) * scale / 2 + reach
    x0, x1 = max(0, int(layer.centre_px[0] - half_w)), min(width, int(layer.centre_px[0] + half_w) + 1)
    y0, y1 = max(0, int(layer.centre_px[1] - half_h)), min(height, int(layer.centre_px[1] + half_h) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    # A plain shrink to less than half would skip pixels.
    halvings = max(0, int(np.floor(-np.log2(scale)))) if scale < 0.5 else 0
    source = sprites.get(layer.rgba, halvings)
    rows, cols = source.shape[:2]
    move = cv2.getRotationMatrix2D(
        ((cols - 1) / 2, (rows - 1) / 2), layer.angle_deg, layer.size_px / max(source.shape[:2])
    )
    move[:, 2] += (layer.centre_px[0] - x0 - (cols - 1) / 2, layer.centre_px[1] - y0 - (rows - 1) / 2)
    patch = np.asarray(cv2.warpAffine(source, move, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR), np.uint8)
    patch = _streaked(patch, layer.velocity_px)
    alpha = patch[..., 3]
    through = np.asarray(cv2.bitwise_not(alpha), np.uint8)
    if shadow_way is not None:
        through = np.asarray(cv2.multiply(through, _shadow(alpha, layer.height, shadow_way), scale=1 / 255), np.uint8)
    part = canvas[y0:y1, x0:x1]
    behind = cv2.multiply(part, cv2.merge([through, through, through]), scale=1 / 255)
    front = cv2.convertScaleAbs(cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB), alpha=gain)
    canvas[y0:y1, x0:x1] = cv2.add(behind, front)


def _shadow(alpha: Rgb, height: float, way: tuple[float, float]) -> Rgb:
    """How much light is left around a thing: uint8 [H, W], 255 is all."""
    rows, cols = alpha.shape
    small_size = (max(1, cols // _SHADOW_SHRINK), max(1, rows // _SHADOW_SHRINK))
    small = cv2.resize(alpha, small_size, interpolation=cv2.INTER_AREA)
    away = (4 + 22 * height) / _SHADOW_SHRINK
    move = np.array([[1, 0, way[0] * away], [0, 1, way[1] * away]], np.float32)
    side = int(1 + 2 * height) * 2 + 1
    soft = cv2.blur(cv2.blur(cv2.warpAffine(small, move, small_size), (side, side)), (3, 3))
    left = cv2.convertScaleAbs(soft, alpha=-(0.5 - 0.22 * height), beta=255)
    return np.asarray(cv2.resize(left, (cols, rows), interpolation=cv2.INTER_LINEAR), np.uint8)


def paste(
    background_rgb: Rgb,
    item_rgba: Rgba,
    centre_px: tuple[float, float],
    size_px: float,
    angle_deg: float,
    *,
    rng: np.random.Generator,
    shadow: bool = True,
) -> Rgb:
    """Lay one thing into a picture.

    Args:
        background_rgb: uint8 [H, W, 3], RGB; not changed.
        item_rgba: uint8 [h, w, 4], RGB and straight alpha; not changed.
        centre_px: where its middle goes (x, y); may lie outside.
        size_px: its longer side in the result.
        angle_deg: turned anticlockwise.
        rng: the shadow's way and the light's gain come from it.
        shadow: whether it casts one.

    Returns:
        uint8 [H, W, 3], a new picture.
    """
    canvas = background_rgb.copy()
    layer = Layer(item_rgba, centre_px, size_px, angle_deg, height=float(rng.uniform(0, 0.25)))
    turn, gain = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.75, 1.1))
    way = (float(np.cos(turn)), float(np.sin(turn))) if shadow else None
    blend(canvas, layer, gain, Sprites(1), shadow_way=way)
    return canvas
