"""Waste that the project draws itself, so that a bin can be shown and tested with no photographs at hand.

label, seed, shape -> draw_item -> uint8 RGBA

The shapes are split: a model may be trained on `TRAINING_SHAPES` only, and the demo shows `HELD_OUT_SHAPES` only. It
must never count in a reported accuracy: a drawing proves the machine, not the model.
"""

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from device.errors import UsageError
from device.simulator.brush import Draw, Rgba, Sketch
from device.simulator.fibre import CARDBOARD, PAPER
from device.simulator.hard import GLASS, METAL
from device.simulator.mixed import TRASH
from device.simulator.natural import ORGANIC
from device.simulator.synthetic import PLASTIC

__all__ = ["HELD_OUT_SHAPES", "LABELS", "SHAPES", "TRAINING_SHAPES", "draw_item"]

_DRAW: Mapping[str, Mapping[str, Draw]] = {
    "cardboard": CARDBOARD,
    "glass": GLASS,
    "metal": METAL,
    "organic": ORGANIC,
    "paper": PAPER,
    "plastic": PLASTIC,
    "trash": TRASH,
}

LABELS: tuple[str, ...] = tuple(_DRAW)
"""The materials that can be drawn, in alphabetical order."""

SHAPES: Mapping[str, tuple[str, ...]] = {label: tuple(draws) for label, draws in _DRAW.items()}
"""Every shape of each label."""

HELD_OUT_SHAPES: Mapping[str, tuple[str, ...]] = {
    "cardboard": ("closed_box", "pizza_box"),
    "glass": ("beer_bottle", "flask"),
    "metal": ("sardine_tin", "spray_can", "foil_sheet"),
    "organic": ("pear", "cucumber"),
    "paper": ("envelope", "receipt"),
    "plastic": ("shampoo", "tub"),
    "trash": ("sweet_wrapper", "sock"),
}
"""What no model may be trained on; the shipped demo pack."""

TRAINING_SHAPES: Mapping[str, tuple[str, ...]] = {
    label: tuple(shape for shape in shapes if shape not in HELD_OUT_SHAPES[label]) for label, shapes in SHAPES.items()
}
"""What a model may be trained on."""


def draw_item(label: str, seed: int, shape: str | None = None, size_px: int = 256) -> Rgba:
    """Draw one piece of waste; colours, proportions, print, wear and turn vary with the seed.

    Args:
        label: one of `LABELS`.
        seed: 0 or more; the same label, seed, shape and size give the same bytes.
        shape: one of `SHAPES[label]`; None lets the seed choose.
        size_px: width and height of the drawing.

    Returns:
        uint8 [size_px, size_px, 4], 0-255, RGB and straight alpha; the thing nearly fills it. Glass and film are
        partly see-through.

    Raises:
        UsageError: no such label or shape.
    """
    if label not in _DRAW:
        raise UsageError(f"drawings: no label {label!r}; can draw {', '.join(LABELS)}. Choose one of these")
    draws = _DRAW[label]
    if shape is None:
        shape = SHAPES[label][int(np.random.default_rng([seed, crc32(label.encode())]).integers(len(draws)))]
    if shape not in draws:
        raise UsageError(f"drawings: {label} has no shape {shape!r}; it has {', '.join(draws)}. Choose one of these")
    sketch = Sketch(np.random.default_rng([seed, crc32(f"{label}/{shape}".encode())]), size_px)
    draws[shape](sketch)
    sketch.tumble()
    return sketch.finish()
