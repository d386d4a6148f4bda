"""Put the dashboard of a running bin together, and start and stop it with the bin.

    Desk -> handlers -> make_app -> Server

Wiring only. A dashboard that cannot be served is an event, never a reason not to sort.
"""

import socket
import time
from collections.abc import Iterable

from starlette.routing import Route

from device.config_dashboard import DashboardConfig
from device.errors import DashboardError
from device.events import Event
from device.web.answers import route
from device.web.app import make_app
from device.web.calibrating import Calibrating
from device.web.calibration_api import calibration_api
from device.web.desk import Desk
from device.web.figures_api import figures_api
from device.web.health_api import health_api
from device.web.items import items_api
from device.web.model_api import model_api
from device.web.photo import PICTURE_BYTES, photo_api
from device.web.server import LOOPBACK, Server
from device.web.settings_api import settings_api
from device.web.static_files import read_static
from device.web.streams import Streams
from device.web.token import TokenStore, dashboard_path

__all__ = ["Dashboard"]


class Dashboard:
    """The dashboard of one bin.

    Args:
        desk: the bin as its pages see it.
        settings: where it is served.

    Attributes:
        scene: must be shown every frame.
        tokens: who may come in.
        app, routes: what is served.
    """

    def __init__(self, desk: Desk, settings: DashboardConfig) -> None:
        self.tokens = TokenStore(dashboard_path(desk.config.events_path))
        self._settings = settings
        self.scene = desk.scene
        self._streams = Streams(desk.scene)
        self._calibrating = Calibrating(desk.lender)
        api, static = _routes(desk, self._calibrating), read_static()
        self.app, self.routes = make_app(self.tokens, self._streams, api, static, _names(settings.hosts))
        self._server = Server(
            self.app,
            self._host_now,
            settings.port,
            begin_streams=lambda: self._set_closing(False),
            end_streams=lambda: self._set_closing(True),
            say=lambda sentence: _note(desk, sentence),
        )

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop serving; a calibration that is open ends with it."""
        self._calibrating.close(timeout_s / 2)
        self._server.close(timeout_s / 2)

    def _host_now(self) -> str:
        """This machine only, until there is a token that keeps others out."""
        try:
            return self._settings.host if self.tokens.exists else LOOPBACK
        except DashboardError:  # told to whoever asks for a page
            return LOOPBACK

    def _set_closing(self, is_closing: bool) -> None:
        self._streams.is_closing = is_closing


def _routes(desk: Desk, calibrating: Calibrating) -> list[Route]:
    small = items_api(desk) | figures_api(desk, time.monotonic) | health_api(desk) | model_api(desk)
    small |= calibration_api(desk, calibrating) | settings_api(desk)
    return [
        *(route(method, path, handler) for (method, path), handler in small.items()),
        *(
            route(method, path, handler, picture_bytes=PICTURE_BYTES)
            for (method, path), handler in photo_api(desk).items()
        ),
    ]


def _names(configured: Iterable[str]) -> set[str]:
    own = socket.gethostname().partition(".")[0]
    return {own, f"{own}.local", *configured}


def _note(desk: Desk, sentence: str) -> None:
    desk.log.add(Event("fault", sentence))
