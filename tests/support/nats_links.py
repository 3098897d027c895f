"""Links between servers: proxies in a thread of their own, which a blocked event loop does not stop."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Coroutine
from typing import Any

from tests.support.free_ports import free_ports
from tests.support.tcp_proxy import Flow, TcpProxy
from tests.support.waiting import DEADLINE_SECONDS


class Links:
    """All links of a cluster, and their thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[TcpProxy] = []

    def add(self, *, target_port: int) -> TcpProxy:
        """A new open link, on a port that it finds free again after it was broken."""
        link = TcpProxy(f"127.0.0.1:{target_port}")
        self._links.append(link)
        while True:
            (link.port,) = free_ports(1)
            try:
                self.set_flow(link, Flow.OPEN)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return link

    def set_flow(self, link: TcpProxy, flow: Flow) -> None:
        """Changes the flow of a link; returns once it is in force."""
        self._call(link.set_flow(flow))

    def close(self) -> None:
        """Closes all links and ends the thread."""
        for link in self._links:
            self._call(link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_SECONDS)
        self._loop.close()

    # Any: what a coroutine yields and is sent, which only the event loop sees.
    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_SECONDS)
