"""Stands before the routes: refuses what no request here needs, and gives every answer strict headers.

A route may bring its own header of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse

from engagement_server.access.principals import ALL_ACCOUNTS
from engagement_server.http.status_page import PAGE_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from engagement_server.access.principals import Accounts
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


SEEN: Final = "engagement.accounts"
"""In the scope of a request: the accounts that its sender may see."""

Look: TypeAlias = "Callable[[Headers], Accounts | None]"
"""The accounts that the sender of a request may see, by its headers; None: no more than probes need."""


def everybody(_: Headers) -> Accounts:
    """Lets everybody see everything."""
    return ALL_ACCOUNTS


class Guard:
    """Answers 421 to a host that is not ours, 405 to what could change something, and 401 to strangers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        look: Look = everybody,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        """`on_refused` is told the addresses of those who may see no more than probes need."""
        self._on_refused = on_refused
        self._app = app
        self._hosts = hosts
        self._look = look

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
        if is_open:
            return self._app
        scope[SEEN] = self._look(headers)
        if scope[SEEN] is None:
            if self._on_refused is not None:
                self._on_refused(str((scope.get("client") or [""])[0]))
            return PlainTextResponse(
                "send a token whose grant has the scope operate, as `Authorization: Bearer …`\n",
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return self._app
