"""Drawn things of plastic.

Sketch -> one thing drawn on it

All are saturated gloss, or clear film with many wrinkles; bottles wear sleeves and screw caps.
It must never draw a thing of one material with the surface of another.
"""

from collections.abc import Mapping

import numpy as np

from device.simulator.brush import Colour, Draw, Mask, Sketch, darker, hsv

__all__ = ["PLASTIC"]


# Plastic: saturated gloss or clear film with many small wrinkles, sleeves and screw caps


def _vivid(s: Sketch) -> tuple[float, float, float]:
    if s.chance(0.2):
        return hsv(s.between(0, 1), s.between(0.0, 0.06), s.between(0.88, 0.97))
    return hsv(s.between(0, 1), s.between(0.65, 0.95), s.between(0.7, 0.97))


def _gloss(s: Sketch, mask: Mask, u: Mask, colour: Colour) -> None:
    s.cover(mask, colour)
    s.round_off(mask, u, 0.42)
    s.light((1 + 0.05 * s.noise(6)), mask)
    s.gleam(s.stripe(u, s.between(-0.6, -0.4), s.between(0.1, 0.16)) * mask, 0.55)
    s.gleam(s.stripe(u, s.between(0.55, 0.7), 0.07) * mask, 0.22)


def _cap(s: Sketch, y0: float, y1: float, r: float) -> None:
    cap, u = s.lathe([(y0, r * 0.94), (y0 + 0.02, r), (y1, r)])
    s.cover(cap, _vivid(s))
    s.light((1 + 0.14 * np.sin(np.arcsin(u) * 30)), cap)
    s.round_off(cap, u)


def _sleeve(s: Sketch, body: Mask, u: Mask, y0: float, y1: float, *, wide: float) -> None:
    band = body * s.rect(-1, y0, 1, y1)
    ink = _vivid(s)
    s.cover(band, ink, 0.95)
    other = _vivid(s)
    s.print_on(band * s.rect(-1, y1 - (y1 - y0) * s.between(0.2, 0.4), 1, y1), other)
    s.print_on(s.name(0, (y0 * 0.6 + y1 * 0.4), (y1 - y0) * 0.28, wide) * band, (0.98, 0.98, 0.98))
    s.round_off(band, u, 0.4)
    s.gleam(s.stripe(u, -0.5, 0.12) * band, 0.35)


def _film(s: Sketch, mask: Mask, tint: Colour, opacity: float) -> None:
    s.cover(mask, tint, opacity)
    for count in (26, 120):
        s.light((1 + 0.13 * s.facets(count, 0.006)), mask)
    wrinkles = np.clip(np.abs(s.noise(22) + 0.6 * s.noise(40)), 0, 1)
    s.gleam((np.clip(0.16 - wrinkles, 0, 0.16) * 6 * mask * (s.noise(5) > 0)), 0.75)
    s.gleam(np.clip(s.facets(90, 0.005) * 1.4 - 0.75, 0, 1) * mask, 0.7)


def _pet_bottle(s: Sketch) -> None:
    r = s.between(0.3, 0.38)
    waist = r * s.between(0.86, 1.0)
    body, u = s.lathe([(-0.84, 0.1), (-0.74, 0.11), (-0.35, r), (0.0, waist), (0.3, r), (0.82, r), (0.93, r * 0.78)])
    tint = hsv(
        s.between(0.5, 0.62) if s.chance(0.7) else s.between(0.3, 0.4), s.between(0.08, 0.4), s.between(0.8, 0.95)
    )
    s.cover(body, tint, s.between(0.4, 0.58))
    ribs = np.sin((s.y - 0.1 * np.sqrt(np.maximum(1 - u * u, 0))) * s.between(40, 60))
    s.gleam((np.clip(ribs - 0.55, 0, 1) * body * (s.y > 0.1)), 0.8)
    s.light(1 - 0.25 * np.clip(-ribs, 0, 1) * (s.y > 0.1) * body)
    _film(s, body, tint, 0.12)
    s.print_on((np.abs(u) ** 6 * body), darker(tint, 0.65), 0.6)
    s.gleam(s.stripe(u, -0.55, 0.1) * body, 0.6)
    _sleeve(s, body, u, s.between(-0.35, -0.2), s.between(0.1, 0.3), wide=r * 1.5)
    _cap(s, -0.97, -0.82, 0.125)


def _detergent(s: Sketch) -> None:
    r = s.between(0.42, 0.52)
    body, u = s.lathe([(-0.7, 0.16), (-0.55, 0.18), (-0.3, r), (0.85, r * s.between(0.9, 1.1)), (0.93, r * 0.85)])
    colour = _vivid(s)
    _gloss(s, body, u, colour)
    if s.chance(0.6):
        hole = s.ellipse(r * 0.45, -0.2, 0.09, 0.22, -15)
        s.erase(hole)
        s.print_on(
            np.clip(s.ellipse(r * 0.45, -0.2, 0.13, 0.26, -15) - hole, 0, 1),
            darker(colour, 0.6),
            0.5,
        )
    _sleeve(s, body * s.rect(-r * 0.8, 0.05, r * 0.8, 0.75, 0.08), u, 0.05, 0.75, wide=r * 1.3)
    _cap(s, -0.97, -0.68, s.between(0.18, 0.24))


def _shampoo(s: Sketch) -> None:
    w = s.between(0.32, 0.44)
    body = s.rect(-w, -0.55, w, 0.92, 0.16)
    u = np.clip(s.x / np.float32(w), -1, 1)
    _gloss(s, body, u, _vivid(s))
    s.print_on(s.name(0, 0.0, w * 0.35, w * 1.5), (0.98, 0.98, 0.98))
    s.print_on(s.words(-w * 0.6, 0.3, w * 0.6, 0.65, 0.025), (0.95, 0.95, 0.95), 0.8)
    _cap(s, -0.85, -0.53, w * s.between(0.5, 0.8))


def _yoghurt_cup(s: Sketch) -> None:
    top, low = s.between(0.62, 0.72), s.between(0.42, 0.52)
    body, u = s.lathe([(-0.65, top), (0.75, low)])
    body = np.maximum(body, s.ellipse(0, 0.75, low, low * 0.2))
    _gloss(s, body, u, hsv(0, 0.02, 0.95))
    _sleeve(s, body, u, -0.5, 0.68, wide=top * 1.4)
    s.cover(s.ellipse(0, -0.65, top * 1.06, top * 0.26), (0.96, 0.96, 0.96))
    s.cover(s.ellipse(0, -0.64, top * 0.96, top * 0.21), (0.74, 0.74, 0.75))
    s.gleam(s.line([(-top * 0.8, -0.72), (0, -0.82), (top * 0.4, -0.8)], 0.02), 0.8)


def _tub(s: Sketch) -> None:
    w, h = 0.85, s.between(0.55, 0.7)
    colour = _vivid(s)
    _gloss(s, s.rect(-w, -h, w, h, 0.2), np.clip(s.x * 0.7 + s.y * 0.7, -1, 1), colour)
    ring = np.clip(
        s.rect(-w + 0.07, -h + 0.07, w - 0.07, h - 0.07, 0.17) - s.rect(-w + 0.1, -h + 0.1, w - 0.1, h - 0.1, 0.16),
        0,
        1,
    )
    s.light(1 - 0.4 * ring)
    inner = s.rect(-w + 0.17, -h + 0.17, w - 0.17, h - 0.17, 0.1)
    s.print_on(inner, _vivid(s), 0.9)
    s.print_on(s.name(0, -0.05, 0.24, 1.1), (0.99, 0.99, 0.99))
    s.gleam(s.stripe((s.x + s.y * 0.6), -0.5, 0.09) * s.alpha, 0.5)
    s.gleam(s.line([(-w + 0.1, -h + 0.04), (w - 0.2, -h + 0.04)], 0.02), 0.7)


def _carrier_bag(s: Sketch) -> None:
    w = s.between(0.55, 0.7)
    right = [(0.4, -0.4), (0.45, -0.95), (0.75, -0.95), (1.0, -0.35), (0.95, 0.9)]
    outline = [(w * a, b) for a, b in right] + [(-w * a, b) for a, b in reversed(right)]
    body = s.poly(s.ragged(outline, 0.015))
    clear = s.chance(0.4)
    _film(s, body, _vivid(s) if not clear else (0.9, 0.93, 0.95), 0.6 if clear else 0.93)
    if not clear:
        s.print_on(s.name(0, 0.2, 0.28, w * 1.6), (0.98, 0.98, 0.98), 0.9)


def _film_ball(s: Sketch) -> None:
    outline = s.blob_points(0, 0, 0.85, s.between(0.6, 0.85), 0.12, lobes=10)
    clear = s.chance(0.6)
    _film(s, s.poly(outline), (0.9, 0.93, 0.96) if clear else _vivid(s), 0.5 if clear else 0.9)


def _cutlery(s: Sketch) -> None:
    colour = _vivid(s) if s.chance(0.6) else (0.95, 0.95, 0.95)
    fork = s.chance(0.5)
    body = s.poly([(-0.07, -0.2), (0.07, -0.2), (0.1, 0.9), (-0.1, 0.9)])
    body = np.maximum(body, s.ellipse(0, -0.5, 0.24, 0.42))
    if fork:
        for x in (-0.11, 0.0, 0.11):
            body = body * (1 - s.rect(x - 0.022, -1, x + 0.022, -0.5, 0.02))
    _gloss(s, body, np.clip(s.x * 5, -1, 1), colour)
    s.gleam(s.ellipse(-0.06, -0.45, 0.05, 0.2, 8), 0.5)


def _screw_lid(s: Sketch) -> None:
    r = s.between(0.72, 0.84)
    far = np.hypot(s.x, s.y)
    colour = _vivid(s)
    _gloss(s, s.soft(r - far), np.clip(s.x * 0.8 + s.y * 0.6, -1, 1), colour)
    teeth = np.sin(np.arctan2(s.y, s.x) * 48)
    s.light(1 + 0.25 * teeth * (far > r * 0.88))
    s.light(1 - 0.35 * np.exp(-(((far - r * 0.84) / 0.02) ** 2)))
    s.light(1 + 0.25 * np.exp(-(((far - r * 0.6) / 0.02) ** 2)))
    s.print_on(s.name(0, 0, r * 0.2, r), darker(colour, 0.7), 0.7)


PLASTIC: Mapping[str, Draw] = {
    "pet_bottle": _pet_bottle, "detergent": _detergent, "yoghurt_cup": _yoghurt_cup, "carrier_bag": _carrier_bag,
    "cutlery": _cutlery, "screw_lid": _screw_lid, "film_ball": _film_ball, "shampoo": _shampoo, "tub": _tub,
}  # fmt: skip
