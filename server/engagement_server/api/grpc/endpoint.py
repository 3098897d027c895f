"""What takes calls in a process: listeners with the same services and the same limits, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from engagement_server.api.grpc.connections import ConnectionLimits
from engagement_server.api.grpc.counting import count_reasons
from engagement_server.api.grpc.gate import Gate
from engagement_server.api.grpc.health import HealthServicer
from engagement_server.api.grpc.listener import Listener
from engagement_server.api.grpc.methods import service_handler
from engagement_server.api.grpc.reflection import add_reflection
from engagement_server.api.grpc.running import CallLimits, RunningCalls
from engagement_server.jobs.supervisor import INGEST_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from engagement_server.access.call_quotas import CallQuotas
    from engagement_server.api.grpc.listener import ListenerPolicy
    from engagement_server.api.observers import Observers
    from engagement_server.governor.memory import Pressure
    from engagement_server.partitions import Partitions

# Above the contract's limit, so that messages over that limit are refused with a reason. Beyond this one the
# library drops messages unread.
_TRANSPORT_MESSAGE_BYTES = 9 * 1024 * 1024
MIN_KEEPALIVE_INTERVAL = timedelta(seconds=10)
"""By default the library allows one ping in five minutes, and disconnects common Go and Java clients."""
MAX_METADATA_BYTES = 32 * 1024
"""Room for a token of 16 KiB. Between its soft and its hard limit the library refuses calls at random, so
both are this one."""
_MAX_PENDING_CALLS = 2_000
"""Calls that have arrived and not begun, 16 KiB each. The library cancels further ones without a reason;
it does so at random between its two limits, so both are this one."""
_CLOSE_CONNECTIONS_SECONDS = 0.5
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # For clients that accept compression; the lowest level is gzip, which more of them support than deflate.
    ("grpc.default_compression_level", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", int(MIN_KEEPALIVE_INTERVAL.total_seconds() * 1000)),
    (
        "grpc.http2.min_recv_ping_interval_without_data_ms",
        int(MIN_KEEPALIVE_INTERVAL.total_seconds() * 1000),
    ),
    # How far a client may send ahead on one stream. The library would raise it to megabytes for a fast one,
    # and hold them for each call: docs/decisions/0049-memory-has-a-limit.md has the numbers.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of the library is more than that a client went away before it had its answer."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, grpc.aio.InternalError)


logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)


class Endpoint:
    """The gRPC servers of one process: one for each listener, because a call cannot tell by which it came."""

    def __init__(  # noqa: PLR0913  # all but three are named at the call
        self,
        services: Mapping[ServiceDescriptor, object],
        partitions: Partitions,
        policies: Sequence[ListenerPolicy],
        *,
        limits: CallLimits,
        quotas: CallQuotas,
        observers: Observers,
        connections: ConnectionLimits,
        shares_port: bool = False,
    ) -> None:
        """Serves the services at each listener. If it `shares_port`, other processes may listen there too."""
        names = [service.full_name for service in services]
        self._health = HealthServicer(names, partitions)
        count_reasons(observers.measures)
        self._running = RunningCalls(view_time_ms=partitions.view_time_ms, limits=limits)
        partitions.watch_erasures(self._running.note_erasures, settle=self._running.settle)
        own = (("grpc.so_reuseport", int(shares_port)), *connections.options())
        self._listeners = [
            Listener(policy, (*_OPTIONS, *own), is_reserved=shares_port) for policy in policies
        ]
        for listener in self._listeners:
            admission = listener.policy.admission
            listener.grpc.add_generic_rpc_handlers(
                [
                    service_handler(
                        service,
                        handlers,
                        running=self._running,
                        observers=observers,
                        admission=admission,
                        quotas=quotas,
                    )
                    for service, handlers in services.items()
                ]
            )
            health_pb2_grpc.add_HealthServicer_to_server(self._health, listener.grpc)
            gate = Gate(admission, observers.measures, observers.audit)
            add_reflection((*names, health.SERVICE_NAME), listener.grpc, gate=gate)

    async def listen(self) -> list[str]:
        """Takes calls; returns where, with the actual ports. Raises ConfigurationError."""
        return [await listener.listen() for listener in self._listeners]

    def report_writable(self, *, is_writable: bool) -> None:
        """Reports NOT_SERVING for the service that takes events while the store cannot take them."""
        self._health.set_unwritable(() if is_writable else (INGEST_SERVICE,))

    def report_stalled(self, services: Iterable[str]) -> None:
        """Reports NOT_SERVING for services that background jobs have stalled for; "" for all of them."""
        self._health.set_stalled(services)

    @property
    def is_idle(self) -> bool:
        """See `RunningCalls.is_idle`."""
        return self._running.is_idle

    @property
    def running_calls(self) -> int:
        """See `RunningCalls.count`."""
        return self._running.count

    @property
    def unread_answers(self) -> int:
        """See `RunningCalls.unread_answers`."""
        return self._running.unread_answers

    def relieve(self, pressure: Pressure) -> None:
        """See `RunningCalls.relieve`."""
        self._running.relieve(pressure)

    def report_stopping(self) -> None:
        """Reports NOT_SERVING from now on."""
        self._health.note_stopping()

    async def end_calls(self, *, grace_seconds: float) -> None:
        """Refuses new calls, gives running ones time to end, and closes the connections."""
        self._health.end_watches()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._running.drain()
        # Calls that are still open never sent a request, or have had their time.
        await asyncio.gather(
            *(listener.grpc.stop(_CLOSE_CONNECTIONS_SECONDS) for listener in self._listeners)
        )
