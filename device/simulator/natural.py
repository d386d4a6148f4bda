"""Drawn things of organic waste.

Sketch -> one thing drawn on it

All have natural outlines and two or three mixed colours with freckles.
It must never draw a thing of one material with the surface of another.
"""

from collections.abc import Mapping

import numpy as np

from device.simulator.brush import Colour, Draw, Floats, Mask, Points, Sketch, darker, hsv

__all__ = ["ORGANIC"]


# Organic: natural outlines, two or three mixed colours, freckles, stalks


def _flesh(s: Sketch, mask: Mask, first: Colour, second: Colour, freckle: float = 0.4) -> None:
    mix = np.clip(0.5 + 0.9 * s.noise(4) + 0.25 * s.noise(14), 0, 1)[..., None]
    s.cover(mask, (np.asarray(first, np.float32) * (1 - mix) + np.asarray(second, np.float32) * mix))
    spots = np.clip(s.noise(34) + 0.4 * s.noise(9) - 0.75, 0, 1) * 2.5
    s.print_on(np.clip(spots, 0, 1) * mask, (0.28, 0.16, 0.06), freckle)
    s.light((1 + s.grain(0.018)), mask)


def _ball(s: Sketch, cx: float, cy: float, r: float, mask: Mask) -> None:
    far = np.hypot(s.x - cx + 0.3 * r, s.y - cy + 0.35 * r) / r
    s.light(np.clip(1.16 - 0.42 * far**1.6, 0.25, 1.2), mask)
    s.gleam(np.exp(-((np.hypot(s.x - cx + 0.38 * r, s.y - cy + 0.42 * r) / (0.2 * r)) ** 2)) * mask, 0.35)


def _bent(s: Sketch, widths: Points, bow: float) -> tuple[Mask, Floats]:
    """A long body along a bow: widths are (place along it from -0.9 to 0.9, half width)."""
    t = np.linspace(-0.9, 0.9, 60)
    w = np.interp(t, [p[0] for p in widths], [p[1] for p in widths])
    y = bow * (t**2) - bow * 0.4
    slope = np.arctan(2 * bow * t)
    up = np.stack([t + np.sin(slope) * w, y - np.cos(slope) * w], 1)
    down = np.stack([t - np.sin(slope) * w, y + np.cos(slope) * w], 1)[::-1]
    middle = np.asarray(np.stack([t, y], 1), np.float32)
    return s.poly(np.concatenate([up, down])), middle


def _banana(s: Sketch) -> None:
    bow = s.between(0.35, 0.6)
    body, middle = _bent(
        s, [(-0.9, 0.04), (-0.75, 0.05), (-0.6, 0.14), (0, 0.2), (0.6, 0.13), (0.85, 0.05), (0.9, 0.03)], bow
    )
    ripe = s.between(0, 1)
    first = (0.93, 0.8, 0.22) if ripe > 0.25 else (0.72, 0.78, 0.25)
    _flesh(s, body, first, (0.86, 0.66, 0.16), 0.3 + 0.6 * ripe)
    ridge = s.line(middle - (0, 0.05), 0.02)
    s.print_on(ridge * body, (0.62, 0.45, 0.12), 0.5)
    below = np.clip((s.y - (bow * s.x**2 - bow * 0.4)) * 4, -1, 1)
    s.light((1 - 0.24 * below), body)
    for end in (s.ellipse(-0.88, float(middle[0][1]), 0.05, 0.05), s.ellipse(0.89, float(middle[-1][1]), 0.04, 0.04)):
        s.cover(end, (0.25, 0.17, 0.08))


def _banana_peel(s: Sketch) -> None:
    arms = int(s.rng.integers(3, 5))
    start = s.between(0, 6.3)
    for arm in range(arms):
        turn = start + arm * 2 * np.pi / arms + s.between(-0.25, 0.25)
        reach, bend = s.between(0.7, 0.9), s.between(-0.5, 0.5)
        t = np.linspace(0, 1, 24)
        angle = turn + bend * t
        x, y = np.cos(angle) * t * reach, np.sin(angle) * t * reach
        w = 0.15 * np.sin(np.pi * (0.25 + 0.72 * t))
        up = np.stack([x - np.sin(angle) * w, y + np.cos(angle) * w], 1)
        down = np.stack([x + np.sin(angle) * w, y - np.cos(angle) * w], 1)[::-1]
        body = s.poly(np.concatenate([up, down]))
        inside = s.chance(0.4)
        _flesh(
            s,
            body,
            (0.95, 0.88, 0.6) if inside else (0.9, 0.74, 0.2),
            (0.85, 0.7, 0.35) if inside else (0.72, 0.52, 0.12),
            0.8,
        )
        s.light((1 - 0.3 * s.line(np.concatenate([up, down]), 0.02, True)), body)
    s.cover(s.ellipse(0, 0, 0.09, 0.08), (0.32, 0.22, 0.09))


def _fruit(s: Sketch, body: Mask, r: float, stalk_y: float) -> None:
    kinds: list[tuple[Colour, Colour]] = [
        ((0.72, 0.12, 0.1), (0.85, 0.55, 0.2)),
        ((0.45, 0.62, 0.15), (0.68, 0.74, 0.3)),
        ((0.85, 0.7, 0.25), (0.8, 0.4, 0.2)),
    ]
    first, second = kinds[int(s.rng.integers(0, 3))]
    _flesh(s, body, first, second, 0.5)
    _ball(s, 0, 0, r, body)
    s.print_on(s.ellipse(0, stalk_y + 0.08, 0.16, 0.06), (0.25, 0.2, 0.05), 0.6)
    s.cover(s.line([(0, stalk_y + 0.1), (s.between(-0.08, 0.08), stalk_y - 0.14)], 0.05), (0.33, 0.21, 0.09))
    if s.chance(0.3):
        rot = s.blob(s.between(-0.4, 0.4), s.between(0, 0.4), 0.24, 0.2, 0.15) * body
        s.print_on(rot, (0.4, 0.25, 0.1), 0.8)


def _apple(s: Sketch) -> None:
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    r = 0.78 * (
        1 - 0.13 * np.exp(-(((t - 1.5 * np.pi) / 0.35) ** 2)) - 0.06 * np.exp(-(((t - 0.5 * np.pi) / 0.4) ** 2))
    )
    points = np.stack([r * np.cos(t) * s.between(1.0, 1.1), r * np.sin(t)], 1)
    _fruit(s, s.poly(points), 0.8, -0.72)


def _pear(s: Sketch) -> None:
    neck = s.between(0.24, 0.34)
    wide = s.between(0.52, 0.62)
    bowl = [(0.2 + 0.66 * t, wide * (1 - t * t) ** 0.5) for t in (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.98, 1.0)]
    body, _ = s.lathe([(-0.8, 0.06), (-0.76, neck * 0.6), (-0.68, neck * 0.85), (-0.45, neck), *bowl])
    _fruit(s, body, 0.85, -0.82)


def _apple_core(s: Sketch) -> None:
    body, u = s.lathe(
        [(-0.7, 0.42), (-0.55, 0.45), (-0.1, s.between(0.14, 0.2)), (0.15, 0.17), (0.55, 0.42), (0.68, 0.35)]
    )
    _flesh(s, body, (0.93, 0.87, 0.65), (0.8, 0.62, 0.35), 0.7)
    s.light((1 - 0.3 * np.abs(u) ** 3), body)
    skin = hsv(s.between(-0.03, 0.03) if s.chance(0.6) else s.between(0.2, 0.28), 0.8, 0.6)
    for end in (s.rect(-1, -0.72, 1, -0.54), s.rect(-1, 0.5, 1, 0.75)):
        s.print_on(end * body, skin, 0.9)
    for side in (-0.05, 0.06):
        s.print_on(s.ellipse(side, s.between(-0.1, 0.15), 0.035, 0.07, side * 200), (0.25, 0.13, 0.05))
    s.cover(s.line([(0, -0.66), (s.between(-0.1, 0.1), -0.92)], 0.05), (0.33, 0.21, 0.09))


def _leaf(s: Sketch) -> None:
    w = s.between(0.32, 0.5)
    t = np.linspace(-0.85, 0.85, 60)
    half = w * np.cos(t / 0.85 * np.pi / 2) ** 0.8 * (1 + 0.06 * np.sin(t * s.between(20, 50)))
    points = np.concatenate([np.stack([t, -half], 1), np.stack([t, half], 1)[::-1]])
    body = s.poly(points)
    old = s.chance(0.5)
    first = hsv(s.between(0.04, 0.12), 0.75, 0.6) if old else hsv(s.between(0.24, 0.34), 0.7, 0.45)
    _flesh(s, body, first, hsv(s.between(0.08, 0.16), 0.7, 0.6) if old else hsv(0.24, 0.65, 0.6))
    vein = (0.85, 0.8, 0.5)
    s.print_on(s.line([(-0.9, 0), (0.85, 0)], 0.02), vein, 0.7)
    for x in np.linspace(-0.6, 0.55, 7):
        for side in (-1, 1):
            s.print_on(s.line([(float(x), 0), (float(x) + 0.22, side * w * 0.85)], 0.01) * body, vein, 0.55)
    s.cover(s.line([(-0.82, 0), (-0.95, 0.04)], 0.035), (0.4, 0.28, 0.12))


def _carrot(s: Sketch) -> None:
    bow = s.between(-0.15, 0.15)
    body, _ = _bent(s, [(-0.9, 0.01), (-0.5, 0.08), (0.3, 0.17), (0.5, 0.2), (0.58, 0.16), (0.6, 0.0), (0.9, 0.0)], bow)
    for _ in range(7):
        tip = (s.between(0.78, 0.97), s.between(-0.3, 0.3))
        s.cover(s.line([(0.54, bow * -0.1), tip], 0.04), hsv(s.between(0.24, 0.32), 0.75, s.between(0.35, 0.55)))
    _flesh(s, body, (0.93, 0.48, 0.12), (0.86, 0.36, 0.08), 0.25)
    for x in s.rng.uniform(-0.7, 0.5, 9):
        s.print_on(s.rect(float(x), -0.3, float(x) + 0.012, s.between(-0.1, 0.2)) * body, (0.55, 0.25, 0.06), 0.6)
    s.light((1.1 - 0.9 * np.clip(s.y + 0.02, -0.1, 0.4)), body)


def _egg_shell(s: Sketch) -> None:
    tone = hsv(s.between(0.06, 0.09), s.between(0.12, 0.4), s.between(0.8, 0.95))
    r = s.between(0.6, 0.72)
    t = np.linspace(0, np.pi, 40)
    bowl = np.stack([r * np.cos(t), 0.85 * np.sin(t) - 0.1], 1)
    jag = np.linspace(-r, r, 16)
    teeth = np.stack([jag, -0.1 + s.rng.uniform(-0.16, 0.12, 16)], 1)
    back = s.ellipse(0, -0.1, r, 0.2)
    s.cover(back, (0.93, 0.9, 0.84))
    s.light((1 - 0.4 * np.clip(s.y * 2 + 0.6, 0, 1)), back)
    body = s.poly(np.concatenate([teeth, bowl]))
    _flesh(s, body, tone, darker(tone, 0.92), 0.35)
    _ball(s, 0, 0.2, 0.75, body)
    if s.chance(0.5):
        s.cover(s.blob(s.between(-0.2, 0.2), -0.12, 0.3, 0.08, 0.1), (0.93, 0.65, 0.12), 0.85)


def _orange_peel(s: Sketch) -> None:
    hue = s.between(0.06, 0.13)
    skin, pith = hsv(hue, 0.88, 0.92), (0.95, 0.88, 0.7)
    for _ in range(int(s.rng.integers(2, 4))):
        cx, cy = s.between(-0.35, 0.35), s.between(-0.35, 0.35)
        points = s.blob_points(cx, cy, s.between(0.4, 0.55), s.between(0.3, 0.45), 0.16, lobes=6)
        body = s.poly(points)
        out = s.chance(0.65)
        _flesh(s, body, skin if out else pith, hsv(hue - 0.02, 0.9, 0.8) if out else (0.9, 0.78, 0.5), 0.15)
        s.light(1 + 0.1 * s.noise(70) * body)
        s.print_on(s.line(points, 0.035, True), pith if out else skin, 0.9)
        _ball(s, cx, cy, 0.6, body)


def _potato(s: Sketch) -> None:
    body = s.blob(0, 0, 0.85, s.between(0.5, 0.65), 0.06, lobes=5)
    tone = hsv(s.between(0.08, 0.11), s.between(0.4, 0.55), s.between(0.6, 0.75))
    _flesh(s, body, tone, darker(tone, 0.8), 0.6)
    _ball(s, 0, 0, 0.9, body)
    for _ in range(9):
        s.print_on(
            s.ellipse(s.between(-0.6, 0.6), s.between(-0.35, 0.35), 0.05, 0.022, s.between(-40, 40)),
            (0.3, 0.2, 0.1),
            0.7,
        )


def _cucumber(s: Sketch) -> None:
    bow = s.between(-0.3, 0.3)
    body, _ = _bent(s, [(-0.9, 0.05), (-0.82, 0.14), (0, 0.19), (0.82, 0.14), (0.9, 0.06)], bow)
    _flesh(s, body, hsv(0.28, 0.75, 0.32), hsv(0.23, 0.65, 0.5), 0.25)
    across = s.y - bow * s.x**2 + bow * 0.4
    s.light((1.12 - 2.2 * np.clip(across, -0.05, 0.3)), body)
    s.gleam(np.exp(-(((across + 0.09) / 0.03) ** 2)) * body, 0.35)
    s.cover(s.ellipse(0.88, bow * 0.4, 0.05, 0.05), (0.6, 0.6, 0.3))


def _bread(s: Sketch) -> None:
    body = np.maximum(s.rect(-0.62, -0.45, 0.62, 0.8, 0.1), s.blob(0, -0.4, 0.78, 0.42, 0.03, lobes=4))
    s.cover(body, (0.6, 0.36, 0.14))
    crumb = np.maximum(s.rect(-0.55, -0.42, 0.55, 0.73, 0.1), s.blob(0, -0.4, 0.69, 0.34, 0.03, lobes=4)).astype(
        np.float32
    )
    _flesh(s, crumb, (0.93, 0.83, 0.62), (0.85, 0.72, 0.48), 0.2)
    s.light((1 - 0.22 * np.clip(s.noise(44) - 0.3, 0, 1)), crumb)
    if s.chance(0.5):
        s.print_on(np.clip(s.noise(9) - 0.35, 0, 1) * crumb, (0.42, 0.52, 0.38), 0.9)


ORGANIC: Mapping[str, Draw] = {
    "banana": _banana, "banana_peel": _banana_peel, "apple": _apple, "apple_core": _apple_core, "leaf": _leaf,
    "carrot": _carrot, "egg_shell": _egg_shell, "orange_peel": _orange_peel, "potato": _potato, "pear": _pear,
    "cucumber": _cucumber, "bread": _bread,
}  # fmt: skip
