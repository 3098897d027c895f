"""The standard health service: SERVING while the node is current, and until it stops.

The library's own holds a lock while it writes to a watcher: one watcher that does not read would block all
others, and the server's shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement_server.jobs.supervisor import EXPIRY

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_Response = health_pb2.HealthCheckResponse
_List: Any = health_pb2.HealthListResponse  # type: ignore[attr-defined]  # the stubs are older


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers for the server as a whole, under the empty name, for each of its services, and for expiry."""

    def __init__(self, services: Iterable[str], *, is_current: bool, is_expiry_held: bool) -> None:
        self._services = frozenset(("", EXPIRY, *services))
        self._is_current = is_current
        self._is_expiry_held = is_expiry_held
        self._is_stopping = False
        self._unwritable: frozenset[str] = frozenset()
        self._stalled: frozenset[str] = frozenset()
        self._change = asyncio.Event()

    def set_current(self, is_current: bool) -> None:  # noqa: FBT001  # as the logs call it
        """Reports NOT_SERVING while the node is behind the log or cut off from it."""
        self._is_current = is_current
        self._notify()

    def set_unwritable(self, services: Iterable[str]) -> None:
        """Reports NOT_SERVING for these services, which only write; the others go on."""
        self._unwritable = frozenset(services)
        self._notify()

    def set_stalled(self, services: Iterable[str]) -> None:
        """Reports NOT_SERVING for these services, whose background jobs keep failing; "" stands for all."""
        self._stalled = frozenset(services)
        self._notify()

    def set_expiry_held(self, *, is_held: bool) -> None:
        """Reports NOT_SERVING for expiry alone while it is held: everything else goes on."""
        self._is_expiry_held = is_held
        self._notify()

    def stop(self) -> None:
        """Reports NOT_SERVING from now on."""
        self._is_stopping = True
        self._notify()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> _Response:
        """Returns the status of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the server has no such service")
        return _Response(status=self._status(request.service))

    async def List(self, request: object, context: Context) -> Any:
        """Returns the status of each service."""
        return _List(statuses={name: _Response(status=self._status(name)) for name in self._services})

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Sends the status of a service now, and whenever it changes."""
        sent = None
        while True:
            change, is_last, status = self._change, self._is_stopping, self._status(request.service)
            if status != sent:
                await context.write(_Response(status=status))
                sent = status
            if is_last:
                return
            await change.wait()

    def _notify(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _Response.SERVICE_UNKNOWN
        is_serving = self._is_current and not self._is_stopping and service not in self._unwritable
        is_serving = is_serving and self._stalled.isdisjoint({service, ""})
        if service == EXPIRY:
            is_serving = is_serving and not self._is_expiry_held
        return _Response.SERVING if is_serving else _Response.NOT_SERVING
