"""Augment: a photograph -> the many pictures that a bin's camera could have taken of that thing.

    cached square (+ outline) -> [set into another bin] -> crop as the gate crops -> light, lens, sensor -> uint8 [S,
    S, 3]

A model trained on one board under one lamp knows that board and that lamp. The crop imitates the gate's box:
off-centre, partly outside, at 0.4 to 1 of the picture's area. OpenCV and numpy only: it runs in the threads that feed
the network.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulator.scene import interior, paste
from trainer.recipe import Augment

__all__ = ["Augmenter", "corner"]

U8 = NDArray[np.uint8]

_BINS = 96
"""Painted bin interiors to choose from; each is turned, cropped and lit anew when used."""

_CANVAS_PX = 320


class Augmenter:
    """Makes training pictures; the same random generator gives the same picture.

    Attributes:
        size_px: side of what it makes.
    """

    def __init__(self, rule: Augment, size_px: int, seed: int, surfaces: Sequence[U8] = ()) -> None:
        """Args:
        surfaces: uint8 RGB [h, w, 3] each, see `corner`; some items are set on one of them instead of into a bin.
        """
        self.size_px = size_px
        self._rule = rule
        self._bins = _paint_bins(seed)
        self._surfaces = surfaces

    def photograph(self, rgb: U8, alpha: U8, rng: np.random.Generator) -> U8:
        """A training picture from a photograph.

        Args:
            rgb: uint8 [C, C, 3], RGB.
            alpha: uint8 [C, C], where the item is; see `device.simulator.items.outline`.

        Returns:
            uint8 [size_px, size_px, 3], RGB.
        """
        if rng.random() < self._rule.composite:
            return self.item(np.dstack([rgb, alpha]), rng)
        return self._camera(self._crop(rgb, rng), rng)

    def item(self, rgba: U8, rng: np.random.Generator) -> U8:
        """A training picture of a cut-out item (or a drawing) in a bin, cropped as the gate crops.

        Args:
            rgba: uint8 [h, w, 4], RGB and straight alpha.
        """
        canvas = self._background(rng)
        size = _CANVAS_PX * rng.uniform(0.45, 0.85)
        stretch = math.exp(rng.uniform(-0.25, 0.25))  # the cached square hides the photograph's own shape
        height, width = rgba.shape[:2]
        rgba = np.asarray(
            cv2.resize(rgba, (int(width * stretch), height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
        )
        centre = (_CANVAS_PX / 2 + rng.uniform(-20, 20), _CANVAS_PX / 2 + rng.uniform(-20, 20))
        angle = rng.uniform(-180, 180)
        scene = paste(canvas, rgba, centre, size, angle, rng=rng)
        covered = self._box(rgba, size, angle, centre)
        side = max(covered[2:]) * rng.uniform(0.95, 1.35)
        middle = np.array([covered[0] + covered[2] / 2, covered[1] + covered[3] / 2])
        middle = middle + rng.uniform(-0.14, 0.14, 2) * side
        scale = self.size_px / side
        move = np.array(
            [[scale, 0, self.size_px / 2 - middle[0] * scale], [0, scale, self.size_px / 2 - middle[1] * scale]]
        )
        if rng.random() < 0.5:
            scene = scene[:, ::-1]
            move[0, 2] = self.size_px / 2 - (_CANVAS_PX - 1 - middle[0]) * scale
        return self._camera(_warp(scene, move, self.size_px), rng)

    @staticmethod
    def _box(
        rgba: U8, size_px: float, angle_deg: float, centre: tuple[float, float]
    ) -> tuple[float, float, float, float]:
        """Where a pasted item lies: x, y, width, height."""
        height, width = rgba.shape[:2]
        scale = size_px / max(height, width)
        rows, columns = np.nonzero(rgba[::4, ::4, 3] > 100)
        if len(rows) == 0:
            return (centre[0] - size_px / 2, centre[1] - size_px / 2, size_px, size_px)
        turn = math.radians(-angle_deg)  # image y points down
        x, y = (columns * 4 - width / 2) * scale, (rows * 4 - height / 2) * scale
        turned_x = x * math.cos(turn) - y * math.sin(turn) + centre[0]
        turned_y = x * math.sin(turn) + y * math.cos(turn) + centre[1]
        return (float(turned_x.min()), float(turned_y.min()), float(np.ptp(turned_x)), float(np.ptp(turned_y)))

    def _background(self, rng: np.random.Generator) -> U8:
        if len(self._surfaces) and rng.random() < self._rule.surface:
            base = self._surfaces[int(rng.integers(len(self._surfaces)))]
            part = cv2.resize(base, (_CANVAS_PX, _CANVAS_PX), interpolation=cv2.INTER_CUBIC)
            return np.ascontiguousarray(np.rot90(np.asarray(part, dtype=np.uint8), int(rng.integers(4))))
        base = self._bins[rng.integers(_BINS)]
        if rng.random() < 0.2:  # not every bin looks like ours
            colours = rng.uniform(20, 250, (2, 2, 1)) + rng.uniform(-25, 25, (2, 2, 3))
            plain = cv2.resize(
                np.clip(colours, 0, 255).astype(np.uint8), (_CANVAS_PX, _CANVAS_PX), interpolation=cv2.INTER_CUBIC
            )
            return np.asarray(plain, dtype=np.uint8)
        room = base.shape[0] - _CANVAS_PX
        x, y = rng.integers(0, room, 2)
        part = base[y : y + _CANVAS_PX, x : x + _CANVAS_PX]
        return np.ascontiguousarray(np.rot90(part, int(rng.integers(4))))

    def _crop(self, rgb: U8, rng: np.random.Generator) -> U8:
        """A square of 0.4 to 1 of the picture, stretched, turned, mirrored, partly outside, in one resampling."""
        side = rgb.shape[0]
        span = side * math.sqrt(rng.uniform(0.4, 1.0))
        stretch = math.exp(rng.uniform(-0.29, 0.29))
        scale_x, scale_y = self.size_px / (span * math.sqrt(stretch)), self.size_px / (span / math.sqrt(stretch))
        middle = side / 2 + rng.uniform(-0.5, 0.5, 2) * ((side - span) + 0.16 * side)
        turn = rng.uniform(-math.pi, math.pi) if rng.random() < self._rule.rotate else 0.0
        flip_x, flip_y = rng.choice([-1, 1]), rng.choice([-1, 1], p=[0.25, 0.75])
        linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        linear = np.diag([scale_x * flip_x, scale_y * flip_y]) @ linear
        move = np.hstack([linear, (self.size_px / 2 - linear @ middle)[:, None]])
        return _warp(rgb, move, self.size_px)

    def _camera(self, rgb: U8, rng: np.random.Generator) -> U8:
        """Light, lens and sensor of some other camera."""
        rule = self._rule
        if rng.random() < rule.blur:
            rgb = _blur(rgb, rng)
        picture: NDArray[np.floating] = rgb.astype(np.float32)
        if rng.random() < rule.colour:
            picture = 255 * (picture / 255) ** np.float32(math.exp(rng.uniform(-0.35, 0.35)))
            grey = picture.mean(axis=2, keepdims=True)
            picture = grey + (picture - grey) * np.float32(rng.uniform(0.5, 1.5))
            mean = picture.mean()
            picture = mean + (picture - mean) * np.float32(rng.uniform(0.7, 1.3))
            cast = np.exp(rng.normal(0, 0.09, 3)) * math.exp(rng.uniform(-0.3, 0.25))
            picture = picture * cast.astype(np.float32)
        if rng.random() < rule.grey:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        if rng.random() < rule.noise:
            picture = picture + np.float32(rng.uniform(2, 14)) * rng.standard_normal(picture.shape, np.float32)
        rgb = np.clip(picture, 0, 255).astype(np.uint8)
        if rng.random() < rule.jpeg:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))]
            _, data = cv2.imencode(".jpg", rgb, quality)  # colour order does not matter both ways
            rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
        return rgb


def corner(rgb: U8, rng: np.random.Generator) -> U8:
    """A corner of a photograph, 0.3 of its sides: mostly the floor, table or board that something lies on."""
    side = rgb.shape[0] * 3 // 10
    x, y = (0 if rng.random() < 0.5 else length - side for length in (rgb.shape[1], rgb.shape[0]))
    return np.ascontiguousarray(rgb[y : y + side, x : x + side])


@lru_cache(maxsize=1)  # seconds of painting, the same for every step of a run
def _paint_bins(seed: int) -> tuple[U8, ...]:
    rng = np.random.default_rng([seed, 0xB1])
    return tuple(interior(rng, (_CANVAS_PX * 3 // 2, _CANVAS_PX * 3 // 2)) for _ in range(_BINS))


def _warp(rgb: U8, move: NDArray[np.float64], size_px: int) -> U8:
    shrink = math.sqrt(abs(float(np.linalg.det(move[:, :2]))))
    flags = cv2.INTER_LINEAR
    if shrink < 0.6:  # a plain shrink would alias
        rgb = np.asarray(cv2.blur(rgb, (2, 2)), dtype=np.uint8)
    return np.asarray(
        cv2.warpAffine(rgb, move, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8
    )


def _blur(rgb: U8, rng: np.random.Generator) -> U8:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 2.2)), dtype=np.uint8)
    length = int(rng.integers(3, 13)) | 1
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), rng.uniform(0, 180), 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), dtype=np.float32)
    return np.asarray(cv2.filter2D(rgb, -1, kernel / kernel.sum()), dtype=np.uint8)
