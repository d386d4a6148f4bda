"""Drawn things of glass and metal.

Sketch -> one thing drawn on it

Glass is see-through and tinted with dark thick edges; metal is streaked silver with high contrast.
It must never draw a thing of one material with the surface of another.
"""

from collections.abc import Mapping

import numpy as np

from device.simulator.brush import Colour, Draw, Mask, Sketch, darker, hsv

__all__ = ["GLASS", "METAL"]


# Glass: see-through and tinted, dark thick edges, hard window reflections


def _tint(s: Sketch) -> tuple[tuple[float, float, float], float]:
    kind = int(s.rng.integers(0, 4))
    if kind == 0:
        return hsv(s.between(0.06, 0.09), 0.85, s.between(0.24, 0.4)), 0.88
    if kind == 1:
        return hsv(s.between(0.28, 0.4), s.between(0.55, 0.8), s.between(0.26, 0.45)), 0.8
    return hsv(s.between(0.4, 0.52), s.between(0.04, 0.14), s.between(0.78, 0.9)), s.between(0.3, 0.42)


def _glaze(s: Sketch, mask: Mask, u: Mask, tint: tuple[float, float, float], opacity: float) -> None:
    s.cover(mask, tint, opacity)
    edge = (np.abs(u) ** 5) * mask
    s.print_on(edge, darker(tint, 0.4), 0.75)
    s.alpha = np.maximum(s.alpha, edge * np.float32(0.85))
    s.print_on(s.stripe(u, s.between(0.0, 0.4), 0.3) * mask, darker(tint, 1.35), 0.5)
    s.gleam(s.stripe(u, s.between(-0.72, -0.55), 0.07) * mask, 0.9)
    s.gleam(s.stripe(u, s.between(0.68, 0.8), 0.04) * mask, 0.6)
    s.gleam(s.stripe(u, s.between(-0.35, -0.25), 0.03) * mask, 0.4)


def _foot(s: Sketch, y: float, r: float, tint: tuple[float, float, float]) -> None:
    s.print_on(s.ellipse(0, y, r, r * 0.28), darker(tint, 0.6), 0.6)
    s.gleam(s.line([(-r * 0.7, y + r * 0.12), (0, y + r * 0.2), (r * 0.7, y + r * 0.12)], 0.025), 0.7)


def _paper_label(s: Sketch, body: Mask, u: Mask, y0: float, y1: float) -> None:
    band = body * s.rect(-1, y0, 1, y1)
    paper = hsv(s.between(0, 1), s.between(0.0, 0.35), s.between(0.75, 0.97))
    s.cover(band, paper, 0.97)
    ink = hsv(s.between(0, 1), s.between(0.5, 0.9), s.between(0.2, 0.55))
    s.print_on(band * s.rect(-1, y0 + 0.02, 1, y0 + 0.07), ink, 0.9)
    s.print_on(s.name(0, (y0 + y1) / 2, (y1 - y0) * 0.22, 0.42) * band, ink)
    s.print_on(s.words(-0.2, y1 - (y1 - y0) * 0.25, 0.2, y1 - 0.03, 0.02) * band, ink, 0.7)
    s.round_off(band, u, 0.4)


def _glass_bottle(s: Sketch, neck: float, shoulder: float, r: float, with_label: bool) -> None:
    tint, opacity = _tint(s)
    top = -0.95
    knots = [(top, 0.1), (top + 0.06, 0.115), (top + 0.08, 0.09), (neck, 0.1), (shoulder, r), (0.9, r), (0.96, r * 0.9)]
    body, u = s.lathe(knots)
    _glaze(s, body, u, tint, opacity)
    s.print_on(body * s.rect(-1, 0.84, 1, 1), darker(tint, 0.5), 0.7)
    s.gleam(body * s.rect(-1, 0.86, 1, 0.875), 0.5)
    s.gleam(s.rect(-0.1, top, 0.1, top + 0.05, 0.02), 0.55)
    if with_label:
        _paper_label(s, body, u, s.between(0.1, 0.25), s.between(0.5, 0.7))


def _wine_bottle(s: Sketch) -> None:
    _glass_bottle(s, s.between(-0.4, -0.3), s.between(-0.12, 0.0), s.between(0.26, 0.32), s.chance(0.6))


def _beer_bottle(s: Sketch) -> None:
    _glass_bottle(s, s.between(-0.62, -0.5), s.between(-0.15, 0.05), s.between(0.26, 0.34), s.chance(0.5))


def _stubby_bottle(s: Sketch) -> None:
    _glass_bottle(s, s.between(-0.78, -0.7), s.between(-0.4, -0.3), s.between(0.38, 0.48), s.chance(0.5))


def _jar(s: Sketch) -> None:
    tint, opacity = _tint(s)
    r = s.between(0.5, 0.62)
    body, u = s.lathe([(-0.75, r * 0.78), (-0.6, r * 0.8), (-0.45, r), (0.7, r), (0.8, r * 0.88)])
    _glaze(s, body, u, tint, min(opacity, 0.6))
    for y in (-0.7, -0.63):
        s.gleam(body * s.rect(-1, y, 1, y + 0.02), 0.55)
    s.cover(s.ellipse(0, -0.75, r * 0.78, r * 0.16), darker(tint, 0.8), 0.4)
    s.gleam(s.line([(-r * 0.76, -0.75), (0, -0.75 + r * 0.15), (r * 0.76, -0.75)], 0.02), 0.6)
    s.print_on(body * s.rect(-1, 0.66, 1, 1), darker(tint, 0.6), 0.6)
    _foot(s, 0.7, r * 0.8, tint)
    if s.chance(0.5):
        _paper_label(s, body, u, -0.25, s.between(0.25, 0.45))


def _tumbler(s: Sketch) -> None:
    tint, opacity = _tint(s)
    top, low = s.between(0.5, 0.65), s.between(0.36, 0.5)
    body, u = s.lathe([(-0.8, top), (0.75, low), (0.85, low * 0.92)])
    _glaze(s, body, u, tint, min(opacity, 0.5))
    s.cover(s.ellipse(0, -0.8, top, top * 0.22), darker(tint, 0.9), 0.3)
    ring = np.clip(s.ellipse(0, -0.8, top, top * 0.22) - s.ellipse(0, -0.8, top * 0.93, top * 0.18), 0, 1)
    s.gleam(ring, 0.8)
    if s.chance(0.5):
        cuts = 0.5 + 0.5 * np.cos(np.arcsin(u) * s.between(9, 15))
        s.gleam((cuts**4 * body * s.rect(-1, 0.0, 1, 0.7)), 0.45)
    _foot(s, 0.72, low * 0.85, tint)


def _flask(s: Sketch) -> None:
    tint, opacity = _tint(s)
    r = s.between(0.42, 0.58)
    body, u = s.lathe([(-0.9, 0.2), (-0.8, 0.2), (-0.78, 0.16), (-0.6, 0.17), (-0.35, r), (0.7, r), (0.85, r * 0.7)])
    _glaze(s, body, u, tint, opacity)
    if s.chance(0.4):
        cap, v = s.lathe([(-0.98, 0.22), (-0.74, 0.22)])
        s.cover(cap, hsv(s.between(0, 1), s.between(0, 0.3), s.between(0.2, 0.9)))
        s.round_off(cap, v)
    if s.chance(0.5):
        _paper_label(s, body, u, -0.15, 0.4)
    _foot(s, 0.7, r * 0.7, tint)


def _shard(s: Sketch) -> None:
    tint, opacity = _tint(s)
    t = np.sort(s.rng.uniform(0, 2 * np.pi, int(s.rng.integers(5, 8))))
    corners = np.stack([np.cos(t) * s.between(0.5, 0.9), np.sin(t) * s.between(0.5, 0.9)], 1)
    corners *= s.rng.uniform(0.7, 1.1, (len(t), 1))
    body = s.poly(corners)
    u = np.clip(s.x * 0.8 + s.y * 0.4, -1, 1)
    _glaze(s, body, u, tint, opacity)
    rim = s.line(corners, 0.05, closed=True) * body
    s.print_on(rim, darker(tint, 0.55), 0.7)
    s.gleam(s.line((corners * 0.97), 0.014, closed=True) * body, 0.9)
    s.gleam(np.clip(s.facets(6) - 0.4, 0, 1) * body, 0.5)


# Metal: streaked silver, high contrast, printed cans


def _silver(s: Sketch, u: Mask, warm: float = 0.0) -> Colour:
    phase, waves = s.between(0, 6.3), s.between(4.0, 6.5)
    level = 0.56 + 0.22 * np.cos(u * waves + phase) + 0.14 * np.cos(u * waves * 2.3 + phase * 2)
    level = level + 0.35 * s.stripe(u, s.between(-0.5, -0.2), 0.1) + s.grain(0.012)
    colour = np.stack([level * (1.0 + warm), level, level * (1.03 - warm * 1.5)], 2)
    return np.asarray(np.clip(colour, 0.08, 1.0), np.float32)


def _rim(s: Sketch, y: float, r: float, lid: bool) -> None:
    s.cover(s.ellipse(0, y, r, r * 0.3), (0.78, 0.79, 0.81))
    s.cover(s.ellipse(0, y + 0.01, r * 0.9, r * 0.25), (0.42, 0.43, 0.45))
    if lid:
        s.cover(s.ellipse(0, y + 0.015, r * 0.87, r * 0.235), _silver(s, s.x / np.float32(r)))
        s.cover(s.ellipse(0.02, y + r * 0.1, r * 0.2, r * 0.07), (0.12, 0.12, 0.13))
        s.cover(s.ellipse(0, y - r * 0.02, r * 0.16, r * 0.07), (0.85, 0.85, 0.87))


def _printed_can(s: Sketch, r: float, top: float, low: float) -> tuple[Mask, Mask]:
    body, u = s.lathe([(top, r * 0.86), (top + 0.12, r), (low - 0.12, r), (low, r * 0.82)])
    s.cover(body, _silver(s, u))
    ink = hsv(s.between(0, 1), s.between(0.65, 0.95), s.between(0.35, 0.85))
    band = body * s.rect(-1, top + 0.1, 1, low - 0.1)
    s.print_on(band, ink, 0.86)
    second = hsv(s.between(0, 1), s.between(0.0, 0.8), s.between(0.7, 1.0))
    wave = s.y - s.between(0.1, 0.4) - 0.15 * np.sin(s.x * s.between(2, 6) + s.between(0, 6))
    s.print_on((s.soft((s.between(0.08, 0.2) - np.abs(wave))) * band), second, 0.9)
    s.print_on(s.name(0, (top + low) / 2 - 0.25, r * 0.38, r * 1.4) * band, second)
    s.round_off(body, u, 0.5)
    s.gleam(s.stripe(u, -0.5, 0.08) * body, 0.65)
    s.gleam(s.stripe(u, 0.6, 0.05) * body, 0.35)
    return body, u


def _drinks_can(s: Sketch) -> None:
    r = s.between(0.4, 0.5)
    _printed_can(s, r, -0.8, 0.88)
    _rim(s, -0.8, r * 0.86, True)


def _crushed_can(s: Sketch) -> None:
    r, tall = s.between(0.5, 0.6), s.between(0.5, 0.65)
    _printed_can(s, r, -tall, tall)
    _rim(s, -tall, r * 0.86, True)
    s.light(1 + 0.45 * s.facets(14, 0.01))
    s.gleam(np.clip(s.facets(16, 0.01) - 0.5, 0, 1), 0.9)
    shift = (0.07 * np.sin(s.y[:, :1] * s.between(5, 9) + s.between(0, 6)) * s.size_px / 2).astype(np.int64)
    columns = (np.arange(s.size_px)[None, :] + shift) % s.size_px
    rows = np.arange(s.size_px)[:, None]
    s.rgb, s.alpha = s.rgb[rows, columns], s.alpha[rows, columns]


def _food_tin(s: Sketch) -> None:
    r, top, low = s.between(0.5, 0.62), s.between(-0.75, -0.55), s.between(0.6, 0.78)
    body, u = s.lathe([(top, r), (low, r)])
    body = np.maximum(body, s.ellipse(0, low, r, r * 0.26))
    s.cover(body, _silver(s, u))
    ribs = np.sin((s.y - 0.25 * np.sqrt(np.maximum(1 - u * u, 0)) * r) * s.between(38, 60))
    s.light(1 + 0.16 * ribs * body)
    if s.chance(0.4):
        _paper_label(s, body, u, top + 0.2, low - 0.1)
    s.round_off(body, u, 0.4)
    s.print_on(np.clip(s.noise(14) - 0.75, 0, 1) * body, (0.45, 0.26, 0.12), 0.7)
    _rim(s, top, r, False)


def _foil_ball(s: Sketch) -> None:
    outline = s.blob_points(0, 0, 0.85, s.between(0.65, 0.85), 0.06, lobes=12)
    body = s.poly(s.ragged(outline[::4], 0.012))
    s.cover(body, (0.66, 0.67, 0.69))
    far = np.hypot(s.x + 0.25, s.y + 0.3)
    s.light(1.25 - 0.4 * far)
    for count in (40, 160, 420):
        s.light(1 + 0.38 * s.facets(count, 0.004))
    s.gleam(np.clip(s.facets(260, 0.004) * 1.6 - 0.8, 0, 1) * body, 0.95)


def _foil_sheet(s: Sketch) -> None:
    outline = s.ragged([(-0.85, -0.7), (0.8, -0.75), (0.88, 0.7), (-0.8, 0.75)], 0.02)
    body = s.poly(outline)
    s.cover(body, _silver(s, (s.x * 0.7 + s.y * 0.5)))
    for count in (18, 90, 220):
        s.light(1 + 0.3 * s.facets(count, 0.004))
    s.gleam(np.clip(s.facets(120, 0.004) * 1.6 - 0.9, 0, 1) * body, 0.95)


def _metal_lid(s: Sketch) -> None:
    r = s.between(0.75, 0.85)
    far = np.hypot(s.x, s.y)
    body = s.soft(r - far)
    around = np.arctan2(s.y, s.x)
    gold = s.between(0.05, 0.16) if s.chance(0.45) else 0.0
    streak = np.abs(((around / np.pi + s.between(0, 2)) % 1.0) * 2 - 1)
    s.cover(body, _silver(s, (streak * 2 - 1), gold))
    for ring in (0.93, 0.7, 0.66, 0.35):
        s.light(1 - 0.35 * np.exp(-(((far - r * ring) / 0.012) ** 2)))
        s.light(1 + 0.3 * np.exp(-(((far - r * ring - 0.025) / 0.012) ** 2)))
    s.light(1 - 0.25 * np.clip((far - r * 0.93) * 20, 0, 1) * (0.5 + 0.5 * np.sin(around * 60)))


def _sardine_tin(s: Sketch) -> None:
    w, h = 0.85, s.between(0.5, 0.6)
    gold = s.between(0.0, 0.14)
    s.cover(s.rect(-w, -h, w, h, 0.22), _silver(s, (s.x + 0.3 * s.y), gold))
    for inset, by in ((0.04, 0.7), (0.08, 1.2), (0.16, 0.85)):
        a, b = w - inset, h - inset
        ring = np.clip(s.rect(-a, -b, a, b, 0.2) - s.rect(-a + 0.02, -b + 0.02, a - 0.02, b - 0.02, 0.19), 0, 1)
        s.light(1 + (by - 1) * 1.6 * ring)
    s.light(1 + 0.06 * s.noise(4, 70))
    s.cover(s.ellipse(w * 0.55, 0, 0.17, 0.12), (0.8, 0.8, 0.83))
    s.cover(s.ellipse(w * 0.58, 0, 0.1, 0.07), (0.35, 0.35, 0.37))
    s.gleam(np.clip(s.facets(20) - 0.55, 0, 1) * s.alpha, 0.6)


def _spray_can(s: Sketch) -> None:
    r = s.between(0.26, 0.33)
    _printed_can(s, r, -0.5, 0.92)
    cone, u = s.lathe([(-0.72, r * 0.45), (-0.62, r * 0.55), (-0.48, r * 0.9)])
    s.cover(cone, _silver(s, u))
    cap, v = s.lathe([(-0.95, r * 0.3), (-0.72, r * 0.36)])
    s.cover(cap, (0.86, 0.86, 0.88))
    s.round_off(cap, v)


def _foil_tray(s: Sketch) -> None:
    w, h = 0.85, s.between(0.55, 0.68)
    s.cover(s.rect(-w, -h, w, h, 0.14), _silver(s, (s.x * 0.8 + s.y * 0.4)))
    pleats = np.clip(s.alpha - s.rect(-w + 0.18, -h + 0.18, w - 0.18, h - 0.18, 0.1), 0, 1)
    across = np.where(np.abs(s.x) - w > np.abs(s.y) - h, s.y, s.x)
    s.light(1 + 0.35 * np.sin(across * 75) * pleats)
    s.light(1 - 0.18 * s.rect(-w + 0.18, -h + 0.18, w - 0.18, h - 0.18, 0.1))
    s.light(1 + 0.2 * s.facets(60, 0.006))
    s.gleam(np.clip(s.facets(90, 0.006) * 1.5 - 0.9, 0, 1) * s.alpha, 0.8)


GLASS: Mapping[str, Draw] = {
    "wine_bottle": _wine_bottle, "stubby_bottle": _stubby_bottle, "tumbler": _tumbler, "jar": _jar, "shard": _shard,
    "beer_bottle": _beer_bottle, "flask": _flask,
}  # fmt: skip
METAL: Mapping[str, Draw] = {
    "drinks_can": _drinks_can, "crushed_can": _crushed_can, "food_tin": _food_tin, "foil_ball": _foil_ball,
    "metal_lid": _metal_lid, "foil_tray": _foil_tray, "sardine_tin": _sardine_tin, "spray_can": _spray_can,
    "foil_sheet": _foil_sheet,
}  # fmt: skip
