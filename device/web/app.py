"""Put the dashboard's pages, API and streams together behind the guard.

    static files, handlers, Streams -> make_app -> what uvicorn serves

Open without a session are the pages themselves and the login; everything else is not.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from device.errors import DashboardError
from device.web.answers import text, whole_body
from device.web.guard import COOKIE, Guard
from device.web.logins import Logins
from device.web.static_files import StaticFile
from device.web.streams import Streams
from device.web.token import SESSION_S, TokenStore

__all__ = ["LOGIN", "make_app"]

LOGIN: Final = "/api/login"
SESSION: Final = "/api/session"
LOGIN_BYTES: Final = 1024


def make_app(
    tokens: TokenStore,
    streams: Streams,
    routes: Iterable[BaseRoute],
    static: Mapping[str, StaticFile],
    names: Iterable[str],
    *,
    wall: Callable[[], float] = time.time,
    mono: Callable[[], float] = time.monotonic,
) -> tuple[ASGIApp, list[BaseRoute]]:
    """The whole dashboard as an ASGI application, and its routes.

    Args:
        tokens: who may come in.
        streams: what flows.
        routes: of the API, see `answers.route`.
        static: files by path, see `static_files.read_static`.
        names: host names of this bin.
        wall: wall-clock seconds, for sessions.
        mono: monotonic seconds, for the limit on logins.
    """
    logins = Logins()

    async def page(request: Request) -> Response:
        file = static[request.url.path]
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(file.data, media_type=file.kind, headers=headers)

    async def session(request: Request) -> Response:
        is_known = tokens.knows(request.cookies.get(COOKIE, ""), wall_s=wall())
        return JSONResponse({"open": is_known, "token": tokens.exists})

    async def log_in(request: Request) -> Response:
        wait_s = logins.wait_s(request.client.host if request.client else "", mono())
        if wait_s > 0:
            error = f"too many tries; wait {wait_s:.0f} seconds"
            headers = {"retry-after": str(int(wait_s) + 1), "connection": "close"}
            return JSONResponse({"error": error}, HTTPStatus.TOO_MANY_REQUESTS, headers)
        try:
            token = await _token(request)
            if not await run_in_threadpool(tokens.admits, token):
                raise DashboardError("this is not the token of this bin", HTTPStatus.UNAUTHORIZED)
        except DashboardError as error:
            return JSONResponse({"error": str(error)}, error.status, {"connection": "close"})
        answer = JSONResponse({"open": True})
        value = tokens.open_session(wall_s=wall())
        answer.set_cookie(COOKIE, value, max_age=SESSION_S, httponly=True, samesite="strict")
        return answer

    async def log_out(request: Request) -> Response:  # noqa: ARG001
        answer = JSONResponse({"open": False})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    app = Starlette(
        routes=[
            *(Route(path, page, methods=["GET"]) for path in static),
            Route(LOGIN, log_in, methods=["POST"]),
            Route(SESSION, session, methods=["GET"]),
            Route("/api/logout", log_out, methods=["POST"]),
            Route("/api/live", streams.status, methods=["GET"]),
            Route("/live.mjpeg", streams.video, methods=["GET"]),
            *routes,
        ]
    )
    is_open = {*static, LOGIN, SESSION}.__contains__
    return Guard(app, names, is_open, lambda value: tokens.knows(value, wall_s=wall())), app.routes


async def _token(request: Request) -> str:
    try:
        table = json.loads(await whole_body(request, LOGIN_BYTES))
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise DashboardError("the body is no JSON object; send one")
    return text(table, "token", 100)
