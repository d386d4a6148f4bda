"""A hand and its arm, for people who reach into the bin.

seed -> draw_hand -> uint8 RGBA

It must never end inside the picture: an arm belongs to somebody outside.
"""

import numpy as np

from device.simulator.brush import Mask, Rgba, Sketch, darker, hsv

__all__ = ["HAND_AT", "draw_hand"]

HAND_AT = (0.5, 0.7)
"""Where the palm is in a drawn hand (x, y), shares of its size."""


def draw_hand(seed: int, size_px: int = 384) -> Rgba:
    """Draw an arm in a sleeve that reaches down from the top edge, its fingers at the bottom.

    Args:
        seed: 0 or more; skin, sleeve and fingers vary with it.
        size_px: width and height.

    Returns:
        uint8 [size_px, size_px, 4], 0-255, RGB and straight alpha; the middle of the palm is at `HAND_AT`.
    """
    s = Sketch(np.random.default_rng([seed, 0xA2B]), size_px)
    skin = hsv(s.between(0.03, 0.075), s.between(0.3, 0.6), s.between(0.3, 0.95))
    wrist, palm = s.between(0.13, 0.17), s.between(0.2, 0.24)
    arm, u = s.lathe(
        [(-1.2, wrist * 1.7), (-0.3, wrist * 1.25), (0.1, wrist), (0.3, palm), (0.55, palm * 0.95), (0.6, palm * 0.8)]
    )
    _skin(s, arm, skin)
    s.round_off(arm, u, 0.35)
    spread = s.between(0.02, 0.14)
    for finger in range(4):
        start = (-palm * 0.75 + finger * palm * 0.5, 0.52)
        length = (0.3, 0.38, 0.36, 0.26)[finger] * s.between(0.75, 1.05)
        end = (start[0] + (finger - 1.5) * spread, start[1] + length)
        _finger(s, start, end, palm * 0.4, skin)
    side = -1 if s.chance(0.5) else 1
    _finger(s, (side * palm * 0.8, 0.3), (side * palm * s.between(1.2, 1.7), s.between(0.5, 0.62)), palm * 0.45, skin)
    cuff_y = s.between(-0.35, 0.0)
    sleeve, v = s.lathe([(-1.2, wrist * 2.2), (cuff_y - 0.05, wrist * 1.75), (cuff_y, wrist * 1.7)])
    if s.chance(0.8):
        cloth = hsv(s.between(0, 1), s.between(0.05, 0.7), s.between(0.12, 0.85))
        s.cover(sleeve, cloth)
        s.light((1 + 0.18 * np.sin((s.noise(5) * 2 + s.y * 9)) + s.grain(0.03)), sleeve)
        s.round_off(sleeve, v, 0.4)
        s.light((1 - 0.3 * s.rect(-1, cuff_y - 0.09, 1, cuff_y - 0.07)), sleeve)
    return s.finish()


def _skin(s: Sketch, mask: Mask, tone: tuple[float, float, float]) -> None:
    s.cover(mask, tone)
    s.light((1 + 0.06 * s.noise(7) + s.grain(0.012)), mask)


def _finger(
    s: Sketch, start: tuple[float, float], end: tuple[float, float], width: float, skin: tuple[float, float, float]
) -> None:
    s.print_on(s.line([start, end], width * 1.25), darker(skin, 0.6), 0.6)
    _skin(s, s.line([start, end], width), skin)
    s.print_on(s.line([start, end], width * 0.35), darker(skin, 1.15), 0.35)
    nail = (end[0], end[1] + width * 0.1)
    s.print_on(s.ellipse(*nail, width * 0.28, width * 0.34), (0.95, 0.8, 0.75), 0.55)
