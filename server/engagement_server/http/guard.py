"""Stands before the routes: refuses what no request here needs, and gives every answer strict headers.

A route may bring its own header of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse

from engagement_server.http.status_page import PAGE_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from engagement_server.http.hosts import Hosts

_METHODS = ("GET", "HEAD")
_OPEN: Final = frozenset(("/livez", "/readyz", *PAGE_PATHS))
"""Never ask who wants to know, unless it is for details: the page itself knows nothing of the server."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def everybody(_: Headers) -> bool:
    """Lets everybody see everything."""
    return True


class Guard:
    """Answers 421 to a host that is not ours, 405 to what could change something, and 401 to strangers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        may_see: Callable[[Headers], bool] = everybody,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        """`may_see` decides from the headers of a request whether its sender may see more than probes do.

        `on_refused` is told the addresses of those who may not.
        """
        self._on_refused = on_refused
        self._app = app
        self._hosts = hosts
        self._may_see = may_see

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app_for(scope)(scope, receive, send_with_headers)

    def _app_for(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        if not self._hosts.include(headers.get("host", "")):
            return PlainTextResponse("this host is not served here; see --http-hosts\n", status_code=421)
        if scope["method"] not in _METHODS:
            return PlainTextResponse("only GET and HEAD\n", status_code=405, headers={"Allow": "GET, HEAD"})
        is_open = scope["path"] in _OPEN and "verbose" not in QueryParams(scope["query_string"])
        if not is_open and not self._may_see(headers):
            if self._on_refused is not None:
                self._on_refused(str((scope.get("client") or [""])[0]))
            return PlainTextResponse(
                "send a token whose grant has the scope operate, as `Authorization: Bearer …`\n",
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return self._app
