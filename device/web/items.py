"""The last items: what they were taken for, with their pictures, and what a person says they were.

    events.db, Keeper's memory -> list_items, picture; a tap -> correct, answer -> events.db -> Keeper, Learner

A picture is shown from memory while it is there, and from the disk only once somebody has corrected the item, which is
the consent to keep it (or where the bin was told to keep what it could not name, see `device.unsure`). A spot check and
a correction are two things: only decisions drawn by chance are asked about, and only those answers count for the bin's
accuracy.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from device.camera.frame import Rgb
from device.errors import DashboardError
from device.event_reader import SpotCheck, add_correction, answer_spot_check, read_corrections
from device.figures import LastItem, read_last, uncertain_first
from device.looks import CORRECTED, looks_folder
from device.unsure import find_unsure, unsure_folder
from device.web.answers import Ask, Bytes, Handler, number, text
from device.web.desk import Desk
from device.web.scene import encode_jpeg

__all__ = ["items_api"]

SHOWN = 40
MOST_UNSURE = 8
WIDEST_PX = 320
LARGEST_EVENT = 2**53


def items_api(desk: Desk) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""
    path = desk.config.events_path

    def list_items(ask: Ask) -> object:
        last = read_last(path, number(ask.query, "limit", 1, 200, SHOWN)) if path.exists() else []
        unsure = uncertain_first(item for item in last if item.correction is None and _is_unsure(item))
        unnamed = find_unsure(unsure_folder(path))
        return {
            "labels": [{"label": label, "bin": desk.bin_of(label)} for label in desk.labels],
            "unsure": [item.event.id for item in unsure[:MOST_UNSURE]],
            "items": [fields(item, unnamed) for item in last],
        }

    def fields(item: LastItem, unnamed: Mapping[int, Path]) -> dict[str, object]:
        event = item.event
        return {
            "event": event.id,
            "at": event.at,
            "label": event.label,
            "prob": event.prob,
            "probs": dict(event.probs or {}),
            "accepted": event.accepted,
            "reason": event.detail,
            "bin": event.bin,
            "ms": event.decision_ms,
            "was": item.correction,
            "landed": item.landed,
            "wrong": item.is_wrong,
            "asked": _is_open(item.spot_check),
            "picture": event.id in unnamed or has_picture(event.id or 0, item.correction),
        }

    def has_picture(event: int, was: str | None) -> bool:
        return desk.keeper.crop(event) is not None or (was is not None and kept(event, was).is_file())

    def kept(event: int, was: str) -> Path:
        return looks_folder(path) / was / f"{CORRECTED}{event}.png"

    def picture(ask: Ask) -> object:
        event = number(ask.path, "event", 1, LARGEST_EVENT)
        crop = desk.keeper.crop(event)
        if crop is None:
            corrections = {each.event_id: each.label for each in read_corrections(path, event)}
            unnamed = find_unsure(unsure_folder(path)).get(event)
            crop = _read(kept(event, corrections[event]) if event in corrections else unnamed)
        if crop is None:
            raise DashboardError("this picture was not kept; only those of corrected items are", 404)
        return Bytes(encode_jpeg(crop, WIDEST_PX), "image/jpeg")

    def correct(ask: Ask) -> object:
        event, label = number(ask.path, "event", 1, LARGEST_EVENT), text(ask.table, "label", 60)
        desk.log.flush(2.0)  # the item may have been decided this very second
        said = add_correction(path, event, label, desk.labels, wall_s=desk.wall())
        return {"event": event, "was": said.label}

    def answer(ask: Ask) -> object:
        event, label = number(ask.path, "event", 1, LARGEST_EVENT), text(ask.table, "label", 60)
        desk.log.flush(2.0)
        answer_spot_check(path, event, label, desk.labels, wall_s=desk.wall())
        return {"event": event, "answered": label}

    return {
        ("GET", "/api/items"): list_items,
        ("GET", "/api/items/{event}/picture.jpg"): picture,
        ("POST", "/api/items/{event}/was"): correct,
        ("POST", "/api/items/{event}/check"): answer,
    }


def _is_unsure(item: LastItem) -> bool:
    return item.is_wrong or not item.event.accepted


def _is_open(check: SpotCheck | None) -> bool:
    return check is not None and check.answered_at is None


def _read(path: Path | None) -> Rgb | None:
    if path is None:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except OSError:
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
