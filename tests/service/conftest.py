"""Fixtures that talk to a server: the Python client, a plain channel, and stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, v1
from engagement_server.config import Config
from engagement_server.governor import memory
from engagement_server.node import Server
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import PAYLOAD_BYTES
from tests.support.rude_clients import StartServer

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub


@pytest.fixture
async def client(server: Server) -> AsyncIterator[EngagementClient]:
    """The Python client."""
    async with EngagementClient(server.address, account_id="acme") as connected:
        yield connected


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with the library's defaults."""
    async with grpc.aio.insecure_channel(server.address) as connected:
        yield connected


@pytest.fixture
def ingest(channel: grpc.aio.Channel) -> IngestServiceAsyncStub:
    """The stub for recording."""
    return v1.IngestServiceStub(channel)


@pytest.fixture
def events(channel: grpc.aio.Channel) -> EventServiceAsyncStub:
    """The stub for reading."""
    return v1.EventServiceStub(channel)


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartServer]:
    """Starts a server in this process with some settings.

    The size of the process is left out, since the tests before have left theirs.
    """
    monkeypatch.setattr(memory, "process_bytes", lambda: None)
    async with AsyncExitStack() as ending:

        async def started(**settings: object) -> Server:
            config = Config(listen="127.0.0.1:0", data=tmp_path / "data", **settings)  # type: ignore[arg-type]
            server = await Server.start(config)
            ending.push_async_callback(server.stop)
            return server

        yield started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """One NATS server for the logs of all these tests; its messages are small."""
    with NatsCluster(tmp_path_factory.mktemp("nats"), size=1, max_payload_bytes=PAYLOAD_BYTES) as running:
        yield running
