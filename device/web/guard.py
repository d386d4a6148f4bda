"""What every request must pass before anything of the bin sees it.

    connection -> Guard: Host, Origin, custom header, session -> the routes; every answer leaves with the same headers

A bin stands in a network with other people's laptops and phones. Names that are not this bin's are refused, since a
name can be made to point here by a stranger's page (DNS rebinding; an Origin that equals the Host does not stop it,
SABnzbd#1092), and so is what another site's page sends. It must never let a route pass that nobody declared open, and
it reads no body.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from device.errors import DashboardError

__all__ = ["COOKIE", "HEADER", "Guard"]

COOKIE: Final = "wastebin"
HEADER: Final = "x-wastebin"
"""Sent by our own pages with every method that changes something; another site's form cannot send it."""

SAFE: Final = frozenset({"GET", "HEAD"})
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class Guard:
    """Stands before the routes.

    Args:
        inner: the routes.
        names: host names by which this bin may be called, beside its addresses and `localhost`.
        is_open: whether a path may be asked for without a session.
        knows: whether a session is good.
    """

    def __init__(
        self, inner: ASGIApp, names: Iterable[str], is_open: Callable[[str], bool], knows: Callable[[str], bool]
    ) -> None:
        self._inner = inner
        self._names = frozenset(name.lower().rstrip(".") for name in names) | {"localhost"}
        self._is_open = is_open
        self._knows = knows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":  # there are no web sockets here
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            self._check(Request(scope))
        except DashboardError as error:
            # Nothing of the body is read, so the connection is of no more use.
            refusal = JSONResponse({"error": str(error)}, error.status, {"connection": "close"})
            await refusal(scope, receive, send_with_headers)
            return
        await self._inner(scope, receive, send_with_headers)

    def _check(self, request: Request) -> None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0], request.scope):
            shown = hosts[0][:80] if hosts else "nothing"
            raise DashboardError(
                f"this bin is not called {shown!r}; use its address, or add the name to [dashboard] hosts",
                HTTPStatus.FORBIDDEN,
            )
        origins = request.headers.getlist("origin")
        if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
            raise DashboardError("asked by a page of another site; open the bin's own page", HTTPStatus.FORBIDDEN)
        is_page = request.method in SAFE and self._is_open(request.url.path)
        if not is_page and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise DashboardError("asked by a page of another site; open the bin's own page", HTTPStatus.FORBIDDEN)
        if request.method not in SAFE and request.headers.get(HEADER) != "1":
            raise DashboardError(f"the header {HEADER}: 1 is missing; open the bin's own page", HTTPStatus.FORBIDDEN)
        if not self._is_open(request.url.path) and not self._knows(request.cookies.get(COOKIE, "")):
            raise DashboardError("log in with the token first", HTTPStatus.UNAUTHORIZED)

    def _is_ours(self, host: str, scope: Scope) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        # An address that is really this machine's: the one at which this very connection arrived.
        return str(address) == str(ipaddress.ip_address(str(scope["server"][0]).partition("%")[0]))
