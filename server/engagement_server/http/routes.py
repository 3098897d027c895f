"""The paths of the management port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engagement_server.http.checks import is_ready, report
from engagement_server.http.guard import SEEN, Guard, everybody
from engagement_server.http.status_page import page_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers
    from starlette.requests import Request

    from engagement_server.http.checks import Readiness
    from engagement_server.http.guard import Look
    from engagement_server.http.hosts import Hosts
    from engagement_server.http.stats import StatsDocument
    from engagement_server.metrics.exposition import Exposition


_GZIP = "gzip"


def application(  # noqa: PLR0913  # all but four are named at the call
    readiness: Readiness,
    exposition: Exposition,
    stats: StatsDocument,
    hosts: Hosts,
    *,
    look: Look = everybody,
    on_refused: Callable[[str], None] | None = None,
) -> Starlette:
    """The application that serves these hosts, and to whom `look` finds accounts more than probes need.

    `on_refused` is told the addresses of the others.
    """

    async def live(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        checks = readiness.checks()
        text = report(checks, is_verbose="verbose" in request.query_params)
        return PlainTextResponse(text, status_code=200 if is_ready(checks) else 503)

    async def metrics(request: Request) -> Response:
        page = await exposition.render(
            request.headers.get("accept", ""), takes_gzip=_takes_gzip(request.headers)
        )
        headers = {"Content-Type": page.content_type, "Vary": "Accept, Accept-Encoding"}
        if page.is_packed:
            headers["Content-Encoding"] = _GZIP
        return Response(page.content, headers=headers)

    async def describe(request: Request) -> Response:
        document = await stats.render(request.scope[SEEN])
        if document is None:
            return PlainTextResponse("the server is starting\n", status_code=503)
        return Response(document, media_type="application/json")

    routes = [
        Route("/livez", live),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        Route("/stats.json", describe),
        *page_routes(),
    ]
    guard = Middleware(Guard, hosts=hosts, look=look, on_refused=on_refused)
    app = Starlette(routes=routes, middleware=[guard])
    app.router.redirect_slashes = False
    return app


def _takes_gzip(headers: Headers) -> bool:
    """Whether a client names gzip, with a weight above 0 if with any."""
    for each in headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == _GZIP:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
