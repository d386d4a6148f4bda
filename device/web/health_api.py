"""How the bin is: camera, speed, heat, throttling, disk, events that tell of trouble, versions.

    Scene, /sys, disk, events.db -> JSON

Reads only, starts no program. What a machine does not tell is None, never a guess.
"""

import platform
import shutil
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnxruntime

import device
from device.event_reader import read_counts, read_events
from device.web.answers import Ask, Handler
from device.web.desk import Desk

__all__ = ["health_api"]

THROTTLED: Final = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "too hot"}
TROUBLE: Final = ("fault", "alarm", "start", "model")
SHOWN: Final = 15
SEARCHED: Final = 400


def health_api(desk: Desk, root: Path = Path("/")) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path.

    Args:
        root: where `sys` and `proc` are.
    """

    def health(ask: Ask) -> object:  # noqa: ARG001
        path = desk.config.events_path
        newest, took = desk.scene.newest, desk.scene.classify_ms()
        disk = shutil.disk_usage(path.parent if path.parent.is_dir() else root)
        now, past = _throttled(root)
        age_s = desk.scene.age_s
        return {
            "camera": {
                "source": desk.camera,
                "age_s": None if age_s is None else round(age_s, 2),
                "fps": None if newest is None else round(newest[0].fps, 1),
            },
            "pins": desk.pins,
            "classify_ms": None if took is None else {"p50": round(took[0], 1), "p95": round(took[1], 1)},
            "fault": desk.scene.trouble,
            "jams": 0 if newest is None else newest[0].jams,
            "heat_c": _heat_c(root),
            "throttled": {"now": now, "past": past},
            "memory_mb": _memory_mb(root),
            "disk": {"free_mb": disk.free // 2**20, "total_mb": disk.total // 2**20},
            "counts": read_counts(path) if path.exists() else {},
            "events": _told(path),
            "versions": {
                "wastebin": device.__version__,
                "model": desk.engine.model.version,
                "python": sys.version.split()[0],
                "onnxruntime": onnxruntime.__version__,
                "opencv": cv2.__version__,
                "numpy": np.__version__,
                "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
            },
        }

    return {("GET", "/api/health"): health}


def _told(path: Path) -> list[dict[str, object]]:
    events = read_events(path, SEARCHED) if path.exists() else []
    told = [event for event in events if event.kind in TROUBLE][-SHOWN:]
    return [{"at": event.at, "kind": event.kind, "detail": event.detail} for event in reversed(told)]


def _throttled(root: Path) -> tuple[list[str] | None, list[str] | None]:
    """Bits 0-3 of the firmware's word are now, 16-19 since the start."""
    for path in sorted((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        try:
            word = int(path.read_text(encoding="ascii"), 16)
        except (OSError, ValueError):
            continue
        now = [text for bit, text in THROTTLED.items() if word >> bit & 1]
        return now, [text for bit, text in THROTTLED.items() if word >> (bit + 16) & 1]
    return None, None


def _heat_c(root: Path) -> float | None:
    try:
        text = (root / "sys/class/thermal/thermal_zone0/temp").read_text(encoding="ascii")
        return round(int(text) / 1000, 1)
    except (OSError, ValueError):
        return None


def _memory_mb(root: Path) -> float | None:
    try:
        lines = (root / "proc/self/status").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")]
    except (OSError, ValueError):
        return None
    return round(found[0], 1) if found else None
