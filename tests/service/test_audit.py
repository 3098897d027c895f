"""What the audit log has of calls, against real servers, alone and over a replicated log."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.access.audit_log import AuditLog
from engagement_server.access.audit_subjects import subject_hash
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from tests.support.audit_lines import KEY, AuditFiles, Said
from tests.support.calls import one
from tests.support.events import customer_event, customer_events
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.refused_call import expect_refused
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.entity_service_pb2_grpc import EntityServiceAsyncStub
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from engagement.v1.privacy_service_pb2_grpc import PrivacyServiceAsyncStub
    from engagement.v1.server_service_pb2_grpc import ServerServiceAsyncStub
    from tests.support.nats_cluster import NatsCluster

ACCOUNT = "acme"
ADA = subject_hash(KEY, account_id=ACCOUNT, subject_id="ada")
DPO, READER, PRODUCER = calling_as("dpo"), calling_as("reader"), calling_as("producer")
ERASE = v1.EraseConsumerRequest(
    account_id=ACCOUNT, request_id="ticket", subjects=[v1.Subject(consumer_id="ada")], suppress=True
)


@dataclass(frozen=True)
class Audited:
    """A server with an audit log."""

    files: AuditFiles
    server: Server
    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub
    privacy: PrivacyServiceAsyncStub
    entities: EntityServiceAsyncStub
    operations: ServerServiceAsyncStub

    async def line(self, kind: str, **said: Any) -> Said:
        """The only line of a kind that says this, once it is there."""
        await eventually(lambda: bool(self.files.lines(kind, **said)), f"a line of {kind} with {said}")
        (found,) = self.files.lines(kind, **said)
        return found


@pytest.fixture(params=["alone", "replicated"])
async def audited(request: pytest.FixtureRequest, tmp_path: Path, new_store: Path) -> AsyncIterator[Audited]:
    files, measures = AuditFiles(tmp_path), Measures()
    config, log = Config(listen="127.0.0.1:0", data=tmp_path / "data"), None
    if request.param == "replicated":
        nats: NatsCluster = request.getfixturevalue("cluster")
        log = LogConfig(log=nats.url, log_name=f"audit-{uuid7()}", log_replicas=1)
    else:
        shutil.copytree(new_store, config.data)
    audit = AuditLog.open(files.config(), data=config.data, measures=measures)
    audit.begin(version="1.2.3")
    grants = HeldGrants(
        principal("dpo", "read", "read.pii", "erase", "entities", "operate"),
        principal("reader", "read"),
        principal("producer", "ingest"),
    )
    server = await Server.start(config, log, observers=Observers(measures, audit=audit), credentials=grants)
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Audited(
            files,
            server,
            v1.IngestServiceStub(channel),
            v1.EventServiceStub(channel),
            v1.PrivacyServiceStub(channel),
            v1.EntityServiceStub(channel),
            v1.ServerServiceStub(channel),
        )
    await server.stop()
    await audit.close()


async def record(audited: Audited, count: int = 3) -> None:
    request = v1.RecordEventsRequest(account_id=ACCOUNT, events=customer_events(count))
    await audited.ingest.RecordEvents(request, metadata=PRODUCER)


async def test_an_erasure_has_a_line_before_and_one_after(audited: Audited) -> None:
    await record(audited)
    metadata = (*DPO, ("x-request-id", "ticket-4711"))
    erasure = (await audited.privacy.EraseConsumer(ERASE, metadata=metadata)).erasure
    (begin,) = audited.files.lines("erasures", event="begin")  # at once
    assert begin | {"time": ""} == {
        "time": "",
        "kind": "erasures",
        "event": "begin",
        "principal": "dpo",
        "credential": "token",
        "method": "engagement.v1.PrivacyService/EraseConsumer",
        "account": ACCOUNT,
        "subjects": [ADA],
        "masked": False,
        "request_id": "ticket-4711",
    }
    end = await audited.line("erasures", event="end")
    ended = {"event": "end", "events": 3, "erasure_id": erasure.erasure_id, "outcome": "OK"}
    assert end | {"time": ""} == begin | {"time": ""} | ended
    assert audited.files.lines("denials") == []


async def test_a_preview_is_no_erasure(audited: Audited) -> None:
    await record(audited)
    request = v1.EraseConsumerRequest(
        account_id=ACCOUNT, subjects=[v1.Subject(consumer_id="ada")], validate_only=True
    )
    await audited.privacy.EraseConsumer(request, metadata=DPO)
    line = await audited.line("erasures")
    assert (line["event"], line["preview"], line["events"]) == ("call", True, 3)


async def test_nothing_is_erased_or_lifted_without_a_line(audited: Audited) -> None:
    await record(audited)
    shutil.rmtree(audited.files.folder)
    refused = await expect_refused(audited.privacy.EraseConsumer(ERASE, metadata=DPO))
    assert (refused.reason, refused.code) == ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
    assert "audit log" in refused.message
    listed = v1.ListEventsRequest(account_id=ACCOUNT)
    assert len((await audited.events.ListEvents(listed, metadata=DPO)).events) == 3
    lift = v1.LiftSuppressionRequest(account_id=ACCOUNT, subject=v1.Subject(consumer_id="ada"))
    assert (await expect_refused(audited.privacy.LiftSuppression(lift, metadata=DPO))).reason == (
        "STORE_UNAVAILABLE"
    )
    (check,) = [each for each in audited.server.checks() if each.name == "audit log"]
    assert "No such file or directory" in check.problem
    assert not check.is_required
    audited.files.folder.mkdir()
    await audited.privacy.EraseConsumer(ERASE, metadata=DPO)
    await audited.privacy.LiftSuppression(lift, metadata=DPO)
    assert len(audited.files.lines("erasures", event="begin")) == 2
    line = await audited.line("exports")  # what waited is there as well
    assert line["events"] == 3


async def test_unmasked_reads_have_lines_and_masked_ones_lines_of_their_own(audited: Audited) -> None:
    await record(audited)
    get = v1.GetEventRequest(account_id=ACCOUNT, event_id="event-000001")
    profile = v1.GetProfileRequest(account_id=ACCOUNT, consumer_id="ada")
    wanted = v1.EventFilter(consumer_ids=["ada"])
    listed = v1.ListEventsRequest(account_id=ACCOUNT, filter=wanted, page_size=2)
    for metadata in (DPO, READER):
        await audited.events.GetEvent(get, metadata=metadata)
        await audited.events.GetProfile(profile, metadata=metadata)
        await audited.events.ListEvents(listed, metadata=metadata)
    service = "engagement.v1.EventService"
    event = subject_hash(KEY, account_id=ACCOUNT, subject_id="event-000001")
    for name, masked in (("dpo", False), ("reader", True)):
        kinds = ("masked-reads", "masked-reads") if masked else ("reads", "exports")
        found = await audited.line(kinds[0], principal=name, method=f"{service}/GetEvent")
        assert (found["subjects"], found["events"], found["masked"]) == ([event], 1, masked)
        found = await audited.line(kinds[0], principal=name, method=f"{service}/GetProfile")
        assert (found["subjects"], found.get("events"), found["masked"]) == ([ADA], None, masked)
        found = await audited.line(kinds[1], principal=name, method=f"{service}/ListEvents")
        assert (found["subjects"], found["events"], found["masked"]) == ([ADA], 2, masked)
        assert found["request_id"]


async def test_a_stream_has_a_line_at_its_begin_and_at_its_end(audited: Audited) -> None:
    await record(audited, 5)
    export = RawSubscription(audited.events, subscribing(stop_at_tail=True), metadata=DPO)
    await export.rest()
    end = await audited.line("exports", event="end")
    begin = await audited.line("exports", event="begin")
    assert (end["export"], end["events"], end["outcome"]) == (True, 5, "OK")
    assert "events" not in begin
    assert begin["request_id"] == end["request_id"]


async def test_a_follower_that_goes_away_has_an_end(audited: Audited) -> None:
    await record(audited, 2)
    follower = RawSubscription(audited.events, subscribing(), metadata=DPO)
    while not (await follower.read()).HasField("batch"):
        pass
    follower.call.cancel()
    end = await audited.line("exports", event="end")
    assert (end["events"], end["outcome"], "export" in end) == (2, "CANCELLED", False)


async def test_changes_have_lines_and_what_is_sent_has_none(audited: Audited) -> None:
    await record(audited)
    await audited.ingest.RecordEvent(one(customer_event("alone")), metadata=PRODUCER)
    put = v1.PutEntitiesRequest(
        account_id=ACCOUNT, kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, names=["gold"]
    )
    await audited.entities.PutEntities(put, metadata=DPO)
    await audited.operations.ReleaseExpiry(v1.ReleaseExpiryRequest(), metadata=DPO)
    await audited.line("changes", method="engagement.v1.EntityService/PutEntities", outcome="OK")
    release = await audited.line("changes", method="engagement.v1.ServerService/ReleaseExpiry")
    assert (release["principal"], release.get("account")) == ("dpo", None)
    assert "RecordEvent" not in audited.files.text


async def test_a_read_that_fails_says_so(audited: Audited) -> None:
    get = v1.GetEventRequest(account_id=ACCOUNT, event_id="nothing")
    for _ in range(5):
        await expect_refused(audited.events.GetEvent(get, metadata=DPO))
    await eventually(
        lambda: sum(each.get("count", 1) for each in audited.files.lines("reads", event="failed")) == 5,
        "all failures are counted",
    )
    first = audited.files.lines("reads")[0]
    assert (first["outcome"], first["events"]) == ("EVENT_NOT_FOUND", 0)


async def test_denials_are_by_principal_or_by_address(audited: Audited) -> None:
    get = v1.GetEventRequest(account_id=ACCOUNT, event_id="event")
    await expect_refused(audited.events.GetEvent(get, metadata=PRODUCER))
    await expect_refused(audited.events.GetEvent(get, metadata=calling_as("stranger")))
    mismatch = (*calling_as("dpo", account_id="other"),)
    await expect_refused(audited.events.GetEvent(get, metadata=mismatch))
    words = v1.ListEventsRequest(account_id=ACCOUNT, filter=v1.EventFilter(text="words"))
    await expect_refused(audited.events.ListEvents(words, metadata=READER))
    line = await audited.line("denials", principal="producer")
    assert (line["outcome"], line["account"], "address" in line) == ("SCOPE_MISSING", ACCOUNT, False)
    line = await audited.line("denials", address="loopback")
    assert (line["outcome"], "account" in line, "principal" in line) == ("TOKEN_INVALID", False, False)
    line = await audited.line("denials", principal="dpo")
    assert (line["outcome"], line["account"]) == ("ACCOUNT_MISMATCH", "other")
    line = await audited.line("denials", principal="reader")
    assert line["method"] == "engagement.v1.EventService/ListEvents"
    assert audited.files.lines("masked-reads") == audited.files.lines("reads") == []


async def test_equal_denials_are_summed(audited: Audited) -> None:
    get = v1.GetEventRequest(account_id=ACCOUNT, event_id="event")
    for _ in range(200):
        await expect_refused(audited.events.GetEvent(get, metadata=calling_as("stranger")))
    await eventually(
        lambda: sum(each.get("count", 1) for each in audited.files.lines("denials")) == 200,
        "all denials are counted",
    )
    assert len(audited.files.lines("denials")) < 100


async def test_an_account_that_cannot_be_is_not_repeated(audited: Audited) -> None:
    name = "ada@example.com\n{}"
    request = v1.GetProfileRequest(account_id=name, consumer_id="ada")
    metadata = (("authorization", "Bearer dpo"), ("engagement-account", "ada@example.com"))
    await expect_refused(audited.events.GetProfile(request, metadata=metadata))
    await expect_refused(audited.events.GetProfile(request, metadata=metadata[:1]))
    await audited.line("denials", outcome="ACCOUNT_MISMATCH")
    assert "example.com" not in audited.files.text
