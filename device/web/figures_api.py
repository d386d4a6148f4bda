"""Figures for people: per bin today and this week, contamination, diversion and accuracy, each with its interval.

device.figures -> JSON, computed at most every few seconds however many ask
"""

import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Final

from device.figures import read_figures
from device.web.answers import Ask, Handler
from device.web.desk import Desk

__all__ = ["figures_api"]

FRESH_S: Final = 2.0


def figures_api(desk: Desk, clock: Callable[[], float]) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path.

    Args:
        clock: monotonic seconds.
    """
    only_one = threading.Lock()
    kept: list[tuple[float, object]] = []

    def figures(ask: Ask) -> object:  # noqa: ARG001
        with only_one:
            if not kept or clock() - kept[0][0] >= FRESH_S:
                kept[:] = [(clock(), _read(desk))]
            return kept[0][1]

    return {("GET", "/api/figures"): figures}


def _read(desk: Desk) -> object:
    path = desk.config.events_path
    if not path.exists():
        return {"bins": []}
    return asdict(read_figures(path, desk.site, now=datetime.fromtimestamp(desk.wall()).astimezone()))
