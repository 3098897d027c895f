"""Serves the status page, which asks the port itself for what it shows."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
PAGE_PATHS: Final = frozenset(_FILES)
"""The paths of the page and of its files."""
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes markup or code, not even by mistake.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


def page_routes() -> list[Route]:
    """The routes of the page and of its files."""
    return [_route(path, name, media_type=media_type) for path, (name, media_type) in _FILES.items()]


def _route(path: str, name: str, *, media_type: str) -> Route:
    content = files("engagement_server.http.page").joinpath(name).read_bytes()
    headers = {"Content-Security-Policy": _POLICY, "Content-Type": f"{media_type}; charset=utf-8"}

    async def answer(_: Request) -> Response:
        return Response(content, headers=headers)

    return Route(path, answer)
