"""A tiny tray for tests of the gate: a textured floor, uneven light, noise, and a few shapes. Not a test itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Frame
from device.gate import Gate, View

RATE_HZ = 15.0
EVEN = (1.0, 1.0, 1.0)
SPARE_PX = 64  # the sensor's noise is cut at a new place of a larger tile for each frame

Picture = NDArray[np.float32]
Shape = Callable[[Picture], None]
"""Draws itself into a float32 [H, W, 3] picture, 0-255."""


@dataclass
class Tray:
    """A bin interior and the camera above it; every call of `shoot` is 1/15 s later."""

    seed: int = 1
    tone: float = 190.0
    noise: float = 2.5
    size_px: tuple[int, int] = (640, 480)
    frames: int = 0
    rng: np.random.Generator = field(init=False)
    floor: Picture = field(init=False)
    grain: Picture = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        width, height = self.size_px
        across = np.linspace(0.85, 1.1, width, dtype=np.float32)[None, :]
        down = np.linspace(1.05, 0.9, height, dtype=np.float32)[:, None]
        grain = cv2.GaussianBlur(self.rng.normal(0, 6, (height, width)).astype(np.float32), (0, 0), 2.0)
        grey = self.tone * across * down + grain
        self.floor = np.repeat(grey[..., None], 3, axis=2) * np.array([1.0, 0.99, 0.95], np.float32)
        tile = self.rng.standard_normal((height + SPARE_PX, width + SPARE_PX, 3), np.float32)
        self.grain = tile * np.float32(self.noise)
        cv2.line(self.floor, (40, 60), (600, 60), (120.0, 118.0, 115.0), 3, cv2.LINE_AA)

    def shoot(self, *shapes: Shape, light: float | Picture = 1.0, cast: tuple[float, ...] = EVEN) -> Frame:
        """One frame with these shapes, the first one lowest."""
        picture = self.floor.copy()
        for shape in shapes:
            shape(picture)
        if cast != EVEN or not np.isscalar(light) or light != 1.0:
            picture = picture * (light * np.array(cast, np.float32))
        x, y = self.rng.integers(0, SPARE_PX, 2)
        width, height = self.size_px
        rgb = cv2.add(picture, self.grain[y : y + height, x : x + width], dtype=cv2.CV_8U)
        self.frames += 1
        return Frame(rgb=np.asarray(rgb, np.uint8), captured_s=self.frames / RATE_HZ, number=self.frames)

    def watch(self, gate: Gate, seconds: float, *shapes: Shape, light: float | Picture = 1.0) -> list[View]:
        """What the gate says of each frame while these shapes lie there."""
        return [gate.update(self.shoot(*shapes, light=light)) for _ in range(round(seconds * RATE_HZ))]


def box(x: int, y: int, w: int, h: int, rgb: tuple[float, float, float] = (90.0, 120.0, 60.0)) -> Shape:
    """A plain thing with its soft shadow."""

    @cache
    def left_over(size: tuple[int, int]) -> Picture:
        shade = np.zeros(size, np.float32)
        cv2.rectangle(shade, (x + 6, y + 6), (x + w + 5, y + h + 5), 0.3, -1)
        return (1 - cv2.GaussianBlur(shade, (0, 0), 6.0))[..., None]

    def draw(picture: Picture) -> None:
        picture *= left_over(picture.shape[:2])
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), rgb, -1)

    return draw


def plate(x: int, y: int, w: int, h: int) -> Shape:
    """A plain thing without a shadow."""

    def draw(picture: Picture) -> None:
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (90.0, 120.0, 60.0), -1)

    return draw


def glass(x: int, y: int, w: int, h: int) -> Shape:
    """Clear glass: the floor shows through, with a dark rim and two highlights."""

    def draw(picture: Picture) -> None:
        middle, half = (x + w // 2, y + h // 2), (w // 2, h // 2)
        inside = np.zeros(picture.shape[:2], np.float32)
        cv2.ellipse(inside, middle, half, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        picture *= (1 - 0.03 * inside)[..., None]
        rim = np.zeros(picture.shape[:2], np.float32)
        cv2.ellipse(rim, middle, half, 0, 0, 360, 1.0, 3, cv2.LINE_AA)
        cv2.ellipse(rim, middle, (half[0] * 4 // 5, half[1] * 4 // 5), 0, 20, 140, 0.4, 2, cv2.LINE_AA)
        picture *= (1 - 0.3 * rim)[..., None]
        cv2.line(picture, (x + w // 3, y + h // 4), (x + w // 3, y + h // 2), (250.0, 250.0, 250.0), 4, cv2.LINE_AA)

    return draw


def arm(x: int, reach: int, width: int = 90) -> Shape:
    """An arm that comes in over the upper edge."""

    def draw(picture: Picture) -> None:
        cv2.rectangle(picture, (x, 0), (x + width, reach), (70.0, 80.0, 130.0), -1)
        cv2.circle(picture, (x + width // 2, reach), width * 2 // 3, (200.0, 150.0, 120.0), -1, cv2.LINE_AA)

    return draw


def shadow(x: int, y: int, radius: int, depth: float = 0.3, softness: float = 45.0) -> Shape:
    """Something outside the picture takes light away here."""

    @cache
    def left_over(size: tuple[int, int]) -> Picture:
        shade = np.zeros(size, np.float32)
        cv2.circle(shade, (x, y), radius, depth, -1)
        return (1 - cv2.GaussianBlur(shade, (0, 0), softness))[..., None]

    def draw(picture: Picture) -> None:
        picture *= left_over(picture.shape[:2])

    return draw


def states(views: Iterable[View]) -> list[str]:
    """The states one after another, repeats left out."""
    seen: list[str] = []
    for view in views:
        if not seen or seen[-1] != view.state:
            seen.append(str(view.state))
    return seen


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
