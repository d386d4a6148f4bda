"""Serve the dashboard from a thread of its own, beside a bin that must not notice.

    DashboardConfig, an application -> Server.start -> uvicorn in a thread -> Server.close

It listens on 127.0.0.1 until there is a token, then where the configuration says, without a restart. A port that is
taken, or a client that does whatever it likes, never ends or delays sorting: connections are counted and slow ones cut
off, so that the bin keeps its files and its memory. The thread steps back behind camera and engine.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from device.errors import DashboardError

__all__ = ["BACKLOG", "LOOPBACK", "MOST_CONNECTIONS", "Server"]

LOOPBACK: Final = "127.0.0.1"
MOST_CONNECTIONS: Final = 64
BACKLOG: Final = 16
"""So many are let in before the loop looks at their number again."""

WORKERS: Final = 3
HEAD_S: Final = 10.0
"""So long a client may take for the head of its first request."""

POLL_S: Final = 0.5
AGAIN_S: Final = 10.0
NICE: Final = 5


class _Door(H11Protocol):
    """Lets so many in at a time, and nobody who does not say what he wants."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(HEAD_S, self._cut_off)

    def _cut_off(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.abort()


class Server:
    """One dashboard's server.

    Args:
        app: what is served.
        host_now: where to listen now.
        port: 0 takes any that is free.
        end_streams, begin_streams: called in the serving thread before it stops, and before it serves (again).
        say: told what is wrong.

    Attributes:
        address: where it listens; None while it does not.
    """

    def __init__(
        self,
        app: ASGIApp,
        host_now: Callable[[], str],
        port: int,
        *,
        end_streams: Callable[[], None],
        begin_streams: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._app = app
        self._host_now = host_now
        self._port = port
        self._end_streams = end_streams
        self._begin_streams = begin_streams
        self._say = say
        self._told: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)
        self.address: tuple[str, int] | None = None

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop serving."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        # A stranger's broken request is not worth a line in the journal; what breaks in here is.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        while not self._closing.is_set():
            try:
                host = self._host_now()
                with _listen(host, self._port) as listener:
                    self._told = None
                    self.address = listener.getsockname()[:2]
                    asyncio.run(self._serve(listener, host))
            except DashboardError as error:
                if str(error) != self._told:
                    self._say(str(error))
                self._told = str(error)
                self._closing.wait(AGAIN_S)
            finally:
                self.address = None

    async def _serve(self, listener: socket.socket, host: str) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
        self._begin_streams()
        server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                http=_Door,
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
                backlog=BACKLOG,
            )
        )

        async def watch() -> None:
            while not self._closing.is_set() and self._host_now() == host:
                await asyncio.sleep(POLL_S)
            self._end_streams()
            server.should_exit = True

        watching = asyncio.ensure_future(watch())
        try:
            await server.serve(sockets=[listener])
        finally:
            watching.cancel()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DashboardError(f"[dashboard].host is {host!r}, expected an address of this machine ({error})") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise DashboardError(
            f"dashboard: cannot listen on {host} port {port} ({error.strerror}); name another one: [dashboard] port"
        ) from error
    return listener
