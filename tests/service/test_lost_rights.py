"""Streams end with the rights of their callers; what was committed is acknowledged, and no more is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from engagement import v1
from engagement_server.access.principals import Accounts
from engagement_server.api.grpc import rights
from engagement_server.node import Server
from tests.support.asking_server import Serving, alone, replicated, worker
from tests.support.calls import one, some
from tests.support.events import customer_event, customer_events
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from tests.support.nats_cluster import NatsCluster

pytestmark = pytest.mark.usefixtures("frequent_looks")
UNAUTHENTICATED = v1.UploadEventsResponse.Closing.REASON_UNAUTHENTICATED
NOT_SHOWN = v1.SubscribeEventsResponse.Closing.REASON_UNAUTHENTICATED
WRITER, READER, OTHER = calling_as("writer"), calling_as("reader"), calling_as("other")


class Asking(NamedTuple):
    """A server that knows some principals."""

    server: Server
    grants: HeldGrants
    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub


def grants() -> HeldGrants:
    return HeldGrants(
        principal("writer", "ingest"), principal("reader", "read", "read.pii"), principal("other", "ingest")
    )


@asynccontextmanager
async def connected(serving: Serving, folder: Path, known: HeldGrants) -> AsyncIterator[Asking]:
    async with serving(folder) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield Asking(server, known, v1.IngestServiceStub(channel), v1.EventServiceStub(channel))


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "LOOK_SECONDS", 0.05)


@pytest.fixture
async def asking(tmp_path: Path, new_store: Path) -> AsyncIterator[Asking]:
    known = grants()
    async with connected(alone(new_store, known), tmp_path / "data", known) as stubs:
        yield stubs


async def upload_two_chunks(asking: Asking) -> RawUpload:
    upload = RawUpload(asking.ingest, metadata=WRITER)
    await upload.open()
    await upload.send(chunk(1, customer_event("a")), chunk(2, customer_event("b")))
    return upload


async def send_for_ever(upload: RawUpload) -> None:
    for sequence in count(1):
        await upload.send(chunk(sequence, customer_event(f"event-{sequence}")))
        await asyncio.sleep(0)


async def require_closed(upload: RawUpload) -> None:
    """All acks, and then the reason, come before OK."""
    rest = await upload.receive_rest()
    assert rest[-1].closing.reason == UNAUTHENTICATED
    assert await upload.call.code() is grpc.StatusCode.OK


async def test_an_upload_of_a_revoked_caller_is_acknowledged_and_closed(asking: Asking) -> None:
    upload = await upload_two_chunks(asking)
    await upload.receive_acks(2)
    asking.grants.revoke("writer")
    await require_closed(upload)


async def test_what_comes_after_the_loss_is_not_read(asking: Asking) -> None:
    upload = await upload_two_chunks(asking)
    await upload.receive_acks(2)
    asking.grants.revoke("writer")
    await require_closed(upload)
    await upload.send(chunk(3, customer_event("c")), finish(3))
    asking.grants.put(principal("writer", "ingest"))
    again = RawUpload(asking.ingest, metadata=WRITER)
    assert (await again.open()).committed_through == 2


async def test_chunks_that_are_being_committed_are_acknowledged_before_the_end(asking: Asking) -> None:
    upload = RawUpload(asking.ingest, metadata=WRITER)
    await upload.open()
    asking.grants.revoke("writer")
    sending = asyncio.create_task(send_for_ever(upload))
    rest = await upload.receive_rest()
    sending.cancel()
    acked = max((each.ack.committed_through for each in rest), default=0)
    assert rest[-1].closing.reason == UNAUTHENTICATED
    asking.grants.put(principal("writer", "ingest"))
    again = RawUpload(asking.ingest, metadata=WRITER)
    assert (await again.open()).committed_through == acked


async def test_a_subscription_of_a_revoked_caller_is_closed_with_its_last_cursor(asking: Asking) -> None:
    await asking.ingest.RecordEvents(some(customer_event("a")), metadata=OTHER)
    subscription = RawSubscription(asking.events, subscribing(), metadata=READER)
    last = (await subscription.read_until("caught_up"))[-1]
    asking.grants.revoke("reader")
    (closing,) = await subscription.rest()
    assert (closing.closing.reason, closing.cursor) == (NOT_SHOWN, last.cursor)


async def test_a_slow_reader_misses_nothing_when_it_comes_back(asking: Asking) -> None:
    events = [customer_event(f"event-{number:04}", balance="9" * 2000) for number in range(2000)]
    for first in range(0, len(events), 500):
        await asking.ingest.RecordEvents(some(*events[first : first + 500]), metadata=OTHER)
    subscription = RawSubscription(asking.events, subscribing(max_batch_events=10), metadata=READER)
    await subscription.read_until("batch")
    asking.grants.revoke("reader")
    before = await subscription.rest()
    assert before[-1].closing.reason == NOT_SHOWN
    assert len(ids(before)) < len(events) - 10, "it was shown all of them"
    asking.grants.put(principal("reader", "read", "read.pii"))
    resumed = RawSubscription(
        asking.events,
        subscribing(after_cursor=before[-1].cursor, stop_at_tail=True, max_batch_events=1000),
        metadata=READER,
    )
    after = ids(await resumed.read_until("caught_up"))
    shown = [event.event_id for event in events[:10]] + ids(before) + after
    assert shown == [event.event_id for event in events]


async def test_an_identity_that_expires_ends_its_streams_and_a_new_one_goes_on(asking: Asking) -> None:
    asking.grants.put(principal("reader", "read"), expires_at=time.time() + 0.5)
    expiring = RawSubscription(asking.events, subscribing(), metadata=READER)
    await expiring.read_until("caught_up")
    asking.grants.extend("reader")
    lasting = RawSubscription(asking.events, subscribing(), metadata=READER)
    await lasting.read_until("caught_up")
    (closing,) = await expiring.rest()
    assert closing.closing.reason == NOT_SHOWN
    await asking.ingest.RecordEvent(one(customer_event("a")), metadata=OTHER)
    assert await lasting.read_ids(1) == ["a"]
    lasting.call.cancel()


@pytest.mark.parametrize("change", ["scopes", "accounts", "mask"])
async def test_any_change_of_the_rights_ends_a_stream(asking: Asking, change: str) -> None:
    subscription = RawSubscription(asking.events, subscribing(), metadata=READER)
    await subscription.read_until("caught_up")
    changed = {
        "scopes": principal("reader", "read", "read.pii", "erase"),
        "accounts": principal("reader", "read", "read.pii", accounts=Accounts(["other"])),
        "mask": principal("reader", "read"),
    }
    asking.grants.put(changed[change])
    (closing,) = await subscription.rest()
    assert closing.closing.reason == NOT_SHOWN


async def test_the_streams_of_others_go_on(asking: Asking) -> None:
    asking.grants.put(principal("second", "read"))
    staying = RawSubscription(asking.events, subscribing(), metadata=calling_as("second"))
    leaving = RawSubscription(asking.events, subscribing(), metadata=READER)
    for each in (staying, leaving):
        await each.read_until("caught_up")
    asking.grants.revoke("reader")
    await leaving.rest()
    await asking.ingest.RecordEvent(one(customer_event("a")), metadata=OTHER)
    assert await staying.read_ids(1) == ["a"]
    staying.call.cancel()


async def test_a_reader_that_takes_nothing_is_cut_off(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "END_SECONDS", 0.2)
    events = customer_events(500)
    for event in events:
        event.customer_info.customer_type = "x" * 4000
    for start in range(8):
        batch = [v1.Event.FromString(event.SerializeToString()) for event in events]
        for event in batch:
            event.event_id += f"-{start}"
        await asking.ingest.RecordEvents(some(*batch), metadata=OTHER)
    subscription = RawSubscription(asking.events, subscribing(max_batch_events=1000), metadata=READER)
    await subscription.read_until("batch")
    asking.grants.revoke("reader")

    async def has_ended() -> bool:
        await asking.server.streams.refresh()
        return not asking.server.streams.of("").subscriptions

    await eventually(has_ended, "the stream of a silent reader ended")


async def test_an_upload_that_is_opened_while_rights_go_is_closed(asking: Asking) -> None:
    upload = RawUpload(asking.ingest, metadata=WRITER)
    await upload.send(opening())
    asking.grants.revoke("writer")
    try:
        await require_closed(upload)
    except grpc.aio.AioRpcError as error:  # revoked before the call was admitted
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # noqa: PT017


async def both_are_closed(asking: Asking) -> None:
    upload = await upload_two_chunks(asking)
    await upload.receive_acks(2)
    subscription = RawSubscription(asking.events, subscribing(), metadata=READER)
    assert await subscription.read_ids(2) == ["a", "b"]
    asking.grants.revoke("writer")
    asking.grants.revoke("reader")
    await require_closed(upload)
    assert (await subscription.rest())[-1].closing.reason == NOT_SHOWN


async def test_streams_of_a_worker_end_too(tmp_path: Path) -> None:
    known = grants()
    async with connected(worker(known), tmp_path / "data", known) as asking:
        await both_are_closed(asking)


async def test_streams_over_a_replicated_log_end_too(tmp_path: Path, cluster: NatsCluster) -> None:
    known = grants()
    serving = replicated(cluster.url, log_name="lost-rights", credentials=known)
    async with connected(serving, tmp_path / "data", known) as asking:
        await both_are_closed(asking)
