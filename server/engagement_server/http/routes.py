"""The paths of the management port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engagement_server.http.checks import report
from engagement_server.http.guard import Guard
from engagement_server.http.status_page import page_routes

if TYPE_CHECKING:
    from starlette.requests import Request

    from engagement_server.http.checks import Readiness
    from engagement_server.http.hosts import Hosts
    from engagement_server.http.stats import StatsDocument
    from engagement_server.metrics.exposition import Exposition


def application(
    readiness: Readiness, exposition: Exposition, stats: StatsDocument, hosts: Hosts
) -> Starlette:
    """The application that serves these hosts."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        checks = readiness.checks()
        text = report(checks, is_verbose="verbose" in request.query_params)
        is_ready = not any(check.prevents_calls for check in checks)
        return PlainTextResponse(text, status_code=200 if is_ready else 503)

    async def metrics(request: Request) -> Response:
        page = await exposition.render(request.headers.get("accept", ""))
        return Response(page.content, headers={"Content-Type": page.content_type})

    async def describe(_: Request) -> Response:
        document = await stats.render()
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
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])
    app.router.redirect_slashes = False
    return app
