"""One bin as its camera sees it, with the light of the room and the faults of a sensor.

layers, light -> Scene.render -> uint8 RGB as a camera would hand it out

A frame has a few milliseconds: the empty bin is painted once, what lies still is pasted once, and only light and noise
are new in each frame. It must never know what an item is, or when.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb
from device.simulator.enclosure import interior, light_map, paint_bin, to_bytes
from device.simulator.hands import HAND_AT, draw_hand
from device.simulator.layers import Layer, Sprites, blend, paste

__all__ = ["HAND_AT", "Layer", "Light", "Scene", "draw_hand", "expose", "interior", "noise_tile", "paste"]

_TILE_MARGIN_PX = 64


@dataclass(frozen=True, slots=True)
class Light:
    """How a frame is lit and exposed.

    Attributes:
        lamp: 1 as the bin was painted, 0 with the room's lamp off; between is a mixture.
        exposure: gain, 1 keeps it.
        cast: gain of red, green and blue: the white balance's error.
    """

    lamp: float = 1.0
    exposure: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)


def noise_tile(rng: np.random.Generator, size_px: tuple[int, int], deviation: float) -> NDArray[np.int16]:
    """A sensor's noise, a little larger than the frame, to be cut at a new place each time.

    Gamma makes shot and read noise about even over dark and bright bytes; demosaicing joins neighbours.

    Args:
        rng: where its random numbers come from.
        size_px: width and height of the frame.
        deviation: standard deviation, in steps of 0-255.

    Returns:
        int16 [H + 64, W + 64, 3].
    """
    tile = rng.standard_normal((size_px[1] + _TILE_MARGIN_PX, size_px[0] + _TILE_MARGIN_PX, 3), np.float32)
    return np.round((tile + 0.6 * cv2.blur(tile, (3, 3))) * deviation).astype(np.int16)


def expose(rgb: Rgb, light: Light, tile: NDArray[np.int16], rng: np.random.Generator) -> Rgb:
    """What the sensor makes of a scene: gain, colour cast and noise.

    Args:
        rgb: uint8 [H, W, 3], RGB; not changed.
        light: its exposure and cast are used; the lamp is in the scene already.
        tile: from `noise_tile`, for this size or a larger one.
        rng: chooses where the tile is cut.

    Returns:
        uint8 [H, W, 3], a new picture.
    """
    height, width = rgb.shape[:2]
    steps = np.arange(256, dtype=np.float32)[:, None] * np.asarray(light.cast, np.float32) * np.float32(light.exposure)
    # Highlights roll off; clipping hard would look like no camera.
    curve = np.where(steps > 215, 215 + 40 * (1 - np.exp(-(steps - 215) / 40)), steps)
    lit = cv2.LUT(rgb, np.round(curve).clip(0, 255).astype(np.uint8)[None])
    top = int(rng.integers(tile.shape[0] - height + 1))
    left = int(rng.integers(tile.shape[1] - width + 1))
    return np.asarray(cv2.add(lit, tile[top : top + height, left : left + width], dtype=cv2.CV_8U), np.uint8)


class Scene:
    """One bin, seen by one camera.

    Attributes:
        size_px: width and height of its frames.
        tray_px: (x, y, w, h), an upright box inside its floor.
        dusk_gain: the exposure that would make up for the lamp when it is off.
    """

    def __init__(self, seed: int, size_px: tuple[int, int] = (640, 480)) -> None:
        rng = np.random.default_rng([seed, 0x5CE4E])
        self.size_px = size_px
        painted, corners = paint_bin(rng, size_px)
        maps = [light_map(rng, size_px) for _ in range(2)]
        # The camera exposes for the bin with the lamp on.
        bright = float(rng.uniform(0.36, 0.55)) / float((painted * maps[1][..., None]).mean())
        lit = np.float32(np.clip(bright, 0.8, 1.6))
        self._maps = (maps[0] * np.float32(rng.uniform(0.4, 0.6)), maps[1])
        dusk = np.asarray((rng.uniform(0.85, 0.95), 0.95, rng.uniform(1.0, 1.12)), np.float32)
        self._empty = (
            to_bytes(painted * self._maps[0][..., None] * lit * dusk),
            to_bytes(painted * self._maps[1][..., None] * lit),
        )
        self.dusk_gain = float(self._empty[1].mean() / self._empty[0].mean())
        left, right = float(max(corners[0, 0], corners[3, 0])), float(min(corners[1, 0], corners[2, 0]))
        top, low = float(corners[0, 1]), float(corners[2, 1])
        self.tray_px = (round(left), round(top), round(right - left), round(low - top))
        turn = rng.uniform(0, 2 * np.pi)
        self._shadow_way = (float(np.cos(turn)), float(np.sin(turn)))
        self._tile = noise_tile(rng, size_px, float(rng.uniform(1.2, 2.6)))
        self._sprites = Sprites()
        self._kept: tuple[object, Sequence[Layer], Rgb] | None = None

    def render(
        self,
        layers: Sequence[Layer],
        light: Light,
        rng: np.random.Generator,
        *,
        lens: Callable[[Rgb], Rgb] = lambda rgb: rgb,
    ) -> Rgb:
        """Take one frame.

        Args:
            layers: what is in view, the lowest first.
            light: lamp, exposure and cast of this frame.
            rng: this frame's noise.
            lens: what the lens makes of the scene, before the sensor sees it.

        Returns:
            uint8 [H, W, 3], 0-255, RGB; a new array each time.
        """
        return expose(lens(self._compose(layers, light.lamp)), light, self._tile, rng)

    def _compose(self, layers: Sequence[Layer], lamp: float) -> Rgb:
        """The frame in perfect light; kept, since most frames show what the last one did."""
        poses = (lamp, [(id(x.rgba), x.centre_px, x.size_px, x.angle_deg, x.velocity_px, x.height) for x in layers])
        if self._kept is not None and self._kept[0] == poses:
            return self._kept[2]
        if lamp in (0.0, 1.0):
            canvas = self._empty[int(lamp)].copy()
        else:
            canvas = np.asarray(cv2.addWeighted(self._empty[1], lamp, self._empty[0], 1 - lamp, 0), np.uint8)
        for layer in layers:
            blend(canvas, layer, self._gain_at(layer.centre_px, lamp), self._sprites, shadow_way=self._shadow_way)
        seen = np.asarray(cv2.GaussianBlur(canvas, (3, 3), 0.6), np.uint8)
        self._kept = (poses, layers, seen)
        return seen

    def _gain_at(self, spot: tuple[float, float], lamp: float) -> float:
        x = int(np.clip(spot[0], 0, self.size_px[0] - 1))
        y = int(np.clip(spot[1], 0, self.size_px[1] - 1))
        gain = self._maps[1][y, x] * lamp + self._maps[0][y, x] * (1 - lamp)
        return float(round(float(gain) * 1.08, 3))
