"""A publishable grant: who holds it learns nothing about what is stored, and cannot choose who it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.access.quotas import Quotas
from tests.support.asking_server import Serving, alone, worker
from tests.support.calls import ACCEPTED, REJECTED, one, some
from tests.support.events import bad_event, customer_event
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import expect_refused
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

PAGE, OPERATOR = calling_as("page"), calling_as("operator")
UPPER_CASE = "01932C07-209A-7D51-8E86-DFAE1D0A9B31"
SCOPES = ("ingest", "read", "read.pii", "erase", "entities", "operate", "admin")


class Asking(NamedTuple):
    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub
    channel: grpc.aio.Channel


def grants(events_per_second: float = 1_000.0) -> HeldGrants:
    page = principal(
        "page",
        "ingest",
        sources=frozenset({"shop-page"}),
        may_authenticate=False,
        is_publishable=True,
        quotas=Quotas(events_per_second=events_per_second),
    )
    return HeldGrants(page, principal("operator", *SCOPES))


@asynccontextmanager
async def connected(serving: Serving, folder: Path) -> AsyncIterator[Asking]:
    async with serving(folder) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield Asking(v1.IngestServiceStub(channel), v1.EventServiceStub(channel), channel)


@pytest.fixture
async def asking(tmp_path: Path, new_store: Path) -> AsyncIterator[Asking]:
    async with connected(alone(new_store, grants()), tmp_path / "data") as stubs:
        yield stubs


async def all_stored(asking: Asking) -> list[v1.StoredEvent]:
    request = v1.ListEventsRequest(account_id="acme")
    return list((await asking.events.ListEvents(request, metadata=OPERATOR)).events)


async def send(asking: Asking, *events: v1.Event, allow_partial: bool = False) -> v1.RecordEventsResponse:
    return await asking.ingest.RecordEvents(some(*events, allow_partial=allow_partial), metadata=PAGE)


async def test_the_source_is_set_and_nobody_is_authenticated_whatever_is_sent(asking: Asking) -> None:
    event = customer_event(uuid7())
    event.source, event.authenticated = "crm-export", True
    await send(asking, event, customer_event(""))
    assert {(each.event.source, each.event.authenticated) for each in await all_stored(asking)} == {
        ("shop-page", False)
    }


async def looks_alike(asking: Asking) -> None:
    """Events that are new, repeated, in conflict and suppressed are answered alike, but for their ids."""
    old, taken, gone = customer_event(uuid7()), customer_event(uuid7()), customer_event(uuid7())
    await send(asking, old)
    await asking.ingest.RecordEvent(one(taken), metadata=OPERATOR)
    gone.consumer_id = "grace"
    grace = v1.Subject(consumer_id="grace")
    erasing = v1.EraseConsumerRequest(account_id="acme", request_id="r", subjects=[grace], suppress=True)
    await v1.PrivacyServiceStub(asking.channel).EraseConsumer(erasing, metadata=OPERATOR)
    squatting = customer_event(taken.event_id, customer_status="another")
    for allow_partial in (False, True):
        events = [customer_event(uuid7()), old, squatting, gone]
        answer = await send(asking, *events, allow_partial=allow_partial)
        assert answer == v1.RecordEventsResponse(
            results=[
                v1.EventResult(index=index, event_id=event.event_id, outcome=ACCEPTED)
                for index, event in enumerate(events)
            ],
            tally=v1.Tally(accepted=4),
        )
    assert gone.event_id not in [each.event.event_id for each in await all_stored(asking)]


async def test_answers_do_not_tell_what_is_stored_or_suppressed(asking: Asking) -> None:
    await looks_alike(asking)


async def test_answers_of_a_worker_do_not_tell_either(tmp_path: Path) -> None:
    async with connected(worker(grants()), tmp_path / "data") as asking:
        await looks_alike(asking)


@pytest.mark.parametrize("event_id", ["order-1", "7d8d2b8a-26b4-4f8e-9d53-5b1a2cf0a9f4", UPPER_CASE])
async def test_other_ids_than_uuids_of_version_7_are_refused(asking: Asking, event_id: str) -> None:
    refused = await expect_refused(asking.ingest.RecordEvents(some(customer_event(event_id)), metadata=PAGE))
    assert [rule for _, rule, _ in refused.violations] == ["server.event.id_not_uuid7"]


async def test_nothing_is_only_validated(asking: Asking) -> None:
    request = some(customer_event(uuid7()), validate_only=True)
    refused = await expect_refused(asking.ingest.RecordEvents(request, metadata=PAGE))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["validate_only"])


async def test_an_invalid_event_is_told_as_ever(asking: Asking) -> None:
    answer = await send(asking, customer_event(uuid7()), bad_event(uuid7()), allow_partial=True)
    assert [result.outcome for result in answer.results] == [ACCEPTED, REJECTED]
    refused = await expect_refused(asking.ingest.RecordEvents(some(bad_event(uuid7())), metadata=PAGE))
    assert refused.reason == "FIELD_INVALID"


async def test_an_error_names_no_list_of_the_account(asking: Asking) -> None:
    closing = v1.PutEntitiesRequest(
        account_id="acme",
        kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS,
        names=["platinum"],
        closed=True,
    )
    await v1.EntityServiceStub(asking.channel).PutEntities(closing, metadata=OPERATOR)
    answer = await send(
        asking, customer_event(uuid7(), customer_status="gold"), customer_event(uuid7(), balance="3")
    )
    assert answer.results[0].error.reason == v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN
    assert b"platinum" not in answer.SerializeToString()
    assert answer.tally == v1.Tally(accepted=1, rejected=1)


Calling = Callable[[Asking], Awaitable[object]]
REFUSED: dict[str, Calling] = {
    "RecordEvent": lambda asking: asking.ingest.RecordEvent(one(customer_event(uuid7())), metadata=PAGE),
    "UploadEvents": lambda asking: RawUpload(asking.ingest, metadata=PAGE).open(),
    "GetUpload": lambda asking: asking.ingest.GetUpload(
        v1.GetUploadRequest(account_id="acme", upload_id="u"), metadata=PAGE
    ),
    "ListUploads": lambda asking: asking.ingest.ListUploads(
        v1.ListUploadsRequest(account_id="acme"), metadata=PAGE
    ),
    "ListRejections": lambda asking: asking.ingest.ListRejections(
        v1.ListRejectionsRequest(account_id="acme"), metadata=PAGE
    ),
    "GetIdentity": lambda asking: v1.ServerServiceStub(asking.channel).GetIdentity(
        v1.GetIdentityRequest(), metadata=PAGE
    ),
    "ListEvents": lambda asking: asking.events.ListEvents(
        v1.ListEventsRequest(account_id="acme"), metadata=PAGE
    ),
}


@pytest.mark.parametrize("method", REFUSED)
async def test_other_calls_are_refused(asking: Asking, method: str) -> None:
    refused = await expect_refused(REFUSED[method](asking))
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")


async def test_who_sends_too_much_is_told_when_to_go_on(tmp_path: Path, new_store: Path) -> None:
    serving = alone(new_store, grants(400.0))
    async with connected(serving, tmp_path / "data") as asking:
        batch = some(*(customer_event(uuid7()) for _ in range(500)))

        async def send_too_much() -> None:
            while True:
                await asking.ingest.RecordEvents(batch, metadata=PAGE)

        refused = await expect_refused(send_too_much())
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert refused.metadata == {"quota": "events_per_second", "limit": "400"}
        assert refused.retry_delay_ms > 0

        async def is_let_in() -> bool:
            try:
                await send(asking, batch.events[0])
            except grpc.aio.AioRpcError:
                return False
            return True

        await eventually(is_let_in, "the bucket fills again")
