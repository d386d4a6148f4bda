"""From a request to a plain function and back: what the pages of the API are made of.

    Starlette's request -> Ask -> a function of this package, in a worker thread -> JSON, or a Picture

So that what the dashboard does knows nothing of HTTP, and waits for a disk or a lock without holding up the streams.
It must never read more of a body than its route allows.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.errors import ConfigError, DashboardError, PictureError, UsageError, WastebinError

__all__ = ["SMALL_BYTES", "Ask", "Bytes", "Handler", "number", "route", "text", "whole_body"]

SMALL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked.

    Attributes:
        path, query: parts of the address.
        table: the body where it is JSON.
        body: the bytes where it is not.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    table: Mapping[str, object] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer that is no JSON, with its media type."""

    data: bytes
    kind: str


Handler = Callable[[Ask], object]
"""Answers with what JSON can hold, or with `Bytes`; raises a WastebinError to refuse."""


def route(method: str, path: str, handler: Handler, *, picture_bytes: int = 0) -> Route:
    """A route to a plain function.

    Args:
        picture_bytes: of a body that is no JSON; 0 for one that is.
    """

    async def endpoint(request: Request) -> Response:
        try:
            ask = await _read(request, picture_bytes)
            answer = await run_in_threadpool(handler, ask)
        except WastebinError as error:
            return JSONResponse(_told(error), _status(error), {"connection": "close"})
        if isinstance(answer, Bytes):
            return Response(answer.data, media_type=answer.kind)
        return JSONResponse(answer)

    return Route(path, endpoint, methods=[method])


def text(table: Mapping[str, object], key: str, most: int = 200) -> str:
    """A text of a body.

    Raises:
        DashboardError: it is missing, none, or too long.
    """
    value = table.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise DashboardError(f"{key}: expected a text of 1 to {most} characters")
    return value


def number(words: Mapping[str, object], key: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of an address or a body.

    Raises:
        DashboardError: it is missing without a default, none, or outside low..high.
    """
    value = words.get(key, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DashboardError(f"{key}: expected a whole number from {low} to {high}")
    return value


async def whole_body(request: Request, most: int) -> bytes:
    """The body, when it is no longer than allowed.

    Raises:
        DashboardError: it is longer, or was cut off.
    """
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > most:
        raise _too_long(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_long(most)
    except ClientDisconnect:
        raise DashboardError("the request was cut off; send it again") from None
    return bytes(body)


async def _read(request: Request, picture_bytes: int) -> Ask:
    path = {key: str(value) for key, value in request.path_params.items()}
    query = dict(request.query_params)
    body = await whole_body(request, picture_bytes or SMALL_BYTES)
    if picture_bytes:
        return Ask(path, query, body=body)
    if not body:
        return Ask(path, query)
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise DashboardError("the body is no JSON object; send one")
    return Ask(path, query, table)


def _told(error: WastebinError) -> dict[str, object]:
    if isinstance(error, ConfigError):
        return {"error": str(error), "problems": error.problems}
    return {"error": str(error)}


def _status(error: WastebinError) -> int:
    match error:
        case DashboardError():
            return error.status
        case UsageError() | ConfigError() | PictureError():
            return HTTPStatus.BAD_REQUEST
        case _:
            return HTTPStatus.CONFLICT


def _too_long(most: int) -> DashboardError:
    limit = f"{most // 2**20} MB" if most >= 2**20 else f"{most // 1024} kB"
    return DashboardError(f"more than {limit}; send less", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
