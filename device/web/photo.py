"""What is this? A photograph from somebody's phone, named by the model that runs.

    body -> header (kind, size) -> decode, made small on the way -> classify -> decide (one frame) -> JSON

One at a time, so that it costs an item in the tray at most one picture's time. The photograph is never written
anywhere. A header that promises more than `MOST_PIXELS` is refused before anything is allocated for it.
"""

import threading
from dataclasses import replace
from typing import Final

import cv2

from device.camera.frame import Rgb
from device.decide import Vote
from device.errors import DashboardError, PictureError
from device.picture_header import read_header
from device.pictures import decode_picture
from device.route import choose_bin, rule_at
from device.web.answers import Ask, Handler
from device.web.desk import Desk

__all__ = ["PICTURE_BYTES", "photo_api"]

PICTURE_BYTES: Final = 8 * 2**20
MOST_PIXELS: Final = 16_000_000
WIDEST_PX: Final = 1024


def photo_api(desk: Desk) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""
    only_one = threading.Lock()

    def name_photo(ask: Ask) -> object:
        if not only_one.acquire(timeout=5.0):
            raise DashboardError("others are asking as well; try again", 429)
        try:
            return _name(desk, _decode(ask.body))
        finally:
            only_one.release()

    return {("POST", "/api/photo"): name_photo}


def _decode(data: bytes) -> Rgb:
    header = read_header(data, "photo")
    if header.width_px * header.height_px > MOST_PIXELS:
        raise PictureError(
            f"photo: {header.width_px}x{header.height_px} px, expected at most {MOST_PIXELS // 1_000_000} megapixels; "
            "scale it down"
        )
    rgb = decode_picture(data, "photo")
    scale = WIDEST_PX / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(rgb.dtype, copy=False)


def _name(desk: Desk, rgb: Rgb) -> dict[str, object]:
    model = desk.engine.model
    rule = replace(rule_at(model.rule, desk.site, model.labels), min_frames=1, max_frames=1)
    prediction = model.classifier.classify(rgb)
    decision = Vote(rule, model.labels).add(prediction)
    if decision is None:
        raise DashboardError("the model did not decide; try another photo", 409)
    return {
        "label": decision.label,
        "prob": decision.prob,
        "probs": decision.probs,
        "accepted": decision.accepted,
        "reason": decision.reason,
        "bin": choose_bin(decision, desk.site).name,
        "ms": round(prediction.ms, 1),
    }
