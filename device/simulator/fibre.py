"""Drawn things of cardboard and paper.

Sketch -> one thing drawn on it

Cardboard is brown, fluted and creased; paper is white or newsprint with lines of print and straight creases.
It must never draw a thing of one material with the surface of another.
"""

from collections.abc import Mapping

import numpy as np

from device.simulator.brush import Colour, Draw, Mask, Points, Sketch, darker, hsv

__all__ = ["CARDBOARD", "PAPER"]


# Cardboard: brown, fluted at the cut edges, creased, taped


def _board(s: Sketch, mask: Mask, tone: Colour, flutes: bool = True) -> None:
    s.cover(mask, tone)
    s.light((1 + 0.05 * s.noise(5) + 0.03 * s.noise(60, 8) + s.grain(0.018)), mask)
    if flutes:
        angle = s.between(-0.06, 0.06)
        s.light((1 + 0.028 * np.sin((s.x + angle * s.y) * s.between(70, 110))), mask)


def _brown(s: Sketch) -> tuple[float, float, float]:
    return hsv(s.between(0.075, 0.105), s.between(0.34, 0.52), s.between(0.58, 0.78))


def _cut_edge(s: Sketch, points: Points, tone: tuple[float, float, float], width: float = 0.035) -> None:
    line = s.line(points, width)
    s.cover(line, darker(tone, 0.8))
    waves = 0.5 + 0.5 * np.sin((s.x + s.y * 0.4) * 120)
    s.print_on((line * waves), darker(tone, 1.18), 0.8)


def _board_print(s: Sketch, cx: float, cy: float, size: float) -> None:
    ink = hsv(s.between(0, 1), s.between(0.2, 0.8), s.between(0.12, 0.4))
    s.print_on(s.name(cx, cy, size, 0.75), ink, 0.75)
    s.print_on(s.words(cx - size, cy + size * 0.9, cx + size, cy + size * 1.7, 0.03), ink, 0.6)


def _open_box(s: Sketch) -> None:
    tone, w, h, d = _brown(s), s.between(0.5, 0.7), s.between(0.35, 0.6), s.between(0.2, 0.32)
    top = -0.1
    _board(s, s.poly([(-w, top), (-w * 0.75, top - d), (w * 0.75, top - d), (w, top)]), darker(tone, 0.45), False)
    for side in (-1, 1):
        reach = s.between(0.2, 0.38)
        corners = [(side * w, top), (side * w * 0.75, top - d), (side * (w * 0.75 + reach), top - d - 0.1)]
        flap = [*corners, (side * (w + reach), top - s.between(-0.05, 0.15))]
        _board(s, s.poly(flap), darker(tone, 1.06 if side < 0 else 0.9))
        _cut_edge(s, [flap[2], flap[3]], tone)
    flap = [(-w * 0.75, top - d), (-w * 0.68, top - d - 0.3), (w * 0.68, top - d - 0.3), (w * 0.75, top - d)]
    _board(s, s.poly(flap), darker(tone, 0.95))
    _cut_edge(s, flap[1:3], tone)
    _board(s, s.poly([(-w, top), (w, top), (w * 0.94, top + 2 * h), (-w * 0.94, top + 2 * h)]), tone)
    front = [(-w, top), (w, top), (w * 1.04, top + 0.28), (-w * 1.04, top + 0.28)]
    s.light(1 - 0.35 * s.rect(-w, top + 0.28, w, top + 0.33, 0.02))
    _board(s, s.poly(front), darker(tone, 1.08))
    _cut_edge(s, front[2:4], tone)
    _board_print(s, 0, top + h * 1.2, s.between(0.12, 0.2))


def _closed_box(s: Sketch) -> None:
    tone, w, h = _brown(s), s.between(0.5, 0.75), s.between(0.4, 0.6)
    lift, shift = s.between(0.22, 0.4), s.between(0.18, 0.32)
    front = [(-w, -h + lift), (w - shift, -h + lift), (w - shift, h), (-w, h)]
    top = [(-w, -h + lift), (-w + shift, -h), (w, -h), (w - shift, -h + lift)]
    side = [(w - shift, -h + lift), (w, -h), (w, h - lift), (w - shift, h)]
    for face, by in ((front, 1.0), (top, 1.15), (side, 0.74)):
        _board(s, s.poly(face), darker(tone, by))
    tape = (0.82, 0.72, 0.5) if s.chance(0.6) else (0.85, 0.85, 0.82)
    middle = -shift / 2
    a, b = w - shift / 2, lift / 2 - h
    strip = [(-a, b - 0.05), (a, b - 0.05), (a - 0.05, b + 0.05), (-a - 0.05, b + 0.05)]
    s.print_on(s.poly(strip), tape, 0.75)
    s.print_on(s.line([(-w, -h + lift), (w - shift, -h + lift), (w, -h)], 0.018), darker(tone, 0.55), 0.7)
    s.print_on(s.line([(w - shift, -h + lift), (w - shift, h)], 0.018), darker(tone, 0.55), 0.6)
    _board_print(s, middle - 0.05, 0.12, s.between(0.14, 0.24))


def _flat_box(s: Sketch) -> None:
    tone, w, h = _brown(s), s.between(0.45, 0.6), s.between(0.35, 0.45)
    f = s.between(0.25, 0.4)
    corner = [(w, -h - f), (w, -h), (w + f, -h), (w + f, h), (w, h), (w, h + f)]
    cross = corner + [(-a, b) for a, b in reversed(corner)]
    _board(s, s.poly(s.ragged(cross, 0.006)), tone)
    for fold in ([(-w, -h), (w, -h)], [(-w, h), (w, h)], [(-w, -h), (-w, h)], [(w, -h), (w, h)]):
        s.print_on(s.line(fold, 0.022), darker(tone, 0.6), 0.8)
    for slab, by in (
        (s.rect(-w, -h - f, w, -h), 0.92),
        (s.rect(w, -h, w + f, h), 0.86),
        (s.rect(-w, h, w, h + f), 1.06),
    ):
        s.light(1 + (by - 1) * slab)
    _board_print(s, 0, 0, s.between(0.12, 0.2))


def _roll(s: Sketch) -> None:
    tone, r = _brown(s), s.between(0.28, 0.42)
    tall = 0.85
    body, u = s.lathe([(-tall, r), (tall, r)])
    body = np.maximum(body, s.ellipse(0, tall, r, r * 0.35))
    _board(s, body, tone, False)
    s.round_off(body, u, 0.5)
    lean, pitch = s.between(0.5, 0.9), s.between(5, 8)
    seam = np.abs(((s.y + lean * u * r) * pitch / 2) % 1.0 - 0.5)
    s.print_on(np.clip(1 - seam * 40, 0, 1) * body, darker(tone, 0.6), 0.8)
    s.cover(s.ellipse(0, -tall, r, r * 0.35), darker(tone, 1.12))
    s.cover(s.ellipse(0, -tall, r * 0.86, r * 0.28), darker(tone, 0.35))


def _egg_carton(s: Sketch) -> None:
    grey = s.chance(0.4)
    tone = (0.62, 0.6, 0.56) if grey else _brown(s)
    rows, cols = 2, int(s.rng.integers(3, 6))
    w, h = 0.9, 0.9 * rows / cols + 0.05
    _board(s, s.rect(-w, -h, w, h, 0.08), tone, False)
    for row in range(rows):
        for col in range(cols):
            cx, cy = -w + (col + 0.5) * 2 * w / cols, -h + (row + 0.5) * 2 * h / rows
            r = w / cols * 0.82
            far = np.hypot(s.x - cx, s.y - cy) / r
            cup = np.clip((1 - far) * 6, 0, 1)
            s.light(1 - cup * (0.28 + 0.35 * np.clip((-(s.x - cx) - (s.y - cy)) / r, -1, 1)))
    s.light(1 + s.grain(0.03) + 0.06 * s.noise(40))


def _torn_board(s: Sketch) -> None:
    tone = _brown(s)
    outline = s.blob_points(0, 0, 0.85, s.between(0.5, 0.8), 0.12, lobes=9)
    torn = s.ragged(outline[::8], 0.015)
    _board(s, s.poly(torn), tone, False)
    s.light(
        (1 + 0.1 * np.sin((s.x * s.between(0.9, 1) + s.y * s.between(-0.1, 0.1)) * s.between(45, 65))).astype(
            np.float32
        )
    )
    bare = s.blob(s.between(-0.4, 0.4), s.between(-0.3, 0.3), 0.3, 0.25, 0.25)
    s.light(1 + bare * (0.16 + 0.12 * np.sign(np.sin(s.x * 55))))
    s.print_on(s.line(torn, 0.02, closed=True), darker(tone, 1.3), 0.7)


def _pizza_box(s: Sketch) -> None:
    tone = _brown(s)
    w = s.between(0.72, 0.82)
    rim = darker(_brown(s), 0.8)
    _board(s, s.rect(-w - 0.05, -w - 0.03, w + 0.05, w + 0.1, 0.03), rim)
    _board(s, s.rect(-w, -w, w, w, 0.05), tone)
    ink = hsv(s.between(-0.05, 0.03) if s.chance(0.6) else s.between(0.3, 0.4), 0.8, 0.55)
    far = np.hypot(s.x, s.y)
    s.print_on(np.clip(1 - np.abs(far - w * 0.62) * 40, 0, 1), ink, 0.8)
    s.print_on(s.name(0, 0, 0.2, w * 1.1), ink, 0.85)
    s.light(1 - 0.3 * s.blob(s.between(-0.4, 0.4), s.between(0.1, 0.5), 0.2, 0.14, 0.2))
    for x in (-w * 0.55, w * 0.55):
        s.print_on(s.rect(x - 0.06, w - 0.02, x + 0.06, w + 0.05), darker(tone, 0.4))


# Paper: flat white or grey-beige, print, straight creases


def _white(s: Sketch) -> tuple[float, float, float]:
    return hsv(s.between(0.08, 0.16), s.between(0.0, 0.07), s.between(0.86, 0.97))


def _newsprint(s: Sketch) -> tuple[float, float, float]:
    return hsv(s.between(0.1, 0.14), s.between(0.06, 0.14), s.between(0.74, 0.85))


def _sheet_of(s: Sketch, mask: Mask, tone: Colour) -> None:
    s.cover(mask, tone)
    s.light((1 + 0.025 * s.noise(5) + s.grain(0.008)), mask)


def _crease(s: Sketch, count: int, depth: float = 0.09) -> None:
    for _ in range(count):
        turn, off = s.between(0, np.pi), s.between(-0.6, 0.6)
        side = np.cos(turn) * s.x + np.sin(turn) * s.y - off
        s.light(1 + s.between(-depth, depth) * np.tanh(side * 4))
        s.light(1 - depth * np.exp(-((side / 0.008) ** 2)))
        s.light(1 + depth * np.exp(-(((side - 0.014) / 0.008) ** 2)))


def _page(s: Sketch, aspect: float, wobble: float = 0.008) -> tuple[Mask, float, float]:
    w, h = (0.9 * aspect, 0.9) if aspect < 1 else (0.9, 0.9 / aspect)
    skew = s.between(-0.06, 0.06)
    corners = [(-w + skew, -h), (w + skew, -h + s.between(-0.04, 0.04)), (w - skew, h), (-w - skew, h)]
    return s.poly(s.ragged(corners, wobble * 0.4)), w, h


_INK = (0.12, 0.12, 0.14)


def _letter(s: Sketch) -> None:
    mask, w, h = _page(s, s.between(0.65, 0.78))
    _sheet_of(s, mask, _white(s))
    s.print_on(s.words(-w * 0.8, -h * 0.55, w * 0.8, h * s.between(0.3, 0.8), s.between(0.022, 0.032)), _INK, 0.75)
    s.print_on(s.words(-w * 0.8, -h * 0.85, -w * 0.2, -h * 0.65, 0.025), _INK, 0.75)
    if s.chance(0.5):
        s.print_on(s.name(w * 0.45, -h * 0.78, 0.12, w * 0.8), hsv(s.between(0, 1), 0.7, 0.6), 0.85)
    _crease(s, int(s.rng.integers(1, 4)))


def _ruled_page(s: Sketch) -> None:
    mask, w, h = _page(s, s.between(0.68, 0.8))
    _sheet_of(s, mask, _white(s))
    pitch = s.between(0.09, 0.13)
    lines = np.abs(((s.y + 1) / pitch) % 1.0 - 0.5) > 0.46
    s.print_on((lines * mask), (0.45, 0.6, 0.8), 0.6)
    if s.chance(0.5):
        s.print_on(s.rect(-w * 0.75, -1, -w * 0.74, 1), (0.85, 0.35, 0.35), 0.8)
    ink = (0.12, 0.18, 0.5) if s.chance(0.6) else _INK
    for row in range(int(s.rng.integers(4, 11))):
        y = -h * 0.75 + row * pitch
        x = np.linspace(-w * 0.7, w * s.between(0.1, 0.75), 60)
        wave = y + 0.02 * np.sin(x * s.between(60, 90)) * np.sin(x * 17 + row)
        s.print_on(s.line(np.stack([x, wave], 1), 0.008), ink, 0.8)
    for y in np.arange(-h * 0.85, h * 0.85, 0.16):
        s.erase(s.ellipse(-w * 0.92, float(y), 0.025, 0.025))
    _crease(s, int(s.rng.integers(0, 4)))


def _newspaper(s: Sketch) -> None:
    mask, w, h = _page(s, s.between(0.7, 1.3))
    _sheet_of(s, mask, _newsprint(s))
    s.print_on(s.name(0, -h * 0.82, 0.2, w * 1.7), _INK, 0.9)
    s.print_on(s.rect(-w * 0.9, -h * 0.66, w * 0.9, -h * 0.65), _INK, 0.8)
    columns = int(s.rng.integers(3, 5))
    for column in range(columns):
        x0 = -w * 0.9 + column * 1.8 * w / columns
        x1 = x0 + 1.8 * w / columns - 0.05
        y0 = -h * 0.58
        if s.chance(0.5):
            y1 = y0 + s.between(0.25, 0.45)
            s.print_on(s.rect(x0, y0, x1, y1), (0.5, 0.5, 0.5))
            s.light(1 + 0.5 * s.noise(9) * s.rect(x0, y0, x1, y1))
            y0 = y1 + 0.05
        s.print_on(s.words(x0, y0, x1, h * 0.92, 0.02, gap=2.0), _INK, 0.65)
    _crease(s, int(s.rng.integers(1, 4)), 0.13)


def _crumpled(s: Sketch) -> None:
    outline = s.blob_points(0, 0, 0.85, s.between(0.65, 0.85), 0.09, lobes=11)
    printed = s.chance(0.45)
    _sheet_of(s, s.poly(outline[::5]), _newsprint(s) if printed else _white(s))
    if printed or s.chance(0.4):
        s.print_on(s.words(-0.9, -0.9, 0.9, 0.9, 0.026), _INK, 0.5)
    for count, depth in ((14, 0.2), (55, 0.17), (130, 0.1)):
        s.light(1 - depth * 0.35 + depth * s.facets(count, 0.005))
    s.light(1.08 - 0.2 * np.hypot(s.x + 0.25, s.y + 0.25) ** 2)


def _paper_bag(s: Sketch) -> None:
    w = s.between(0.45, 0.58)
    top = [(x, -0.9 + 0.035 * (i % 2)) for i, x in enumerate(np.linspace(-w, w, 23))]
    tone = _white(s)
    _sheet_of(s, s.poly([*top, (w, 0.92), (-w, 0.92)]), tone)
    s.light(1 - 0.13 * s.rect(-w, -1, -w + 0.14, 1) - 0.18 * s.rect(w - 0.14, -1, w, 1))
    s.print_on(s.name(0, -0.1, 0.2, w * 1.5), hsv(s.between(0, 1), 0.7, 0.5), 0.85)
    s.print_on(s.words(-w * 0.5, 0.2, w * 0.5, 0.45, 0.025), _INK, 0.6)
    s.light(1 + 0.13 * s.facets(26, 0.008))
    _crease(s, 3)


def _magazine(s: Sketch) -> None:
    mask, w, h = _page(s, s.between(0.72, 0.8), 0.0)
    _sheet_of(s, mask, _white(s))
    picture = s.rect(-w * 0.92, -h * s.between(0.55, 0.7), w * 0.92, h * s.between(0.4, 0.75))
    low, high = hsv(s.between(0, 1), 0.4, 0.5), hsv(s.between(0, 1), 0.4, 0.85)
    mix = np.clip(0.5 + s.y * 0.5 + 0.4 * s.noise(5), 0, 1)[..., None]
    s.print_on(picture, (np.asarray(low) * (1 - mix) + np.asarray(high) * mix))
    s.print_on(s.name(0, -h * 0.82, 0.22, w * 1.7), hsv(s.between(0, 1), 0.85, 0.6))
    s.print_on(s.words(-w * 0.8, h * 0.8, w * 0.6, h * 0.95, 0.022), _INK, 0.7)
    s.print_on(s.words(-w * 0.8, -h * 0.3, -w * 0.1, 0.1, 0.035), (0.98, 0.98, 0.98), 0.9)
    s.gleam(s.stripe((s.x + 0.4 * s.y), s.between(-0.4, 0.4), 0.12) * mask, 0.22)
    s.light(1 - 0.25 * np.exp(-(((s.x + w * 0.97) / 0.03) ** 2)))


def _envelope(s: Sketch) -> None:
    mask, w, h = _page(s, s.between(1.4, 2.0), 0.0)
    tone = _white(s)
    _sheet_of(s, mask, tone)
    if s.chance(0.5):
        tip = s.between(0.05, 0.25)
        for a, b in (((-w, -h), (0.0, tip)), ((w, -h), (0.0, tip))):
            s.print_on(s.line([a, b], 0.016), (0.55, 0.55, 0.55), 0.8)
        s.light(1 - 0.05 * s.poly([(-w, -h), (w, -h), (0, tip)]))
    else:
        s.print_on(s.words(0.0, 0.0, w * 0.7, h * 0.6, 0.03), _INK, 0.75)
        s.print_on(s.rect(w * 0.68, -h * 0.85, w * 0.92, -h * 0.3), hsv(s.between(0, 1), 0.5, 0.7), 0.9)
        s.print_on(s.words(-w * 0.9, -h * 0.85, -w * 0.3, -h * 0.5, 0.024), _INK, 0.6)
    _crease(s, int(s.rng.integers(0, 3)))


def _receipt(s: Sketch) -> None:
    w = s.between(0.26, 0.36)
    x = np.linspace(-1, 1, 30)
    curl = s.between(-0.12, 0.12)
    left = np.stack([-w + curl * (x**2), x * 0.92], 1)
    right = np.stack([w + curl * (x**2), x * 0.92], 1)[::-1]
    _sheet_of(s, s.poly(np.concatenate([left, right])), _white(s))
    s.print_on(s.name(0, -0.78, 0.1, w * 1.5), _INK, 0.7)
    s.print_on(s.words(-w * 0.75, -0.65, w * 0.2, 0.7, 0.026), _INK, 0.65)
    s.print_on(s.words(w * 0.4, -0.65, w * 0.8, 0.7, 0.026), _INK, 0.65)
    s.light(1 - 0.16 * np.clip(np.abs(s.y) - 0.5, 0, 1) + 0.04 * np.sin(s.y * s.between(3, 9)))
    _crease(s, int(s.rng.integers(0, 3)))


CARDBOARD: Mapping[str, Draw] = {
    "open_box": _open_box, "flat_box": _flat_box, "roll": _roll, "egg_carton": _egg_carton, "torn_board": _torn_board,
    "closed_box": _closed_box, "pizza_box": _pizza_box,
}  # fmt: skip
PAPER: Mapping[str, Draw] = {
    "letter": _letter, "ruled_page": _ruled_page, "newspaper": _newspaper, "crumpled": _crumpled,
    "paper_bag": _paper_bag, "magazine": _magazine, "envelope": _envelope, "receipt": _receipt,
}  # fmt: skip
