"""What a grant restricts about events that come in: whose uploads they go on with, and what they may say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from tests.support.asking_server import Serving, alone, replicated, worker
from tests.support.calls import REJECTED, one, some
from tests.support.events import customer_event
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_upload import RawUpload, chunk, finish
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from tests.support.nats_cluster import NatsCluster

CRM, WEB, ADMIN, ANALYST = map(calling_as, ("crm", "web", "admin", "analyst"))
NARROW = calling_as("narrow")


def grants() -> HeldGrants:
    return HeldGrants(
        principal("crm", "ingest"),
        principal("web", "ingest"),
        principal("admin", "ingest", "admin"),
        principal("analyst", "read"),
        principal("narrow", "ingest", sources=frozenset({"crm-export"}), may_authenticate=False),
    )


@asynccontextmanager
async def connected(serving: Serving, folder: Path) -> AsyncIterator[IngestServiceAsyncStub]:
    async with serving(folder) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield v1.IngestServiceStub(channel)


@pytest.fixture
async def ingest(tmp_path: Path, new_store: Path) -> AsyncIterator[IngestServiceAsyncStub]:
    async with connected(alone(new_store, grants()), tmp_path / "data") as stub:
        yield stub


async def begin_upload(ingest: IngestServiceAsyncStub) -> None:
    """An upload of the CRM with one chunk, whose connection is lost."""
    upload = RawUpload(ingest, metadata=CRM)
    await upload.open()
    await upload.send(chunk(1, customer_event("a")))
    await upload.receive_acks(1)
    upload.call.cancel()


def getting(upload_id: str = "upload") -> v1.GetUploadRequest:
    return v1.GetUploadRequest(account_id="acme", upload_id=upload_id)


async def listed(ingest: IngestServiceAsyncStub, metadata: tuple[tuple[str, str], ...]) -> list[str]:
    found = await ingest.ListUploads(v1.ListUploadsRequest(account_id="acme"), metadata=metadata)
    return [upload.upload_id for upload in found.uploads]


async def require_owned(ingest: IngestServiceAsyncStub) -> None:
    """Only its principal and an admin go on with an upload, and for others it is not there."""
    await begin_upload(ingest)
    refused = await expect_refused(RawUpload(ingest, metadata=WEB).open())
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    theirs = await expect_refused(ingest.GetUpload(getting(), metadata=WEB))
    missing = await expect_refused(ingest.GetUpload(getting("missing"), metadata=WEB))
    assert (theirs.code, theirs.reason) == (missing.code, missing.reason)
    assert theirs.message.replace("'upload'", "'missing'") == missing.message
    assert await listed(ingest, WEB) == []
    for metadata in (CRM, ADMIN, ANALYST):
        assert await listed(ingest, metadata) == ["upload"]
        assert (await ingest.GetUpload(getting(), metadata=metadata)).upload.committed_through == 1
    for metadata in (ADMIN, CRM):
        upload = RawUpload(ingest, metadata=metadata)
        assert (await upload.open()).committed_through == 1
        upload.call.cancel()


async def test_an_upload_belongs_to_its_principal(ingest: IngestServiceAsyncStub) -> None:
    await require_owned(ingest)


async def test_an_upload_belongs_to_its_principal_at_a_worker(tmp_path: Path) -> None:
    async with connected(worker(grants()), tmp_path / "data") as ingest:
        await require_owned(ingest)


async def test_an_upload_belongs_to_its_principal_over_a_replicated_log(
    tmp_path: Path, cluster: NatsCluster
) -> None:
    serving = replicated(cluster.url, log_name="granted-uploads", credentials=grants())
    async with connected(serving, tmp_path / "data") as ingest:
        await require_owned(ingest)


async def test_an_opening_that_is_refused_ends_no_stream(ingest: IngestServiceAsyncStub) -> None:
    running = RawUpload(ingest, metadata=CRM)
    await running.open()
    await expect_refused(RawUpload(ingest, metadata=WEB).open())
    await running.send(chunk(1, customer_event("a")), finish(1))
    assert (await running.receive_rest())[-1].finished.upload.tally.accepted == 1


def good(event_id: str) -> v1.Event:
    event = customer_event(event_id)
    event.source = "crm-export"
    return event


def of_another_source(event_id: str) -> v1.Event:
    event = customer_event(event_id)
    event.source = "web"
    return event


def authenticated(event_id: str) -> v1.Event:
    event = good(event_id)
    event.authenticated = True
    return event


RULES = {
    "server.event.source_forbidden": of_another_source,
    "server.event.authenticated_forbidden": authenticated,
}


@pytest.mark.parametrize("rule", RULES)
async def test_an_event_that_the_grant_does_not_allow_is_refused(
    ingest: IngestServiceAsyncStub, rule: str
) -> None:
    refused = await expect_refused(ingest.RecordEvent(one(RULES[rule]("a")), metadata=NARROW))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert "crm-export" not in refused.message
    batch = some(good("b"), RULES[rule]("c"))
    batch.allow_partial = True
    answer = await ingest.RecordEvents(batch, metadata=NARROW)
    assert [result.error.violations[0].rule for result in answer.results if result.HasField("error")] == [
        rule
    ]
    assert answer.tally == v1.Tally(accepted=1, rejected=1)


async def test_an_event_without_a_source_is_none_of_the_sources(ingest: IngestServiceAsyncStub) -> None:
    refused = await expect_refused(ingest.RecordEvent(one(customer_event("a")), metadata=NARROW))
    assert refused.fields == ["event.source"]


async def test_an_upload_rejects_the_events_that_the_grant_does_not_allow(
    ingest: IngestServiceAsyncStub,
) -> None:
    upload = RawUpload(ingest, metadata=NARROW)
    await upload.open()
    await upload.send(chunk(1, good("a"), of_another_source("b"), authenticated("c")), finish(1))
    acks = [each.ack for each in await upload.receive_rest() if each.HasField("ack")]
    results = [each.result for ack in acks for each in ack.results]
    assert [result.error.violations[0].rule for result in results] == list(RULES)
    assert {result.outcome for result in results} == {REJECTED}


async def test_a_grant_without_restrictions_sends_what_it_likes(ingest: IngestServiceAsyncStub) -> None:
    answer = await ingest.RecordEvent(one(authenticated("a")), metadata=CRM)
    assert not answer.result.HasField("error")
