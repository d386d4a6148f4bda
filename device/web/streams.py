"""What flows for as long as somebody looks: the status as server-sent events, the live view as multipart JPEG.

    Scene -> Streams.status, Streams.video -> each viewer, five times a second at most

A viewer that reads slowly misses pictures, he never makes them wait. There are as many places as `MOST_VIDEO` and
`MOST_STATUS` say; who comes later is told so (429).
"""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from device.web.scene import PICTURE_S, Scene

__all__ = ["MOST_STATUS", "MOST_VIDEO", "Streams"]

MOST_VIDEO: Final = 4
MOST_STATUS: Final = 8
STILL_S: Final = 5.0
"""A word at least so often, so that a connection that is gone is noticed."""

EDGE: Final = b"wastebin-picture"


class Streams:
    """The places of those who look on; used by one event loop only."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._video = 0
        self._status = 0
        self.is_closing = False

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        """The bin's status, whenever it changes."""
        if self._status >= MOST_STATUS:
            return _full(MOST_STATUS)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def video(self, request: Request) -> Response:  # noqa: ARG002
        """The camera's pictures."""
        if self._video >= MOST_VIDEO:
            return _full(MOST_VIDEO)
        return StreamingResponse(self._pictures(), media_type=f"multipart/x-mixed-replace; boundary={EDGE.decode()}")

    async def _events(self) -> AsyncIterator[bytes]:
        if self._status >= MOST_STATUS:  # somebody was quicker
            return
        self._status += 1
        try:
            told, silent_s = b"", 0.0
            while not self.is_closing:
                facts = self._scene.facts()
                if facts != told:
                    told, silent_s = facts, 0.0
                    yield b"data: " + facts + b"\n\n"
                elif silent_s >= STILL_S:
                    silent_s = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(PICTURE_S)
                silent_s += PICTURE_S
        finally:
            self._status -= 1

    async def _pictures(self) -> AsyncIterator[bytes]:
        if self._video >= MOST_VIDEO:
            return
        self._video += 1
        try:
            shown: bytes | None = None
            while not self.is_closing:
                jpeg = self._scene.jpeg()
                if jpeg is not None and jpeg is not shown:
                    shown = jpeg
                    head = f"\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                    yield b"--" + EDGE + head + jpeg + b"\r\n"
                await asyncio.sleep(PICTURE_S)
        finally:
            self._video -= 1


def _full(most: int) -> Response:
    error = f"{most} look on already; close a page elsewhere and try again"
    return JSONResponse({"error": error}, HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": "5", "connection": "close"})
