"""Preprocess: a picture -> the network's input, as the manifest says; used by the bin and by the trainer's evaluation.

Numpy and OpenCV only, and only here: two copies of a resize are two resizes (dusty-nv/pytorch-classification#7).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.bundle import Input
from device.camera.frame import Rgb

__all__ = ["fit", "preprocess"]

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


def fit(rgb: Rgb, side_px: int, *, shrink: str = "area", enlarge: str = "linear") -> Rgb:
    """Fit the whole picture into a square, whatever its shape.

    Args:
        rgb: uint8 [H, W, 3]; not kept.

    Returns:
        uint8 [side_px, side_px, 3].
    """
    shrinks = min(rgb.shape[:2]) >= side_px
    interpolation = _INTERPOLATION[shrink if shrinks else enlarge]
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=interpolation), dtype=np.uint8)


def preprocess(rgb: Rgb, spec: Input) -> NDArray[np.int8]:
    """Make the input of one picture.

    Args:
        rgb: uint8 [H, W, 3], 0-255, RGB; not kept.

    Returns:
        int8 [1, 3, S, S] or [1, S, S, 3] as `spec.layout` says, contiguous; byte XOR 0x80.
    """
    square = fit(rgb, spec.resize.width_px, shrink=spec.resize.shrink, enlarge=spec.resize.enlarge)
    signed = (square ^ np.uint8(spec.xor)).view(np.int8)[None]
    return np.ascontiguousarray(signed.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else signed)
