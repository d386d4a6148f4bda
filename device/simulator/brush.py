"""The drawing kit: outlines, shading and wear on a small canvas with transparency.

numbers from a seed -> Sketch (masks, colours, light) -> uint8 RGBA

It knows how to draw and not what: the things are in `fibre.py`, `hard.py`, `natural.py` and
`synthetic.py`. It must never read a clock or
a global random state, because the same seed has to give the same bytes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "Draw", "Floats", "Mask", "Points", "Rgba", "Sketch", "darker", "hsv"]

Rgba = NDArray[np.uint8]
"""uint8 [H, W, 4], 0-255, red first, straight (not premultiplied) alpha last."""
Floats = NDArray[np.float32]
"""float32, any shape."""
Mask = NDArray[np.floating[Any]]
"""[S, S], 0-1."""
Colour = tuple[float, float, float] | NDArray[np.floating[Any]]
"""Red, green, blue, 0-1; one for all pixels, or float32 [S, S, 3]."""
Points = Sequence[tuple[float, float]] | NDArray[np.floating[Any]]
"""Corners in canvas units: -1 to 1, x to the right, y down."""

_SHIFT = 4  # OpenCV draws to 1/16 px

# Pieces of made-up brands; no two of them join to a word worth worrying about.
_SYLLABLES = ["AL", "MO", "LU", "MI", "VE", "RA", "TI", "LO", "SA", "NE", "KO", "RI", "VA", "SO"]


@cache
def _grid(size_px: int) -> tuple[Mask, Mask]:
    steps = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0).astype(np.float32)
    x, y = np.meshgrid(steps, steps)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Red, green, blue of a hue (in turns, any real), saturation and value, all 0-1."""
    sector, part = divmod((hue % 1.0) * 6.0, 1.0)
    low = value * (1.0 - saturation)
    down = value * (1.0 - saturation * part)
    up = value * (1.0 - saturation * (1.0 - part))
    return [
        (value, up, low),
        (down, value, low),
        (low, value, up),
        (low, down, value),
        (up, low, value),
        (value, low, down),
    ][int(sector) % 6]


def darker(tone: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    """The colour with its brightness multiplied by `by` (above 1 is brighter; `finish` clips)."""
    return (tone[0] * by, tone[1] * by, tone[2] * by)


_Part = tuple[slice, slice]


def _painted(mask: Mask) -> _Part:
    """The rows and columns that a mask touches: most touch little, and paint elsewhere would change nothing."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


class Sketch:
    """A square canvas that things are drawn on, upright and centred, lit from the upper left.

    Attributes:
        rng: the seed's random numbers; whoever draws takes from it.
        x, y: float32 [S, S] canvas coordinates of each pixel, -1 to 1, y down.
        rgb: float32 [S, S, 3], 0-1. alpha: float32 [S, S], 0-1.
    """

    def __init__(self, rng: np.random.Generator, size_px: int) -> None:
        self.rng = rng
        self.size_px = size_px
        self.x, self.y = _grid(size_px)
        self.rgb: NDArray[np.float32] = np.zeros((size_px, size_px, 3), np.float32)
        self.alpha: Mask = np.zeros((size_px, size_px), np.float32)

    # Numbers

    def between(self, low: float, high: float) -> float:
        """One number drawn evenly from low to high."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.rng.random() < share)

    # Outlines

    def _to_px(self, points: Points) -> NDArray[np.int32]:
        spots = (np.asarray(points, np.float64) + 1.0) * (self.size_px / 2.0) - 0.5
        return np.round(spots * (1 << _SHIFT)).astype(np.int32)

    def poly(self, points: Points) -> Mask:
        """A filled polygon."""
        mask = np.zeros((self.size_px, self.size_px), np.uint8)
        cv2.fillPoly(mask, [self._to_px(points)], 255, cv2.LINE_AA, _SHIFT)
        return mask.astype(np.float32) / np.float32(255)

    def line(self, points: Points, width: float, closed: bool = False) -> Mask:
        """A stroke along points, `width` in canvas units."""
        mask = np.zeros((self.size_px, self.size_px), np.uint8)
        thickness = max(1, round(width * self.size_px / 2))
        cv2.polylines(mask, [self._to_px(points)], closed, 255, thickness, cv2.LINE_AA, _SHIFT)
        return mask.astype(np.float32) / np.float32(255)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, turn_deg: float = 0.0) -> Mask:
        """A filled ellipse."""
        t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
        u, v = rx * np.cos(t), ry * np.sin(t)
        return self.poly(np.stack([cx + c * u - s * v, cy + s * u + c * v], 1).astype(np.float32))

    def rect(self, x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Mask:
        """A filled upright rectangle, its corners rounded by `corner`."""
        dx = np.abs(self.x - (x0 + x1) / 2) - ((x1 - x0) / 2 - corner)
        dy = np.abs(self.y - (y0 + y1) / 2) - ((y1 - y0) / 2 - corner)
        out = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner
        return self.soft(-out)

    def soft(self, inside: Mask) -> Mask:
        """The mask of a signed distance in canvas units (positive inside), with a one-pixel edge."""
        return np.asarray(np.clip(inside * np.float32(self.size_px / 2) + np.float32(0.5), 0, 1), np.float32)

    def blob(self, cx: float, cy: float, rx: float, ry: float, rough: float, *, lobes: int = 7) -> Mask:
        """An ellipse whose outline wanders by the share `rough`."""
        return self.poly(self.blob_points(cx, cy, rx, ry, rough, lobes=lobes))

    def blob_points(
        self, cx: float, cy: float, rx: float, ry: float, rough: float, *, lobes: int = 7
    ) -> NDArray[np.float32]:
        """The outline of `blob`, float32 [N, 2]."""
        t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        r = np.ones_like(t)
        for k in range(2, lobes + 1):
            r += rough * self.between(-1, 1) / k**0.5 * np.cos(k * t + self.between(0, 6.3))
        return np.stack([cx + rx * r * np.cos(t), cy + ry * r * np.sin(t)], 1).astype(np.float32)

    def ragged(self, points: Points, depth: float) -> NDArray[np.float32]:
        """The polygon with torn or worn edges: points every 0.04, pushed about by `depth`."""
        corners = np.asarray(points, np.float32)
        parts = []
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            steps = max(2, int(np.hypot(*(end - start)) / 0.04))
            t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
            parts.append(start + t * (end - start))
        edge = np.concatenate(parts)
        return (edge + self.rng.normal(0, depth, edge.shape)).astype(np.float32)

    def lathe(self, knots: Sequence[tuple[float, float]], middle: float = 0.0) -> tuple[Mask, Mask]:
        """A turned body: knots are (y, half width), joined smoothly.

        Returns:
            Its mask, and u: float32 [S, S], -1 at the left outline to 1 at the right one (clipped).
        """
        ys = np.array([k[0] for k in knots], np.float32)
        ws = np.array([k[1] for k in knots], np.float32)
        rows = self.y[:, 0]
        at = np.clip(np.searchsorted(ys, rows) - 1, 0, len(ys) - 2)
        t = np.clip((rows - ys[at]) / np.maximum(ys[at + 1] - ys[at], 1e-4), 0, 1)
        t = t * t * (3 - 2 * t)
        width = np.maximum(ws[at] * (1 - t) + ws[at + 1] * t, 1e-3)[:, None].astype(np.float32)
        side = self.x - np.float32(middle)
        inside = np.minimum(width - np.abs(side), np.minimum(self.y - ys[0], ys[-1] - self.y))
        return self.soft(inside), np.clip(side / width, -1, 1).astype(np.float32)

    def rounded(self, mask: Mask, radius: float) -> Mask:
        """The mask with its corners rounded off."""
        wide = cv2.GaussianBlur(mask, (0, 0), radius * self.size_px).astype(np.float32)
        return self.soft((wide - np.float32(0.5)) * np.float32(0.2))

    # Texture

    def noise(self, cells: float, cells_y: float | None = None) -> Mask:
        """Smooth noise, float32 [S, S] about -1 to 1, with so many bumps across (and down)."""
        shape = (max(2, int(cells_y if cells_y is not None else cells)), max(2, int(cells)))
        small = self.rng.uniform(-1, 1, shape).astype(np.float32)
        return np.asarray(cv2.resize(small, (self.size_px, self.size_px), interpolation=cv2.INTER_CUBIC), np.float32)

    def facets(self, count: int, blur: float = 0.015) -> Mask:
        """Crumpled planes: float32 [S, S], -1 to 1, one slope per random cell."""
        coarse = 96
        spots = np.ones((coarse, coarse), np.uint8)
        where = self.rng.integers(0, coarse, (count, 2))
        spots[where[:, 0], where[:, 1]] = 0
        _, cells = cv2.distanceTransformWithLabels(spots, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_CCOMP)
        level = self.rng.uniform(-0.8, 0.8, count + 2).astype(np.float32)
        slope = self.rng.uniform(-1.6, 1.6, (count + 2, 2)).astype(np.float32)
        x, y = _grid(coarse)
        cells = np.minimum(cells, count + 1)
        flat = level[cells] + slope[cells, 0] * x * 0.35 + slope[cells, 1] * y * 0.35
        wide = cv2.resize(flat.astype(np.float32), (self.size_px, self.size_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(cv2.GaussianBlur(wide, (0, 0), blur * self.size_px), -1, 1), np.float32)

    def grain(self, amount: float) -> Mask:
        """Pixel noise, float32 [S, S], this standard deviation."""
        return (self.rng.standard_normal((self.size_px, self.size_px), np.float32) * np.float32(amount)).astype(
            np.float32
        )

    def words(self, x0: float, y0: float, x1: float, y1: float, line: float, *, gap: float = 2.2) -> Mask:
        """Lines of print too small to read inside a rectangle; `line` is the height of one."""
        mask = np.zeros((self.size_px, self.size_px), np.float32)
        rows = max(1, int((y1 - y0) / (line * gap)))
        for row in range(rows):
            top = y0 + row * line * gap
            x = x0
            end = x1 if row % 5 < 4 else x0 + (x1 - x0) * self.between(0.3, 0.8)
            while x < end - line:
                step = min(self.between(2.0, 7.0) * line, end - x)
                mask = np.maximum(mask, self._block(x, top, x + step - 0.8 * line, top + line))
                x += step
        return mask

    def _block(self, x0: float, y0: float, x1: float, y1: float) -> Mask:
        mask = np.zeros((self.size_px, self.size_px), np.float32)
        a, b = (int((v + 1) * self.size_px / 2) for v in (y0, y1))
        c, d = (int((v + 1) * self.size_px / 2) for v in (x0, x1))
        mask[max(a, 0) : max(b, a + 1), max(c, 0) : max(d, c + 1)] = self.rng.uniform(0.6, 1.0)
        return mask

    def name(self, cx: float, cy: float, height: float, width: float = 1.6) -> Mask:
        """A made-up brand in large letters, centred, made smaller until it fits the width."""
        text = "".join(self.rng.choice(_SYLLABLES, int(self.rng.integers(2, 4)), replace=False))
        scale = height * self.size_px / 2 / 22.0
        thick = max(1, round(scale * 3))
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
        scale *= min(1.0, width * self.size_px / 2 / wide)
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
        spot = (
            int((cx + 1) * self.size_px / 2 - wide / 2),
            int((cy + 1) * self.size_px / 2 + high / 2),
        )
        mask = np.zeros((self.size_px, self.size_px), np.uint8)
        cv2.putText(mask, text, spot, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
        return mask.astype(np.float32) / np.float32(255)

    # Paint and light

    def cover(self, mask: Mask, colour: Colour, opacity: float = 1.0) -> None:
        """Lay a colour over what is there; adds to the silhouette."""
        part = _painted(mask)
        m = mask[part] * np.float32(opacity)
        total = self.alpha[part] * (1 - m) + m
        share = (m / np.maximum(total, 1e-6))[..., None]
        self._mix(part, colour, share)
        self.alpha[part] = total

    def print_on(self, mask: Mask, colour: Colour, opacity: float = 1.0) -> None:
        """Lay a colour over what is there, only inside the silhouette."""
        part = _painted(mask)
        self._mix(part, colour, (mask[part] * np.float32(opacity))[..., None])

    def _mix(self, part: _Part, colour: Colour, share: Mask) -> None:
        tone = np.asarray(colour, np.float32)
        self.rgb[part] += ((tone if tone.ndim == 1 else tone[part]) - self.rgb[part]) * share

    def light(self, factor: Mask, mask: Mask | None = None) -> None:
        """Multiply the brightness by `factor` (1 keeps it), everywhere or inside a mask."""
        if mask is None:
            self.rgb *= factor[..., None].astype(np.float32)
            return
        part = _painted(mask)
        by = 1 + (factor[part] - 1) * mask[part]
        self.rgb[part] *= by[..., None].astype(np.float32)

    def gleam(self, mask: Mask, strength: float, colour: Colour = (1.0, 1.0, 1.0)) -> None:
        """Add a highlight; where the thing is transparent the highlight hides what lies behind."""
        m = np.clip(mask * np.float32(strength), 0, 1)
        self.rgb += (np.asarray(colour, np.float32) - self.rgb) * m[..., None]
        self.alpha = np.maximum(self.alpha, np.where(self.alpha > 0, m, 0)).astype(np.float32)

    def thin(self, mask: Mask, opacity: float) -> None:
        """Make what is inside the mask this see-through (1 keeps it)."""
        self.alpha = (self.alpha * (1 - mask * np.float32(1 - opacity))).astype(np.float32)

    def erase(self, mask: Mask) -> None:
        """Cut the mask out of the silhouette."""
        self.alpha = (self.alpha * (1 - mask)).astype(np.float32)

    def round_off(self, mask: Mask, u: Mask, depth: float = 0.45, lit: float = -0.35) -> None:
        """Shade as a lying cylinder: bright at u = lit, dark towards both outlines."""
        normal = np.sqrt(np.maximum(1 - u * u, 0))
        bright = 1 - depth + depth * np.clip(normal * 0.8 + (1 - np.abs(u - lit)) * 0.35, 0, 1.15)
        self.light(bright.astype(np.float32), mask)

    def stripe(self, u: Mask, at: float, width: float) -> Mask:
        """A soft lengthwise band where u is near `at`: the reflection of a window on a cylinder."""
        return np.asarray(np.exp(-(((u - at) / width) ** 2)), np.float32)

    def tumble(self, lean_deg: float = 18.0) -> None:
        """Turn and stretch the whole drawing a little and fill the canvas with it."""
        size = self.size_px
        turn = np.deg2rad(self.between(-lean_deg, lean_deg))
        stretch = self.between(0.92, 1.08)
        rows, cols = np.nonzero(self.alpha > 0.02)
        if rows.size == 0:
            return
        xs, ys = self.x[0][cols], self.x[0][rows]
        c, s = np.cos(turn), np.sin(turn)
        turned = np.stack([(c * xs - s * ys) * stretch, s * xs + c * ys])
        low, high = turned.min(1), turned.max(1)
        zoom = float((high - low).max()) / 1.9
        middle = (low + high) / 2
        # Backwards: where each pixel of the result comes from.
        tx = (self.x * zoom + middle[0]) / stretch
        ty = self.y * zoom + middle[1]
        from_x, from_y = c * tx + s * ty, -s * tx + c * ty
        layer = np.concatenate([self.rgb * self.alpha[..., None], self.alpha[..., None]], axis=2)
        moved = cv2.remap(
            layer,
            ((from_x + 1) * (size / 2) - 0.5).astype(np.float32),
            ((from_y + 1) * (size / 2) - 0.5).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )
        self.alpha = np.ascontiguousarray(moved[..., 3])
        self.rgb = np.asarray(moved[..., :3] / np.maximum(self.alpha, 1e-4)[..., None], np.float32)

    def finish(self) -> Rgba:
        """The drawing as uint8 [S, S, 4]; colour under full transparency is black."""
        layer = np.concatenate([np.clip(self.rgb, 0, 1), np.clip(self.alpha, 0, 1)[..., None]], axis=2)
        layer[..., :3] *= self.alpha[..., None] > 0.004
        return np.round(layer * 255).astype(np.uint8)


Draw = Callable[[Sketch], None]
"""Draws one thing, upright and centred, on an empty sketch."""
