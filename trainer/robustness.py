"""Robustness: one photograph under ever more of one change.

    photograph -> turned | blurred | brighter, darker | noisy | compressed | tinted -> pictures by strength

The changes other than turning are made on the square that the network sees, so that a strength means the same for a
small crop and for a large photograph (Hendrycks and Dietterich 2019 do the same with ImageNet).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.preprocess import fit

__all__ = ["CHANGES", "Change", "changed", "turned"]

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which a picture may be worse, and how much of it is tried.

    Attributes:
        name, unit: as the report prints them.
        none_at: the strength that changes nothing.
        strengths: the others.
        apply: (uint8 [H, W, 3], strength, random generator) -> uint8 [h, w, 3].
        is_whole: made on the whole photograph rather than on the network's square.
    """

    name: str
    unit: str
    none_at: float
    strengths: tuple[float, ...]
    apply: Callable[[U8, float, np.random.Generator], U8]
    is_whole: bool = False


def turned(rgb: U8, degrees: float) -> U8:
    """Turned counter-clockwise about its middle at the same scale; a quarter turn swaps the sides and loses nothing.

    What comes in at the corners is mirrored, as in training.

    Args:
        rgb: uint8 [H, W, 3].
    """
    height, width = rgb.shape[:2]
    angle = math.radians(degrees)
    wide = round(math.hypot(width * math.cos(angle), height * math.sin(angle)))
    high = round(math.hypot(width * math.sin(angle), height * math.cos(angle)))
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    move[:, 2] += ((wide - width) / 2, (high - height) / 2)
    return np.asarray(
        cv2.warpAffine(rgb, move, (wide, high), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _blurred(rgb: U8, sigma_px: float) -> U8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def _brighter(rgb: U8, percent: float) -> U8:
    return _bytes(rgb * (1 + percent / 100))


def _noisy(rgb: U8, steps: float, rng: np.random.Generator) -> U8:
    return _bytes(rgb + rng.normal(0, steps, rgb.shape))


def _compressed(rgb: U8, quality: float) -> U8:
    # OpenCV takes the first channel for blue; the order has to be right, since JPEG spends less on some colours.
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def _tinted(rgb: U8, percent: float) -> U8:
    return _bytes(rgb * np.array([1 + percent / 100, 1, 1 - percent / 100]))


def _bytes(picture: NDArray[np.floating]) -> U8:
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


CHANGES = (
    Change("rotation", "degrees", 0, (15, 30, 45, 90, 180), lambda rgb, at, _: turned(rgb, at), is_whole=True),
    Change("blur", "pixels of the network's input", 0, (0.5, 1, 2, 3), lambda rgb, at, _: _blurred(rgb, at)),
    Change("brightness", "%", 0, (-75, -50, -25, 25, 50, 75), lambda rgb, at, _: _brighter(rgb, at)),
    Change("noise", "steps of 255", 0, (5, 10, 20, 40), _noisy),
    Change("JPEG", "quality", 100, (70, 40, 20, 10), lambda rgb, at, _: _compressed(rgb, at)),
    Change("colour", "% more red and less blue", 0, (-40, -20, 20, 40), lambda rgb, at, _: _tinted(rgb, at)),
)
"""What is tried."""


def changed(rgb: U8, size_px: int, rng: np.random.Generator) -> Iterator[tuple[str, float, U8]]:
    """Every change at every strength but none: its name, the strength and the picture, uint8 [h, w, 3].

    Args:
        rgb: uint8 [H, W, 3].
        size_px: side of the network's input.
    """
    square = fit(rgb, size_px)
    for change in CHANGES:
        for strength in change.strengths:
            yield change.name, strength, change.apply(rgb if change.is_whole else square, strength, rng)
