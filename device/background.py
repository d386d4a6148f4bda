"""The empty tray as this camera sees it, and how far a picture differs from it.

    small picture of the region -> Background.compare -> Change -> gate

Works on a small copy of the region, which averages sensor noise away and costs about a millisecond. Each place has its
own tolerance: its noise while it was learnt, a share of its brightness, and what a shift of a fraction of a pixel would
do there, so that a bin that shakes sees no items in its own texture. The gain between picture and background is
taken per colour from the rim of the region (median of ratios), because things lie inside and light falls everywhere:
drifting exposure and white balance cancel, a large item does not count as light.

It must never absorb anything by itself: the gate says when the tray is empty. No clock, no state of the bin.
Ideas: running average with deviation (Wren 1997), ghosts told by whose picture holds the outline (Cucchiara 2003).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LIT_SHARE", "Background", "Change", "Floats", "Mask", "edge_strength", "grey"]

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
"""uint8 [h, w], 0 or 1."""

RIM = 0.1
"""The rim of the region, where the light is measured: this share of each side's length."""

SAMPLE_PX = 3
"""Light is measured on every third place of the small picture."""

NOISE_LEVELS = 0.35
"""Least deviation of a place, 0-255: what rounding to whole numbers leaves."""

NOISE_SHARE = 0.004
"""Deviation that grows with brightness: flicker and gain that the median does not catch."""

SHAKE_PX = 0.2
"""A camera or a bin that trembles by this much of a small pixel changes nothing."""

DARK_LEVELS = 8.0
"""Added to both sides of a ratio of brightness, so that noise in the dark is no contrast."""

CURVE_SHARE = 0.05
"""A camera's curve is no straight line, least of all in highlights: of a gain that is off, this share is uncertain."""

LIT_SHARE = 0.6
"""The light changed where so much of the rim differs: no hand covers that."""

LIT_TOLERANCE = 0.06
"""Places within this share of the fitted light are explained by it."""

NOISES = 4.0
"""So are, where little is taken for light, places within so many deviations: in the dark noise is a large share."""

UNLIT_SHARE = 0.02
"""Share of the region that light need not explain: highlights wander with a lamp. A hand's fingers are more."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """How one picture differs from the empty tray.

    Attributes:
        levelled: float32 [h, w, 3], the picture at the background's exposure and white balance, 0-255.
        deviations: float32 [h, w], the largest difference over the three colours, in the place's own deviations.
        gain: float32 [3], brightness of the picture's rim over the background's, per colour.
        rim_share: share of the rim that differs, 0..1.
    """

    levelled: Floats
    deviations: Floats
    gain: Floats
    rim_share: float


class Background:
    """Mean and deviation of the empty tray, learnt from pictures in which nothing moves.

    Args:
        small: float32 [h, w, 3], 0-255: the first picture.
    """

    def __init__(self, small: Floats) -> None:
        self.frames = 1
        self.mean = small.copy()
        self._squares = np.zeros_like(small)
        height, width = small.shape[:2]
        rows, columns = np.mgrid[0:height:SAMPLE_PX, 0:width:SAMPLE_PX]
        depth_y, depth_x = max(1, round(RIM * height)), max(1, round(RIM * width))
        is_rim = (
            (rows < depth_y) | (rows >= height - depth_y) | (columns < depth_x) | (columns >= width - depth_x)
        ).ravel()
        self._rows, self._columns = rows.ravel(), columns.ravel()
        self._is_rim = is_rim
        self._rim_rows, self._rim_columns = self._rows[is_rim], self._columns[is_rim]
        self._deviation = self._measure_deviation()

    def learn(self, small: Floats) -> None:
        """Take one more picture of the empty tray into mean and deviation; exposure may drift meanwhile."""
        levelled = small / self.gain(small)
        self.frames += 1
        step = levelled - self.mean
        self.mean += step / self.frames
        self._squares += step * (levelled - self.mean)
        self._deviation = self._measure_deviation()

    def gain(self, small: Floats) -> Floats:
        """Brightness of a picture's rim over the background's, float32 [3], per colour."""
        seen = small[self._rim_rows, self._rim_columns]
        known = self.mean[self._rim_rows, self._rim_columns]
        gain = np.median((seen + 1.0) / (known + 1.0), axis=0)
        return np.asarray(np.clip(gain, 0.05, 20.0), dtype=np.float32)

    def compare(self, small: Floats) -> Change:
        """How far a picture differs from the empty tray, place by place.

        Args:
            small: float32 [h, w, 3], 0-255, of the size that was learnt.
        """
        gain = self.gain(small)
        levelled = np.multiply(small, 1.0 / gain, dtype=np.float32)
        deviation = self._deviation
        off = float(np.abs(gain - 1.0).max())
        if off > 0.01:
            deviation = deviation + np.float32(CURVE_SHARE * off) * grey(self.mean)
        deviations = _largest_difference(levelled, self.mean) / deviation
        rim = deviations[self._rim_rows, self._rim_columns]
        return Change(levelled, deviations, gain, float(np.mean(rim > 4.0)))

    def moved(self, before: Floats, now: Floats) -> Floats:
        """How far two levelled pictures differ, float32 [h, w] in deviations."""
        return _largest_difference(before, now) / self._deviation

    def relief(self, change: Change) -> Floats:
        """The difference as it would be on a floor without texture, float32 [h, w], 0-255.

        A shadow takes the same share of light from neighbouring places, so its relief is as smooth as itself.
        """
        ratio = (change.levelled + DARK_LEVELS) / (self.mean + DARK_LEVELS)
        share = _largest_difference(ratio, np.ones_like(ratio))
        return np.asarray(share * cv2.blur(grey(self.mean) + DARK_LEVELS, (15, 15)), dtype=np.float32)

    def absorb(self, small: Floats, share: float, where: Mask | None = None) -> None:
        """Move the mean towards a picture.

        Args:
            small: float32 [h, w, 3], 0-255, not levelled, so that slow drift ends in the mean.
            share: how far, 0..1.
            where: only these places; everywhere if None.
        """
        rate = np.float32(share) if where is None else (where * np.float32(share))[..., None]
        self.mean += rate * (small - self.mean)
        self._deviation = self._measure_deviation()

    def rebase(self, gain: Floats) -> None:
        """Take the mean over to another exposure and white balance.

        Args:
            gain: float32 [3], per colour, as `Change` has it.
        """
        self.mean *= gain

    def relight(self, small: Floats) -> bool:
        """Take the mean over to another light; False, and nothing changed, where light does not explain the picture.

        Light is a smooth surface per colour (second order), fitted so that an item in the tray has no say.

        Args:
            small: float32 [h, w, 3], 0-255, not levelled.
        """
        light, missed = self._fit_light(small)
        if light is None or np.mean(missed < LIT_TOLERANCE) < 0.5:
            return False
        height, width = self.mean.shape[:2]
        rows, columns = np.mgrid[0:height, 0:width]
        surface = (self._light_basis(rows.ravel(), columns.ravel()) @ light).reshape(height, width, 3)
        self.mean = np.clip(self.mean * surface, 0.0, 255.0).astype(np.float32)
        self._deviation = self._measure_deviation()
        return True

    def is_lit_only(self, small: Floats, held: Mask) -> bool:
        """Whether light alone explains what a picture differs in, all but a place as large as a fingertip.

        Args:
            small: float32 [h, w, 3], 0-255, not levelled.
            held: uint8 [h, w], where something lies, of which nothing is expected.
        """
        light, missed = self._fit_light(small)
        darkest = np.maximum(self.mean[self._rows, self._columns].min(axis=1), 1.0)
        noise = NOISES * self._deviation[self._rows, self._columns] / darkest
        is_unlit = (missed > np.maximum(noise, LIT_TOLERANCE)) & (held[self._rows, self._columns] == 0)
        return light is not None and float(np.mean(is_unlit)) < UNLIT_SHARE

    def _fit_light(self, small: Floats) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Coefficients of the surface of light, [6, 3], None if it is none, and by what share each place misses it."""
        seen = small[self._rows, self._columns]
        known = np.maximum(self.mean[self._rows, self._columns], 1.0)
        ratio = (seen / known).astype(np.float64)
        basis = self._light_basis(self._rows, self._columns)
        fitted = np.broadcast_to(np.median(ratio[self._is_rim], axis=0), ratio.shape)
        light = np.zeros((basis.shape[1], 3))
        for _ in range(6):
            miss = np.abs(ratio / np.maximum(fitted, 1e-3) - 1.0).max(axis=1)
            scale = max(2.0 * float(np.median(miss)), 0.02)
            weight = 1.0 / (1.0 + (miss / scale) ** 4)
            weighted = basis * weight[:, None]
            light = np.linalg.lstsq(weighted.T @ basis, weighted.T @ ratio, rcond=None)[0]
            fitted = basis @ light
        missed = np.abs(ratio / np.maximum(fitted, 1e-3) - 1.0).max(axis=1)
        return light if fitted.min() > 0.0 else None, missed

    def _light_basis(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        height, width = self.mean.shape[:2]
        y, x = 2.0 * rows / height - 1.0, 2.0 * columns / width - 1.0
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)

    def _measure_deviation(self) -> Floats:
        level = grey(self.mean)
        # A dozen frames tell one place's noise badly, its neighbourhood's well.
        temporal = cv2.blur(grey(self._squares), (7, 7)) / max(self.frames - 1, 1)
        shake = SHAKE_PX * edge_strength(level)
        floor = NOISE_LEVELS + NOISE_SHARE * level
        return np.asarray(np.sqrt(temporal + floor * floor + shake * shake), dtype=np.float32)


def grey(rgb: Floats) -> Floats:
    """Brightness, float32 [h, w], of float32 [h, w, 3]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _largest_difference(a: Floats, b: Floats) -> Floats:
    """The largest absolute difference over the colours, float32 [h, w]."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.float32)


def edge_strength(levels: Floats) -> Floats:
    """Change of brightness per pixel, float32 [h, w]; the largest within one pixel, so that edges have a width."""
    dx = cv2.Sobel(levels, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(levels, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    return np.asarray(cv2.dilate(cv2.magnitude(dx, dy), np.ones((3, 3), np.uint8)), dtype=np.float32)
