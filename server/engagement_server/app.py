"""The composition root: builds the server from its parts, starts and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2_grpc

from engagement.v1 import (
    entity_service_pb2_grpc,
    event_service_pb2_grpc,
    ingest_service_pb2_grpc,
    privacy_service_pb2_grpc,
    server_service_pb2_grpc,
)
from engagement_server.api.entities import EntityServicer
from engagement_server.api.events import EventServicer
from engagement_server.api.health import HealthServicer
from engagement_server.api.ingest import IngestServicer
from engagement_server.api.privacy import PrivacyServicer
from engagement_server.api.server import ServerServicer, Timings
from engagement_server.committer import Committer
from engagement_server.erasures import Erasures
from engagement_server.errors import ConfigurationError
from engagement_server.hot_consumers import HotConsumers
from engagement_server.interceptors import CallInterceptor
from engagement_server.log.local import LocalLog
from engagement_server.model import PartitionState
from engagement_server.profiles import Profiles
from engagement_server.reflection import add_reflection
from engagement_server.retention import Ages, Retention
from engagement_server.store.database import DatabaseFile, read_cursors
from engagement_server.store.readers import Readers
from engagement_server.subscriptions import Subscriptions
from engagement_server.uploads import Uploads

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.cursor import Cursors

_log = logging.getLogger(__name__)
_SERVICES = (
    "engagement.v1.IngestService",
    "engagement.v1.EventService",
    "engagement.v1.EntityService",
    "engagement.v1.PrivacyService",
    "engagement.v1.ServerService",
)
# Above the contract's limit, so that a message over it is refused with a reason; beyond this the
# library drops the message unread.
_TRANSPORT_MESSAGE_BYTES = 16 * 1024 * 1024
_MIN_KEEPALIVE_INTERVAL = timedelta(seconds=10)
_CLOSE_CONNECTIONS_SECONDS = 0.5
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _TRANSPORT_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Compressed for those who accept it; the lowest level is gzip, which more clients know than deflate.
    ("grpc.default_compression_level", 1),
    # The library allows a ping every five minutes, which gets usual Go and Java clients thrown out.
    ("grpc.http2.min_ping_interval_without_data_ms", int(_MIN_KEEPALIVE_INTERVAL.total_seconds() * 1000)),
    (
        "grpc.http2.min_recv_ping_interval_without_data_ms",
        int(_MIN_KEEPALIVE_INTERVAL.total_seconds() * 1000),
    ),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


class Server:
    """A running server; `start` makes one, `stop` ends it with everything acknowledged or refused."""

    def __init__(self, config: Config, database: DatabaseFile) -> None:
        self._config = config
        self._database = database
        self._log = LocalLog(database)
        with contextlib.closing(database.open_reader()) as connection:
            cursors = read_cursors(connection)
        self._readers = Readers(database, threads=config.reader_threads)
        self._committer = Committer(self._log)
        self._uploads = Uploads(
            self._committer,
            cursors,
            heartbeat_seconds=config.heartbeat_seconds,
            max_age_seconds=config.max_stream_age_seconds,
        )
        self._subscriptions = Subscriptions(
            log=self._log,
            committer=self._committer,
            readers=self._readers,
            cursors=cursors,
            heartbeat_seconds=config.heartbeat_seconds,
            max_age_seconds=config.max_stream_age_seconds,
        )
        self._erasures = Erasures(committer=self._committer, readers=self._readers, log=self._log)
        self._hot_consumers = HotConsumers(readers=self._readers, committer=self._committer)
        self._health = HealthServicer(_SERVICES)
        self._calls = CallInterceptor()
        self._grpc = grpc.aio.server(interceptors=[self._calls], options=_OPTIONS)
        self._add_services(cursors)
        self._retention = Retention(
            Ages(
                events=timedelta(days=config.retention_days),
                idle_uploads=timedelta(hours=config.upload_idle_hours),
            ),
            committer=self._committer,
            readers=self._readers,
        )
        self.address = ""

    @classmethod
    async def start(cls, config: Config) -> Server:
        """Opens the store and serves. Raises ConfigurationError."""
        server = cls(config, DatabaseFile(config.data_dir))
        try:
            await server._listen()
        except ConfigurationError:
            await server.stop()
            raise
        return server

    async def stop(self) -> None:
        """Says NOT_SERVING, closes streams, lets running calls end, and closes the store."""
        self._health.stop()
        await self._retention.stop()
        self._uploads.drain()
        self._subscriptions.drain()
        await self._erasures.stop()
        await self._end_calls()
        self._hot_consumers.close()
        await self._committer.close()
        self._readers.close()
        await self._log.close()
        self._database.close()

    async def _end_calls(self) -> None:
        """Refuses new calls, lets the running ones end, for some time, and closes the connections."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.stop_grace_seconds):
                await self._calls.running.drain()
        # What is still open never asked for anything, or had its time.
        await self._grpc.stop(_CLOSE_CONNECTIONS_SECONDS)

    async def _listen(self) -> None:
        host, _, _ = self._config.listen.rpartition(":")
        try:
            port = self._grpc.add_insecure_port(self._config.listen)
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {self._config.listen}; is another server running there?"
            ) from error
        self.address = f"{host}:{port}"
        await self._grpc.start()

    def _add_services(self, cursors: Cursors) -> None:
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(
            IngestServicer(
                committer=self._committer, readers=self._readers, uploads=self._uploads, cursors=cursors
            ),
            self._grpc,
        )
        event_service_pb2_grpc.add_EventServiceServicer_to_server(
            EventServicer(
                readers=self._readers,
                subscriptions=self._subscriptions,
                profiles=Profiles(readers=self._readers, hot_consumers=self._hot_consumers, cursors=cursors),
                cursors=cursors,
            ),
            self._grpc,
        )
        entity_service_pb2_grpc.add_EntityServiceServicer_to_server(
            EntityServicer(committer=self._committer, readers=self._readers), self._grpc
        )
        privacy_service_pb2_grpc.add_PrivacyServiceServicer_to_server(
            PrivacyServicer(
                erasures=self._erasures,
                committer=self._committer,
                readers=self._readers,
                cursors=cursors,
            ),
            self._grpc,
        )
        server_service_pb2_grpc.add_ServerServiceServicer_to_server(
            ServerServicer(
                Timings(
                    heartbeat_interval=timedelta(seconds=self._config.heartbeat_seconds),
                    max_stream_age=timedelta(seconds=self._config.max_stream_age_seconds),
                    upload_idle_timeout=timedelta(hours=self._config.upload_idle_hours),
                    min_keepalive_interval=_MIN_KEEPALIVE_INTERVAL,
                    retention=timedelta(days=self._config.retention_days),
                ),
                version=version("engagement-attributes"),
                partition_count=1,
                partitions=lambda: [_whole_store(cursors)],
            ),
            self._grpc,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        add_reflection((*_SERVICES, health.SERVICE_NAME), self._grpc)


def _whole_store(cursors: Cursors) -> PartitionState:
    """One machine carries all accounts, and its store is its log: never behind it."""
    return PartitionState(
        number=0, log_epoch=f"{cursors.epoch:08x}", view_time_ms=time.time_ns() // 1_000_000, is_current=True
    )


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. Raises ConfigurationError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The writer's thread waits this long for the interpreter after each statement, and events make many
    # objects but no cycles to look for: docs/decisions/0008-interpreter-settings.md has the numbers.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    uvloop.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await Server.start(config)
    print(f"listening on {server.address}", flush=True)
    await stop.wait()
    _log.info("stopping")
    await server.stop()
