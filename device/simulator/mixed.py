"""Drawn things that only the residual bin takes.

Sketch -> one thing drawn on it

All are made of several parts: printed film over foil, banded cloth, foam on foam, tablets in foil.
It must never draw a thing of one material with the surface of another.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from device.simulator.brush import Draw, Mask, Points, Sketch, hsv

__all__ = ["TRASH"]


# Trash: several parts and materials in one thing


def _pattern(s: Sketch, mask: Mask) -> None:
    first, second = hsv(s.between(0, 1), s.between(0.6, 0.95), s.between(0.45, 0.9)), hsv(s.between(0, 1), 0.7, 0.85)
    s.print_on(mask, first)
    turn = s.between(0, 3.2)
    along = s.x * np.cos(turn) + s.y * np.sin(turn)
    s.print_on((np.sin(along * s.between(12, 26)) > 0.2) * mask, second, 0.85)
    sun = s.blob(0, s.between(-0.1, 0.1), 0.36, 0.28, 0.12, lobes=9) * mask
    s.print_on(sun, hsv(s.between(0.1, 0.16), 0.6, 0.97))
    s.print_on(s.name(0, 0, 0.2, 0.7) * mask, first)


def _foil_in_sight(s: Sketch, mask: Mask) -> None:
    s.print_on(mask, (0.74, 0.75, 0.77))
    s.light(1 + 0.4 * s.facets(80, 0.005) * mask)


def _crinkle(s: Sketch, depth: float) -> None:
    for count in (24, 90):
        s.light(1 + depth * s.facets(count, 0.006))
    s.gleam(np.clip(s.facets(70, 0.005) * 1.5 - 0.85, 0, 1) * s.alpha, 0.8)


def _crisp_bag(s: Sketch) -> None:
    w = s.between(0.55, 0.68)
    zig = [(float(x), -0.92 + 0.03 * (i % 2)) for i, x in enumerate(np.linspace(-w, w, 25))]
    zag = [(float(x), 0.92 - 0.03 * (i % 2)) for i, x in enumerate(np.linspace(w, -w, 25))]
    body = s.poly(
        [*zig, (w * 0.92, -0.5), (w, 0.0), (w * 0.92, 0.5), *zag, (-w * 0.92, 0.5), (-w, 0), (-w * 0.92, -0.5)]
    )
    s.cover(body, (0.5, 0.5, 0.5))
    _pattern(s, body)
    _foil_in_sight(s, body * s.rect(-1, -1, 1, s.between(-0.8, -0.5)))
    if s.chance(0.5):
        _foil_in_sight(s, s.poly([(w, s.between(0, 0.3)), (w, 0.95), (s.between(-0.2, 0.2), 0.95)]) * body)
    _crinkle(s, 0.24)


def _bar_wrapper(s: Sketch) -> None:
    h = s.between(0.24, 0.34)
    zig = [(-0.92 + 0.03 * (i % 2), float(y)) for i, y in enumerate(np.linspace(h, -h, 13))]
    zag = [(0.92 - 0.03 * (i % 2), float(y)) for i, y in enumerate(np.linspace(-h, h, 13))]
    body = s.poly([*zig, *zag])
    s.cover(body, (0.5, 0.5, 0.5))
    _pattern(s, body)
    _foil_in_sight(s, body * np.maximum(s.rect(-1, -1, -0.72, 1), s.rect(s.between(0.35, 0.75), -1, 1, 1)))
    _crinkle(s, 0.26)


def _sweet_wrapper(s: Sketch) -> None:
    w, h = s.between(0.38, 0.48), s.between(0.3, 0.4)
    left = [(-w, -h * 0.35), (-0.92, -h * 1.15), (-0.85, 0.0), (-0.92, h * 1.15), (-w, h * 0.35)]
    right = [(-x, y) for x, y in left]
    body = np.maximum.reduce(
        [s.rect(-w, -h, w, h, 0.12), s.poly(s.ragged(left, 0.012)), s.poly(s.ragged(right, 0.012))]
    )
    s.cover(body, (0.5, 0.5, 0.5))
    _pattern(s, body)
    _foil_in_sight(s, body * (np.abs(s.x) > s.between(0.62, 0.75)))
    _crinkle(s, 0.26)


def _cloth(s: Sketch, mask: Mask) -> None:
    tone = hsv(s.between(0, 1), s.between(0.15, 0.6), s.between(0.35, 0.8))
    s.cover(mask, tone)
    kind = int(s.rng.integers(0, 3))
    bands = np.sin(s.y * s.between(20, 36)) > 0.1
    if kind == 1:
        bands = bands ^ (np.sin(s.x * s.between(20, 36)) > 0.1)
    if kind < 2:
        s.print_on(bands * mask, hsv(s.between(0, 1), 0.4, 0.8), 0.7)
    weave = np.sin(s.x * 150) * np.sin(s.y * 150)
    s.light((1 + 0.09 * weave + s.grain(0.035) + 0.16 * s.noise(5)), mask)
    s.light((1 + 0.16 * np.sin((s.noise(4) * 3 + s.x * 3) * 2)), mask)


def _rag(s: Sketch) -> None:
    _cloth(s, s.poly(s.ragged(s.blob_points(0, 0, 0.85, s.between(0.6, 0.8), 0.14, lobes=7)[::6], 0.012)))


def _sock(s: Sketch) -> None:
    w = s.between(0.22, 0.28)
    leg = s.rect(-0.5 - w / 2, -0.92, -0.5 + 2 * w - w / 2, 0.6, 0.06)
    foot = s.rect(-0.5 - w / 2, 0.25, s.between(0.5, 0.75), 0.25 + 2 * w, w * 0.9)
    body = np.maximum(leg, foot)
    _cloth(s, body)
    cuff = s.rect(-1, -0.95, 1, -0.72) * body
    s.light(1 - cuff * (0.25 + 0.15 * np.sin(s.x * 90)))


def _face_mask(s: Sketch) -> None:
    tone = hsv(s.between(0.5, 0.6), s.between(0.15, 0.45), 0.85) if s.chance(0.8) else (0.15, 0.15, 0.17)
    for side in (-1, 1):
        t = np.linspace(-1, 1, 30)
        loop = np.stack([side * (0.58 + s.between(0.26, 0.36) * (1 - t**2)), t * 0.32], 1)
        s.cover(s.line(loop, 0.03), (0.93, 0.93, 0.93))
    body = s.rect(-0.62, -0.4, 0.62, 0.4, 0.04)
    s.cover(body, tone)
    pleats = np.abs(((s.y + 0.4) / 0.2) % 1.0 - 0.5)
    s.light((1 - 0.3 * np.clip(0.12 - pleats, 0, 0.12) * 8 + 0.05 * s.noise(6)), body)
    for strip in (
        s.rect(-0.62, -0.4, 0.62, -0.33),
        s.rect(-0.62, 0.33, 0.62, 0.4),
        s.rect(-0.62, -0.4, -0.56, 0.4),
        s.rect(0.56, -0.4, 0.62, 0.4),
    ):
        s.print_on(strip, (0.94, 0.95, 0.96), 0.8)
    _crinkle(s, 0.06)


def _nappy(s: Sketch) -> None:
    right = [(0.8, -0.75), (0.78, -0.4), (0.3, -0.1), (0.3, 0.2), (0.75, 0.5), (0.75, 0.8)]
    outline = right + [(-a, b) for a, b in reversed(right)]
    body = s.rounded(s.poly(s.ragged(outline, 0.012)), 0.03)
    s.cover(body, (0.92, 0.93, 0.95))
    core = s.rect(-0.24, -0.6, 0.24, 0.7, 0.2)
    s.print_on(core, hsv(s.between(0.1, 0.15), s.between(0.1, 0.4), s.between(0.75, 0.92)), 0.9)
    s.light(1 + 0.1 * s.noise(20) * core)
    tab = hsv(s.between(0, 1), 0.5, 0.85)
    for side in (-1, 1):
        s.cover(s.rect(side * 0.83 - 0.13, -0.7, side * 0.83 + 0.13, -0.5, 0.03), tab)
    for x in np.linspace(-0.7, 0.7, 6):
        s.print_on(s.ellipse(float(x), -0.68, 0.05, 0.05), tab, 0.8)
    _crinkle(s, 0.1)


def _sponge(s: Sketch) -> None:
    w, h = 0.85, s.between(0.42, 0.58)
    foam = hsv(s.between(0.1, 0.17) if s.chance(0.6) else s.between(0, 1), s.between(0.5, 0.8), 0.88)
    scour = hsv(s.between(0.28, 0.42), s.between(0.5, 0.8), s.between(0.25, 0.45))
    s.cover(s.rect(-w, -h, w, h, 0.07), foam)
    s.light(1 - 0.4 * np.clip(s.noise(34) - 0.35, 0, 1) - 0.4 * np.clip(s.noise(60) - 0.4, 0, 1))
    pad = s.rect(-w, h - s.between(0.25, 0.45), w, h, 0.05)
    s.cover(pad, scour)
    s.light(1 + (s.grain(0.14) + 0.12 * s.noise(70)) * pad)
    if s.chance(0.5):
        s.print_on(np.clip(s.noise(5) - 0.2, 0, 1), (0.3, 0.24, 0.16), 0.7)


def _blister(s: Sketch) -> None:
    rows, columns = 2, int(s.rng.integers(4, 6))
    w, h = 0.88, s.between(0.4, 0.5)
    s.cover(s.rect(-w, -h, w, h, 0.08), (0.76, 0.77, 0.79))
    s.light(1 + 0.08 * np.sin(s.x * 90) * np.sin(s.y * 90))
    s.print_on(s.words(-w * 0.9, -0.05, w * 0.9, 0.05, 0.03), (0.2, 0.3, 0.6), 0.7)
    pill = hsv(s.between(0, 1), s.between(0.0, 0.7), s.between(0.7, 0.95))
    r = min(w / columns, h / rows) * 0.72
    for row in range(rows):
        for column in range(columns):
            cx, cy = -w + (column + 0.5) * 2 * w / columns, (row - 0.5) * h
            cell = s.ellipse(cx, cy, r, r)
            if s.chance(0.6):
                s.cover(cell, (0.86, 0.88, 0.9))
                s.print_on(s.ellipse(cx, cy, r * 0.75, r * 0.75), pill)
                s.gleam(s.ellipse(cx - r * 0.35, cy - r * 0.4, r * 0.25, r * 0.16, -30), 0.9)
            else:
                s.cover(
                    s.poly(
                        s.ragged(
                            [
                                (cx - r, cy - r * 0.6),
                                (cx + r * 0.7, cy - r),
                                (cx + r, cy + r * 0.8),
                                (cx - r * 0.8, cy + r),
                            ],
                            0.03,
                        )
                    ),
                    (0.3, 0.3, 0.32),
                )
            ring = np.clip(s.ellipse(cx, cy, r * 1.08, r * 1.08) - cell, 0, 1)
            s.light(1 - 0.35 * ring)
    _crinkle(s, 0.12)


def _cigarette_ends(s: Sketch) -> None:
    for _ in range(int(s.rng.integers(3, 6))):
        middle, turn = s.rng.uniform(-0.5, 0.5, 2), s.between(0, 6.3)
        long, wide = s.between(0.35, 0.5), 0.085
        whole = _roll(middle, turn, -long, long, wide)
        s.cover(s.poly(whole), (0.93, 0.92, 0.88))
        filter_end = s.poly(_roll(middle, turn, -long, -long * 0.1, wide))
        s.cover(filter_end, (0.82, 0.58, 0.28))
        s.light(1 - 0.2 * np.clip(s.noise(50), 0, 1) * filter_end)
        s.cover(s.poly(s.ragged(_roll(middle, turn, long * 0.8, long * 1.1, wide), 0.015)), (0.16, 0.15, 0.14))
        across = (-(s.x - middle[0]) * np.sin(turn) + (s.y - middle[1]) * np.cos(turn)) / wide
        s.light(1.05 - 0.3 * np.clip(across, -0.4, 1) ** 2, s.poly(whole))


def _roll(middle: NDArray[np.float64], turn: float, start: float, end: float, wide: float) -> Points:
    """The corners of a stretch of a turned roll, from start to end along it."""
    way, side = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    corners = ((start, -wide), (end, -wide), (end, wide), (start, wide))
    return np.array([middle + a * way + b * side for a, b in corners], np.float32)


def _toothbrush(s: Sketch) -> None:
    tone, other = hsv(s.between(0, 1), 0.75, 0.85), hsv(s.between(0, 1), 0.6, 0.95)
    s.cover(s.rect(-0.95, -0.06, 0.5, 0.06, 0.055), tone)
    s.print_on(s.rect(-0.75, -0.03, -0.15, 0.05, 0.03), other)
    s.cover(s.rect(0.45, -0.045, 0.95, 0.07, 0.05), tone)
    s.gleam(s.rect(-0.9, -0.045, 0.9, -0.025, 0.01), 0.6)
    for i, x in enumerate(np.linspace(0.52, 0.9, 9)):
        tuft = s.poly(
            [
                (float(x) - 0.02, -0.02),
                (float(x) + 0.02, -0.02),
                (float(x) + s.between(-0.02, 0.05), -0.24),
                (float(x) - s.between(-0.01, 0.04), -0.24),
            ]
        )
        s.cover(tuft, other if i % 3 == 1 else (0.95, 0.95, 0.96))
    s.light(1 - 0.25 * np.clip(s.y * 12, 0, 1))


TRASH: Mapping[str, Draw] = {
    "crisp_bag": _crisp_bag, "bar_wrapper": _bar_wrapper, "face_mask": _face_mask, "nappy": _nappy,
    "sponge": _sponge, "blister": _blister, "cigarette_ends": _cigarette_ends, "toothbrush": _toothbrush,
    "rag": _rag, "sweet_wrapper": _sweet_wrapper, "sock": _sock,
}  # fmt: skip
