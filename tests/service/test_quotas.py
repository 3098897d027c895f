"""Quotas of grants at a server: who has used them up waits or is refused, and others notice nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from engagement import v1
from engagement_server.access.principals import Principal
from engagement_server.access.quotas import Quotas
from engagement_server.api.grpc import rights
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.asking_server import Serving, alone, replicated, worker
from tests.support.calls import one, some
from tests.support.events import customer_event, customer_events
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish
from tests.support.refused_call import RefusedCall, expect_refused, outcome_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from engagement.v1.privacy_service_pb2_grpc import PrivacyServiceAsyncStub
    from engagement.v1.server_service_pb2_grpc import ServerServiceAsyncStub
    from tests.support.nats_cluster import NatsCluster

BATCH = 500
SLOW_RATE = 9.0
FAST_RATE = 2_000.0
MAX_STORED = 600
EVENT_BYTES = customer_event("event-00").ByteSize()
SLOW, FAST, FULL, NARROW = map(calling_as, ("slow", "fast", "full", "narrow"))
FREE, ERASER = calling_as("free"), calling_as("eraser")
MAKER = "maker"


class Asking(NamedTuple):
    """A server that knows principals with quotas."""

    server: Server
    grants: HeldGrants
    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub
    privacy: PrivacyServiceAsyncStub
    info: ServerServiceAsyncStub


def grants() -> HeldGrants:
    def granted(name: str, *scopes: str, **quotas: float) -> Principal:
        return principal(name, *(scopes or ("ingest", "read")), quotas=Quotas(**quotas))  # type: ignore[arg-type]  # as the test says

    return HeldGrants(
        granted("slow", events_per_second=SLOW_RATE),
        granted("fast", events_per_second=FAST_RATE),
        granted("full", stored_bytes=MAX_STORED),
        granted("narrow", "ingest", "read", concurrent_streams=1),
        granted(MAKER, max_new_accounts=1),
        principal("free", "ingest", "read"),
        principal("eraser", "erase"),
        principal("operator", "operate"),
    )


@asynccontextmanager
async def connected(serving: Serving, folder: Path, known: HeldGrants) -> AsyncIterator[Asking]:
    async with serving(folder) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield Asking(
            server,
            known,
            v1.IngestServiceStub(channel),
            v1.EventServiceStub(channel),
            v1.PrivacyServiceStub(channel),
            v1.ServerServiceStub(channel),
        )


@pytest.fixture
async def asking(tmp_path: Path, new_store: Path) -> AsyncIterator[Asking]:
    known = grants()
    async with connected(alone(new_store, known), tmp_path / "data", known) as stubs:
        yield stubs


def require_exceeded(refused: RefusedCall, quota: str, limit: str, *, may_wait: bool) -> None:
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert refused.metadata == {"quota": quota, "limit": limit}
    assert refused.quotas == [(quota, int(limit))]
    assert bool(refused.retry_delay_ms) == may_wait


async def use_up(asking: Asking) -> RefusedCall:
    """Sends batches until one is refused: the burst, and one that overdraws it."""
    for number in range(3):
        events = customer_events(BATCH, start=number * BATCH)
        try:
            await asking.ingest.RecordEvents(some(*events), metadata=SLOW)
        except grpc.aio.AioRpcError as error:
            return RefusedCall.of(error)
    raise AssertionError("nothing was refused")


async def test_calls_beyond_the_rate_are_refused_with_the_time_to_wait(asking: Asking) -> None:
    refused = await use_up(asking)
    require_exceeded(refused, "events_per_second", "9", may_wait=True)
    assert refused.retry_delay_ms <= 60_000
    single = await expect_refused(asking.ingest.RecordEvent(one(customer_event("x")), metadata=SLOW))
    require_exceeded(single, "events_per_second", "9", may_wait=True)


async def test_nobody_else_waits_and_neither_does_another_account(asking: Asking) -> None:
    await use_up(asking)
    await asking.ingest.RecordEvents(some(*customer_events(BATCH)), metadata=FREE)
    elsewhere = calling_as("slow", account_id="other")
    await asking.ingest.RecordEvents(some(*customer_events(BATCH), account_id="other"), metadata=elsewhere)


async def test_duplicates_and_rejected_events_count(asking: Asking) -> None:
    await asking.ingest.RecordEvents(some(*customer_events(BATCH)), metadata=FREE)
    request = some(*customer_events(BATCH), validate_only=True)
    bad = some(*(v1.Event() for _ in range(BATCH)), allow_partial=True)
    outcomes = [
        await outcome_of(asking.ingest.RecordEvents(sent, metadata=SLOW))
        for sent in (some(*customer_events(BATCH)), bad, request)
    ]
    assert "QUOTA_EXCEEDED" in outcomes[1:]


async def require_slowed_upload(asking: Asking) -> None:
    chunks = 10
    upload = RawUpload(asking.ingest, metadata=FAST)
    await upload.open()
    began = time.monotonic()
    messages = [chunk(number + 1, *customer_events(BATCH, start=number * BATCH)) for number in range(chunks)]
    sending = asyncio.create_task(upload.send(*messages, finish(chunks)))
    rest = await upload.receive_rest()
    await sending
    assert rest[-1].finished.upload.tally.accepted == chunks * BATCH
    # A slow machine takes longer, never less: what was not in the burst has been earned meanwhile.
    earned = chunks * BATCH - FAST_RATE - BATCH
    assert time.monotonic() - began >= earned / FAST_RATE


async def test_an_upload_is_slowed_by_its_rate_and_completes(asking: Asking) -> None:
    await require_slowed_upload(asking)


async def test_an_upload_is_slowed_by_its_rate_at_a_worker(tmp_path: Path) -> None:
    known = grants()
    async with connected(worker(known), tmp_path / "data", known) as asking:
        await require_slowed_upload(asking)


async def test_a_slowed_upload_slows_nobody_else(asking: Asking) -> None:
    slowed = await slowed_upload(asking)
    upload = RawUpload(asking.ingest, metadata=FREE)
    await upload.send(v1.UploadEventsRequest(open={"account_id": "acme", "upload_id": "free"}))
    assert (await upload.receive()).HasField("opened")
    await upload.send(
        *(chunk(n + 1, *customer_events(BATCH, start=n * BATCH)) for n in range(10)), finish(10)
    )
    assert (await upload.receive_rest())[-1].HasField("finished")
    getting = v1.GetUploadRequest(account_id="acme", upload_id="upload")
    assert (await asking.ingest.GetUpload(getting, metadata=FREE)).upload.committed_through == 2
    slowed.call.cancel()


async def slowed_upload(asking: Asking) -> RawUpload:
    """An upload that waits for its rate for most of a minute."""
    upload = RawUpload(asking.ingest, metadata=SLOW)
    await upload.open()
    await upload.send(*(chunk(n + 1, *customer_events(BATCH, start=n * BATCH)) for n in range(2)))
    await upload.receive_acks(2)
    await expect_refused(asking.ingest.RecordEvent(one(customer_event("x")), metadata=SLOW))
    await upload.send(chunk(3, customer_event("late")))
    return upload


async def test_a_slowed_upload_ends_with_its_rights_at_once(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "LOOK_SECONDS", 0.05)
    upload = await slowed_upload(asking)
    asking.grants.revoke("slow")
    rest = await upload.receive_rest()
    assert rest[-1].closing.reason == v1.UploadEventsResponse.Closing.REASON_UNAUTHENTICATED
    assert await upload.call.code() is grpc.StatusCode.OK


async def test_a_slowed_upload_ends_with_its_server(tmp_path: Path) -> None:
    known = grants()
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data"), credentials=known)
    async with connected(lambda _: nullcontext(server), tmp_path, known) as asking:
        upload = await slowed_upload(asking)
        stopping = asyncio.create_task(server.stop())
        rest = await upload.receive_rest()
        assert rest[-1].closing.reason == v1.UploadEventsResponse.Closing.REASON_DRAINING
        assert await upload.call.code() is grpc.StatusCode.OK
        await stopping


async def test_a_slowed_upload_ends_with_its_client(asking: Asking) -> None:
    quotas = Quotas(events_per_second=SLOW_RATE, concurrent_streams=1)
    asking.grants.put(principal("slow", "ingest", quotas=quotas))
    upload = await slowed_upload(asking)
    upload.call.cancel()

    async def has_ended() -> bool:
        again = RawUpload(asking.ingest, metadata=SLOW)
        outcome = await outcome_of(again.open())
        again.call.cancel()
        assert outcome in {"OK", "QUOTA_EXCEEDED"}
        return outcome == "OK"

    await eventually(has_ended, "the stream of the client that has gone counts no more")


async def test_a_stream_too_many_is_refused_before_a_message_is_read(asking: Asking) -> None:
    upload = RawUpload(asking.ingest, metadata=NARROW)
    await upload.open()
    second = RawUpload(asking.ingest, metadata=NARROW)  # sends nothing
    require_exceeded(await expect_refused(second.receive()), "concurrent_streams", "1", may_wait=True)
    following = RawSubscription(asking.events, subscribing(), metadata=NARROW)
    require_exceeded(await expect_refused(following.rest()), "concurrent_streams", "1", may_wait=True)
    free = RawUpload(asking.ingest, metadata=FREE)
    await free.send(v1.UploadEventsRequest(open={"account_id": "acme", "upload_id": "free"}))
    assert (await free.receive()).HasField("opened")
    await asking.ingest.RecordEvent(one(customer_event("a")), metadata=NARROW)
    upload.call.cancel()

    async def may_follow() -> bool:
        again = RawSubscription(asking.events, subscribing(stop_at_tail=True), metadata=NARROW)
        outcome = await outcome_of(again.rest())
        assert outcome in {"OK", "QUOTA_EXCEEDED"}
        return outcome == "OK"

    await eventually(may_follow, "the place of the upload that has ended is free")
    free.call.cancel()


async def fill(asking: Asking) -> int:
    """Uploads chunks of one event until the account is full; returns how many were committed."""
    upload = RawUpload(asking.ingest, metadata=FULL)
    await upload.open()
    committed = 0
    while True:
        await upload.send(chunk(committed + 1, customer_event(f"event-{committed:02}")))
        try:
            await upload.receive_acks(committed + 1)
        except grpc.aio.AioRpcError as error:
            require_exceeded(RefusedCall.of(error), "stored_bytes", str(MAX_STORED), may_wait=False)
            return committed
        committed += 1


async def require_stored_bytes_limited(asking: Asking) -> None:
    committed = await fill(asking)
    assert committed == -(-MAX_STORED // EVENT_BYTES)
    getting = v1.GetUploadRequest(account_id="acme", upload_id="upload")
    assert (await asking.ingest.GetUpload(getting, metadata=FULL)).upload.committed_through == committed
    single = await expect_refused(asking.ingest.RecordEvent(one(customer_event("x")), metadata=FULL))
    require_exceeded(single, "stored_bytes", str(MAX_STORED), may_wait=False)
    await asking.ingest.RecordEvent(one(customer_event("y")), metadata=FREE)
    elsewhere = calling_as("full", account_id="other")
    await asking.ingest.RecordEvent(one(customer_event("x"), account_id="other"), metadata=elsewhere)
    erasing = v1.EraseConsumerRequest(
        account_id="acme", request_id="r", subjects=[v1.Subject(consumer_id="ada")]
    )
    await asking.privacy.EraseConsumer(erasing, metadata=ERASER)

    async def has_room() -> bool:
        outcome = await outcome_of(asking.ingest.RecordEvent(one(customer_event("new")), metadata=FULL))
        assert outcome in {"OK", "QUOTA_EXCEEDED"}
        return outcome == "OK"

    await eventually(has_room, "the erasure has made room")


async def test_an_account_that_is_full_takes_no_more_until_there_is_room(asking: Asking) -> None:
    await require_stored_bytes_limited(asking)


async def test_an_account_that_is_full_takes_no_more_at_a_worker(tmp_path: Path) -> None:
    known = grants()
    async with connected(worker(known), tmp_path / "data", known) as asking:
        await require_stored_bytes_limited(asking)


async def test_an_account_that_is_full_takes_no_more_over_a_replicated_log(
    tmp_path: Path, cluster: NatsCluster
) -> None:
    known = grants()
    serving = replicated(cluster.url, log_name="stored-bytes", credentials=known)
    async with connected(serving, tmp_path / "data", known) as asking:
        await require_stored_bytes_limited(asking)


async def test_one_chunk_of_an_upload_at_most_passes_the_limit(asking: Asking) -> None:
    upload = RawUpload(asking.ingest, metadata=FULL)
    await upload.open()
    chunks = [chunk(n + 1, *(customer_event(f"{n}-{m}") for m in range(5))) for n in range(8)]
    await upload.send(*chunks)
    require_exceeded(
        await expect_refused(upload.receive_rest()), "stored_bytes", str(MAX_STORED), may_wait=False
    )
    (account,) = (
        await asking.info.ListAccounts(v1.ListAccountsRequest(), metadata=calling_as("operator"))
    ).accounts
    largest = max(sum(event.ByteSize() for event in each.chunk.events) for each in chunks)
    assert MAX_STORED <= account.stored_bytes < MAX_STORED + largest


async def make_account(asking: Asking, account_id: str) -> str:
    """How the first event of an account ends."""
    request = one(customer_event("first"), account_id=account_id)
    try:
        await asking.ingest.RecordEvent(request, metadata=calling_as(MAKER, account_id=account_id))
    except grpc.aio.AioRpcError as error:
        require_exceeded(RefusedCall.of(error), "max_new_accounts", "1", may_wait=False)
        return "refused"
    return "made"


async def test_a_principal_makes_no_more_accounts_than_it_may(asking: Asking) -> None:
    await asking.ingest.RecordEvent(
        one(customer_event("a"), account_id="old"), metadata=calling_as("free", account_id="old")
    )
    names = ["made", *("refused" for _ in range(9))]
    made = await asyncio.gather(*(make_account(asking, f"new-{number}") for number in range(10)))
    assert sorted(made) == names
    assert await make_account(asking, "old") == "made"
    checked = one(customer_event("a"), account_id="checked", validate_only=True)
    await asking.ingest.RecordEvent(checked, metadata=calling_as(MAKER, account_id="checked"))
    assert await make_account(asking, f"new-{made.index('made')}") == "made"


async def test_an_upload_makes_an_account_and_goes_on(asking: Asking) -> None:
    maker = calling_as(MAKER)
    upload = RawUpload(asking.ingest, metadata=maker)
    await upload.open()
    await upload.send(*(chunk(n + 1, customer_event(f"event-{n}")) for n in range(5)))
    await upload.receive_acks(5)
    assert await make_account(asking, "another") == "refused"
    await upload.send(chunk(6, customer_event("last")), finish(6))
    assert (await upload.receive_rest())[-1].finished.upload.tally.accepted == 6


async def test_accounts_count_on_all_nodes_of_a_log(tmp_path: Path, cluster: NatsCluster) -> None:
    known = grants()
    serving = replicated(cluster.url, log_name="new-accounts", credentials=known)
    async with (
        connected(serving, tmp_path / "a", known) as first,
        connected(serving, tmp_path / "b", known) as second,
    ):
        assert await make_account(first, "new") == "made"

        async def is_known() -> bool:
            getting = v1.GetEventRequest(account_id="new", event_id="first")
            metadata = calling_as(MAKER, account_id="new")
            return bool((await second.events.GetEvent(getting, metadata=metadata)).event.cursor)

        await eventually(is_known, "the other node has the event")
        assert await make_account(second, "another") == "refused"
        assert await make_account(second, "new") == "made"


async def test_callers_see_their_quotas(asking: Asking) -> None:
    identity = await asking.info.GetIdentity(v1.GetIdentityRequest(), metadata=SLOW)
    assert identity.quotas == v1.GrantQuotas(events_per_second=SLOW_RATE)
    free = await asking.info.GetIdentity(v1.GetIdentityRequest(), metadata=FREE)
    assert not free.HasField("quotas")
