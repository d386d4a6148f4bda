"""The settings page: a few values, checked as the configuration is, taken over at the next start; and that start.

settings.json, Config, the running model's rule -> JSON; a form -> parse_settings -> settings.json
"""

import threading
from dataclasses import asdict
from http import HTTPStatus

from device.errors import DashboardError
from device.settings import RANGES, load_settings, parse_settings, save_settings
from device.web.answers import Ask, Handler
from device.web.desk import Desk

__all__ = ["settings_api"]


def settings_api(desk: Desk) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""
    only_one = threading.Lock()
    started = load_settings(desk.config)[0]

    def show(ask: Ask) -> object:  # noqa: ARG001
        settings, note = load_settings(desk.config)
        now = {
            "accept_prob": desk.engine.model.rule.accept_prob,
            "contamination": desk.site.costs.contamination,
            "missed": desk.site.costs.missed,
            "settle_s": desk.config.gate.settle_s,
            "spot_check_rate": desk.config.spot_check_rate,
        }
        return {
            "settings": asdict(settings),
            "now": now,
            "ranges": RANGES,
            "note": note,
            "restart": settings != started,
            "can_restart": desk.restart is not None,
            "file": None if desk.config.file is None else str(desk.config.file),
            "bins": [
                {"name": bin_.name, "takes": sorted(bin_.takes), "rest": bin_.is_residual} for bin_ in desk.site.bins
            ],
        }

    def change(ask: Ask) -> object:
        with only_one:
            save_settings(desk.config, parse_settings(dict(ask.table), desk.config))
        return show(ask)

    def restart(ask: Ask) -> object:  # noqa: ARG001
        if desk.restart is None:
            raise DashboardError(
                "nobody would start this bin again: it does not run as a service; stop it and start it where you began",
                HTTPStatus.CONFLICT,
            )
        desk.restart()
        return {"restarting": True}

    return {
        ("GET", "/api/settings"): show,
        ("POST", "/api/settings"): change,
        ("POST", "/api/restart"): restart,
    }
