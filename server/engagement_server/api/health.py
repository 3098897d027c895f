"""The standard health service: SERVING until the server stops.

The library's own holds a lock while it writes to a watcher, so that one watcher that does not read
would hold up all others, and the stop of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_Response = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers for the server as a whole, whose name is empty, and for each of its services."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(("", *services))
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Says NOT_SERVING from now on."""
        self._stopping.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> _Response:
        """Tells the status of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the server has no such service")
        return _Response(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Tells the status of a service now, and again when it changes."""
        before = self._status(request.service)
        await context.write(_Response(status=before))
        await self._stopping.wait()
        if (after := self._status(request.service)) != before:
            await context.write(_Response(status=after))

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _Response.SERVICE_UNKNOWN
        return _Response.NOT_SERVING if self._stopping.is_set() else _Response.SERVING
