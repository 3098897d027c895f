"""Old connections are given up without a call that fails, and without a stream that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.api.grpc.connections import ConnectionLimits
from tests.support.connection import ACCOUNT, connect
from tests.support.events import customer_event
from tests.support.raw_http2 import DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Frame, RawHttp2
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import deadline

_SUBSCRIBE = "/engagement.v1.EventService/SubscribeEvents"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Its connections are old before its streams are."""
    ages = ("--max-connection-age-seconds", "0.4", "--max-stream-age-seconds", "2")
    with ServerProcess(tmp_path / "data", options=ages).start() as process:
        yield process


async def test_calls_move_to_new_connections_and_none_fails(server: ServerProcess) -> None:
    async with TcpProxy(server.address) as proxy, connect(proxy.address) as connection:
        recorded = 0
        async with deadline("the client has opened further connections"):
            while proxy.connections < 4:
                await connection.record(customer_event(f"event-{recorded}"))
                recorded += 1
        assert len(await connection.stored_ids()) == recorded


async def test_a_stream_on_an_old_connection_ends_by_closing(server: ServerProcess) -> None:
    def until_closed() -> list[Frame]:
        with RawHttp2(server.address) as raw:
            raw.call(_SUBSCRIBE, v1.SubscribeEventsRequest(account_id=ACCOUNT, latest=True))
            return list(raw.frames())

    async with deadline("the connection was closed"):
        frames = await asyncio.to_thread(until_closed)
    kinds = [frame.kind for frame in frames]
    assert GOAWAY in kinds
    assert RST_STREAM not in kinds
    *_, last = (frame for frame in frames if frame.kind == DATA)
    message = v1.SubscribeEventsResponse.FromString(last.payload[5:])
    assert message.closing.reason == v1.SubscribeEventsResponse.Closing.REASON_MAX_AGE
    assert any(frame.kind == HEADERS and frame.flags & END_STREAM for frame in frames)


def test_connections_outlive_the_oldest_stream() -> None:
    options = dict(ConnectionLimits(7, max_age_seconds=600, max_stream_age_seconds=3600).options())
    assert options["grpc.max_connection_age_ms"] == 600_000
    assert options["grpc.max_connection_age_grace_ms"] > 1.1 * 3_600_000
    assert options["grpc.max_allowed_incoming_connections"] == 7
    assert dict(ConnectionLimits(7, max_age_seconds=0, max_stream_age_seconds=3600).options()) == {
        "grpc.max_allowed_incoming_connections": 7,
        "grpc.server_handshake_timeout_ms": 10_000,
    }
