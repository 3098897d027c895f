"""The status page over states that a test makes, on one port that can be closed and opened again."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engagement_server.http.guard import Guard
from engagement_server.http.hosts import Hosts
from engagement_server.http.status_page import page_routes
from tests.support.waiting import DEADLINE_SECONDS, wait_until


class PageServer:
    """Serves the page, and as the state of the server whatever `answer` is."""

    def __init__(self) -> None:
        self.answer: Any = {}  # Any: broken answers as well
        self.status = 200
        self.asked = 0
        self.authorization: str | None = None
        """What the last question said about who asks."""
        self.gate = threading.Event()
        """Answers wait until it is set."""
        self.gate.set()
        self._address = ("127.0.0.1", 0)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of the page."""
        return "http://{}:{}/".format(*self._address)

    def open(self) -> None:
        """Serves until `close`, on the same port as before."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(self._address)
        self._address = listening.getsockname()
        routes = [*page_routes(), Route("/stats.json", self._stats)]
        app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=Hosts("127.0.0.1"))])
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=server.run, args=([listening],))
        self._thread.start()
        wait_until(lambda: server.started, "the page is served")
        self._server = server

    def close(self) -> None:
        """Stops listening."""
        self.gate.set()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(DEADLINE_SECONDS)
            self._server = None

    async def _stats(self, request: Request) -> Response:
        self.asked += 1
        self.authorization = request.headers.get("authorization")
        await asyncio.to_thread(self.gate.wait, DEADLINE_SECONDS)
        headers = {"X-Asked": str(self.asked)}
        content = json.dumps(self.answer)
        return Response(content, self.status, headers=headers, media_type="application/json")
