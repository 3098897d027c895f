"""The standard health service: tells what goes on, for the server, its services and its partitions.

The library's own holds a lock while it writes to a watcher: one watcher that does not read would block all
others, and the server's shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement_server.api.grpc.call import caller_of
from engagement_server.governor.turns import Room
from engagement_server.jobs.supervisor import EXPIRY, INGEST_SERVICE

if TYPE_CHECKING:
    from engagement_server.partitions import Partitions

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_WATCHES: Final = 1_000
"""Watches at a time; more are refused. A connection gets a third of them at most."""
_Response = health_pb2.HealthCheckResponse
_List: Any = health_pb2.HealthListResponse  # type: ignore[attr-defined]  # the stubs are older


def partition_name(number: int) -> str:
    """The name under which health tells whether a partition is current."""
    return f"partition/{number}"


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers for the whole server, under the empty name, and for parts of it that may fail alone.

    While a log is gone, its node is NOT_SERVING as a whole, so that others get the calls, and so is the
    service that takes events; those that read go on. A full disk stops the taking of events alone.
    """

    def __init__(self, services: Iterable[str], partitions: Partitions) -> None:
        self._partitions = partitions
        self._numbers = {partition_name(each.number): each.number for each in partitions}
        self._names = frozenset(("", EXPIRY, *services, *self._numbers))
        self._is_stopping = False
        self._is_over = False
        self._unwritable: frozenset[str] = frozenset()
        self._stalled: frozenset[str] = frozenset()
        self._room = Room(MAX_WATCHES)
        self._change = asyncio.Event()
        partitions.watch_freshness(lambda _: self._notify())
        partitions.watch_room(self._notify)
        partitions.watch_expiry(self._notify)

    def set_unwritable(self, services: Iterable[str]) -> None:
        """Reports NOT_SERVING for these services, which only write; the others go on."""
        self._unwritable = frozenset(services)
        self._notify()

    def set_stalled(self, services: Iterable[str]) -> None:
        """Reports NOT_SERVING for these services, whose background jobs keep failing; "" stands for all."""
        self._stalled = frozenset(services)
        self._notify()

    def note_stopping(self) -> None:
        """Reports NOT_SERVING from now on."""
        self._is_stopping = True
        self._notify()

    def end_watches(self) -> None:
        """Ends all watches."""
        self._is_over = True
        self._notify()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> _Response:
        """Returns the status of a service."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the server has no such service")
        return _Response(status=self._status(request.service))

    async def List(self, request: object, context: Context) -> Any:
        """Returns the status of each service."""
        return _List(statuses={name: _Response(status=self._status(name)) for name in self._names})

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Sends the status of a service now, and whenever it changes."""
        caller = caller_of(context, "")
        if not self._room.is_free_for(caller):
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watches of health are open; close some"
            )
        sent = None
        with self._room.taken(caller, 1):
            while True:
                change, is_last, status = self._change, self._is_over, self._status(request.service)
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
        if service not in self._names:
            return _Response.SERVICE_UNKNOWN
        is_stopped = self._is_stopping or service in self._unwritable
        is_stopped = is_stopped or not self._stalled.isdisjoint({service, ""})
        return _Response.SERVING if not is_stopped and self._goes_on(service) else _Response.NOT_SERVING

    def _goes_on(self, service: str) -> bool:
        """Whether the logs and the disk let a service go on."""
        partitions = self._partitions
        if (number := self._numbers.get(service)) is not None:
            return partitions.is_current(number)
        if service == INGEST_SERVICE:
            return partitions.are_current and not partitions.is_disk_full
        if service == EXPIRY:
            return partitions.are_current and not partitions.is_expiry_held
        return partitions.are_current if service == "" else not partitions.are_damaged
