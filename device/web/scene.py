"""What the loop shows, kept for whoever looks on: the newest status and picture, and how long things took.

    Supervisor -> Scene.frame (the loop: a few assignments) -> Scene.facts, Scene.jpeg (the web's thread)

A picture is encoded at most five times a second, once for all who watch, and not at all while nobody does. It must
never make the loop wait: the loop takes no lock and copies nothing, since a frame is never written to again.
"""

import json
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from device.camera.frame import Frame, Rgb
from device.region import Box
from device.status import Decided, Status

__all__ = ["PICTURE_S", "Scene", "encode_jpeg"]

PICTURE_S: Final = 0.2
"""Between two pictures of the live view."""

PAUSED_S: Final = 3.0
"""So old a frame shows what was: the camera is lost, or lent to a calibration."""

QUALITY: Final = 75
WIDEST_PX: Final = 960
REMEMBERED: Final = 256


def encode_jpeg(rgb: Rgb, widest_px: int = WIDEST_PX) -> bytes:
    """A picture for a browser; made smaller where it is wider or higher than `widest_px`."""
    height, width = rgb.shape[:2]
    scale = widest_px / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


class Scene:
    """A `supervise.Watcher` that remembers the newest.

    Args:
        region: see below.
        clock: monotonic seconds.

    Attributes:
        region: x, y, width, height of the tray in px of the picture; None is all of it.
    """

    def __init__(self, region: Box | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.region = region
        self._clock = clock
        self._newest: tuple[Status, Frame, float] | None = None
        self._fault: str | None = None
        self._classify_ms: deque[float] = deque(maxlen=REMEMBERED)
        # What follows is only the web thread's.
        self._encoded: tuple[int, float, bytes] = (-1, -math.inf, b"")
        self._told: tuple[int, str | None, bool, bytes] = (-1, None, False, b"")

    def frame(self, status: Status, frame: Frame) -> None:
        """A frame went through the bin."""
        before = self._newest
        is_new = status.vote_frames and (before is None or before[0].vote_frames != status.vote_frames)
        if (is_new or status.decided is not None) and status.classify_ms is not None:
            self._classify_ms.append(status.classify_ms)
        self._newest = (status, frame, self._clock())

    def fault(self, sentence: str | None) -> None:
        """Something is wrong now; None when all is well again."""
        self._fault = sentence

    @property
    def newest(self) -> tuple[Status, Frame] | None:
        """The newest frame and what the bin made of it."""
        return None if self._newest is None else self._newest[:2]

    @property
    def age_s(self) -> float | None:
        """Seconds since a frame came."""
        return None if self._newest is None else self._clock() - self._newest[2]

    @property
    def trouble(self) -> str | None:
        """What is wrong now."""
        return self._fault

    def classify_ms(self) -> tuple[float, float] | None:
        """Median and 95th percentile of the last looks, milliseconds; None before the first."""
        taken = sorted(self._classify_ms)
        if not taken:
            return None
        return taken[len(taken) // 2], taken[min(len(taken) - 1, math.ceil(0.95 * len(taken)) - 1)]

    def facts(self) -> bytes:
        """The newest status as JSON; the same bytes for everybody who asks until the next frame."""
        newest, fault = self._newest, self._fault
        if newest is None:
            return json.dumps({"state": "starting", "fault": fault}).encode()
        status, frame, at_s = newest
        key = (status.frame_number, fault, self._clock() - at_s > PAUSED_S)
        if self._told[:3] != key:
            self._told = (*key, json.dumps(self._fields(status, frame, fault, is_paused=key[2])).encode())
        return self._told[3]

    def jpeg(self) -> bytes | None:
        """The newest picture, no more often than every `PICTURE_S`; None before the first."""
        newest, now_s = self._newest, self._clock()
        if newest is None:
            return None
        number, at_s, data = self._encoded
        if newest[1].number != number and now_s - at_s >= 0.9 * PICTURE_S:
            data = encode_jpeg(newest[1].rgb)
            self._encoded = (newest[1].number, now_s, data)
        return data

    def _fields(self, status: Status, frame: Frame, fault: str | None, *, is_paused: bool) -> dict[str, object]:
        height, width = frame.rgb.shape[:2]
        return {
            "state": "paused" if is_paused else str(status.state),
            "tray": str(status.tray),
            "size": [width, height],
            "region": self.region,
            "box": status.box,
            "vote": {label: round(prob, 3) for label, prob in status.vote.items()},
            "looks": status.vote_frames,
            "last": None if status.last is None else _decided(status.last),
            "phase": str(status.phase),
            "outputs": status.outputs,
            "counts": status.counts,
            "jams": status.jams,
            "jam": status.jam,
            "lid_open": status.lid_open,
            "full": status.full,
            "fps": round(status.fps, 1),
            "classify_ms": None if status.classify_ms is None else round(status.classify_ms, 1),
            "model": status.model,
            "fault": fault,
        }


def _decided(decided: Decided) -> dict[str, object]:
    return {
        "event": decided.event,
        "label": decided.label,
        "prob": round(decided.prob, 3),
        "accepted": decided.accepted,
        "bin": decided.bin,
        "frames": decided.frames,
        "ms": round(decided.decision_ms),
        "reason": decided.reason,
    }
