"""What the transport allows: compression, sizes after decompression, pings, and many open streams."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest

from engagement import v1
from tests.e2e.connection import ACCOUNT, Connection, connect, upload_messages
from tests.e2e.raw_http2 import DATA, GOAWAY, PING, Frame, RawHttp2
from tests.events import customer_event, customer_events
from tests.server_process import ServerProcess
from tests.service.refusal import refusal

_MIB = 1024 * 1024
_BOMB_BYTES = 100 * _MIB
_BOMBS = 3
_OPEN_UPLOADS = 300
# Less than one bomb: what the library may take before it gives up.
_MEMORY_GROWTH_BYTES = 64 * _MIB
_TOO_MANY_PINGS = b"too_many_pings"


def _first_message(address: str, method: str, request: bytes, **options: object) -> bytes:
    """The bytes of the first response to a call, with the five in front that say how it is packed."""
    with RawHttp2(address) as connection:
        connection.call(method, request, **options)  # type: ignore[arg-type]
        return next(frame.payload for frame in connection.frames() if frame.kind == DATA)


async def test_requests_and_responses_are_compressed_for_those_who_ask(server_process: ServerProcess) -> None:
    event = customer_event(balance="x" * 50_000)
    record = v1.RecordEventRequest(account_id=ACCOUNT, event=event).SerializeToString()
    packed = gzip.compress(record)
    assert len(packed) < len(record) / 100
    with RawHttp2(server_process.address) as sender:
        sender.call(
            "/engagement.v1.IngestService/RecordEvent",
            packed,
            is_compressed=True,
            headers={"grpc-encoding": "gzip"},
        )
        answer = next(frame.payload for frame in sender.frames() if frame.kind == DATA)
    assert v1.RecordEventResponse.FromString(answer[5:]).result.outcome == v1.Outcome.OUTCOME_ACCEPTED
