"""GetServerStats says what a node does now, and did in the last minutes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engagement import EngagementClient, v1
from engagement.errors import EngagementError
from engagement_server.config import Config
from engagement_server.node import Server
from engagement_server.stats import server_stats
from tests.support.events import bad_event, customer_event, customer_events, personal_event
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload
from tests.support.rude_clients import StartServer
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

DAY = timedelta(days=1)
LARGE_CHARACTERS = 40_000
Stats = v1.GetServerStatsResponse


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples come soon."""
    monkeypatch.setattr(server_stats, "SAMPLE_SECONDS", 0.05)


async def until(server: Server, condition: Callable[[Stats], bool], what: str) -> Stats:
    """The first stats for which the condition holds."""
    await eventually(lambda: condition(server.stats), what)
    return server.stats


async def reject(client: EngagementClient, event: v1.Event) -> None:
    with pytest.raises(EngagementError):
        await client.record_event(event)


# What happened.


async def test_the_answer_comes_at_once_and_is_that_of_the_last_sample(
    server: Server, client: EngagementClient
) -> None:
    first = await client.get_server_stats()
    assert first.version == server.stats.version
    assert first.start_time.ToDatetime(UTC) <= first.sample_time.ToDatetime(UTC) <= datetime.now(UTC)
    assert [check.name for check in first.checks][:2] == ["server", "log of partition 0"]
    assert not [check.problem for check in first.checks if check.problem]
    assert {file.kind for file in first.files} == {"database", "wal", "reserve"}
    assert first.HasField("disk_free_bytes")
    assert 0 < first.memory_bytes < first.memory_limit_bytes
    (partition,) = first.partitions
    assert (partition.current, partition.stored_events, partition.damage) == (True, 0, "")
    assert not partition.HasField("oldest_receive_time")
    assert list(first.nodes) == []


async def test_without_traffic_samples_have_no_calls_and_no_times(server: Server) -> None:
    stats = await until(server, lambda each: len(each.samples) > 4, "samples are taken")
    for sample in stats.samples:
        assert (sample.calls, sample.failed_calls, sample.accepted_events) == (0, 0, 0)
        assert not sample.HasField("median_call_time")
        assert not sample.HasField("p99_call_time")
        assert sample.memory_bytes > 0
        assert sample.duration.ToTimedelta() > timedelta()
    ends = [sample.end_time.ToNanoseconds() for sample in stats.samples]
    assert ends == sorted(ends)
    assert stats.sample_time == stats.samples[-1].end_time


async def test_samples_add_up_to_what_was_recorded(server: Server, client: EngagementClient) -> None:
    await client.record_events(customer_events(20))
    await client.record_events(customer_events(5))
    await client.erase_consumer(consumer_id="gone", request_id="r", suppress=True)
    suppressed = personal_event("suppressed")
    suppressed.consumer_id = "gone"
    await client.record_event(suppressed)
    await reject(client, bad_event())

    def add_up(stats: Stats) -> bool:
        counted = [
            (
                *(each.accepted_events, each.duplicate_events, each.suppressed_events, each.rejected_events),
                *(each.calls, each.failed_calls),
            )
            for each in stats.samples
        ]
        return [sum(column) for column in zip(*counted, strict=True)] == [20, 5, 1, 1, 5, 1]

    # A call ends after its events are committed, so a sample may have these alone.
    stats = await until(server, add_up, "all events and calls are in the samples")
    assert sum(sample.commits for sample in stats.samples) >= 4
    for sample in stats.samples:
        assert sample.HasField("p99_call_time") == sample.HasField("median_call_time") == bool(sample.calls)
        assert sample.HasField("p99_commit_time") == bool(sample.commits)
        assert sample.median_call_time.ToNanoseconds() <= sample.p99_call_time.ToNanoseconds()
    assert [(each.reason, each.calls) for each in stats.failed_calls] == [("FIELD_INVALID", 1)]


# What was rejected.


async def test_a_bad_producer_is_told_with_rule_field_and_shape(
    server: Server, client: EngagementClient
) -> None:
    before = datetime.now(UTC)
    for number in range(3):
        event = bad_event(f"{number}")
        event.source = "<script>alert(1)</script>"
        await reject(client, event)
    stats = await until(server, lambda each: each.rejected_events == 3, "the producer is told")
    (rule,) = stats.rejected_rules
    assert (rule.account_id, rule.source, rule.other) == ("acme", "<script>alert(1)</script>", False)
    assert (rule.field, rule.rule) == ("customer_info.last_payment_date.month", "int32.gte_lte")
    assert (rule.reason, rule.events) == (v1.ErrorReason.ERROR_REASON_FIELD_INVALID, 3)
    assert (rule.value_shape, "less than or equal to 12" in rule.description) == ("99", True)
    assert before - timedelta(seconds=1) <= rule.last_reject_time.ToDatetime(UTC) <= datetime.now(UTC)
    assert not stats.rejected_rules_incomplete


async def test_no_value_of_a_person_is_told(server: Server, client: EngagementClient) -> None:
    event = personal_event("e")
    event.consumer_id = "Secretive" * 1_000
    event.personal_info.name = "Secretive" * 10_000
    await reject(client, event)
    stats = await until(server, lambda each: each.rejected_events == 1, "the event is told")
    assert {rule.field for rule in stats.rejected_rules} >= {"personal_info.name"}
    assert "secretive" not in str(stats).lower()
    assert {rule.value_shape for rule in stats.rejected_rules} == {""}


# Streams.


async def test_open_streams_are_told_until_they_end(
    server: Server, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    before = datetime.now(UTC)
    follower = RawSubscription(events, subscribing())
    await follower.read_until("caught_up")
    upload = RawUpload(ingest)
    await upload.open()
    stats = await until(
        server, lambda each: (each.open_subscriptions, each.open_uploads) == (1, 1), "both streams are open"
    )
    (subscription,) = stats.subscriptions
    assert (subscription.account_id, subscription.lag_events) == ("acme", 0)
    assert subscription.lag.ToTimedelta() == timedelta()
    started = subscription.start_time.ToDatetime(UTC)
    assert before - timedelta(seconds=1) <= started <= datetime.now(UTC)
    follower.call.cancel()
    upload.call.cancel()
    stats = await until(
        server, lambda each: (each.open_subscriptions, each.open_uploads) == (0, 0), "both streams are gone"
    )
    assert not stats.subscriptions
    assert sum(sample.failed_calls for sample in stats.samples) == 0


async def test_a_subscriber_that_does_not_read_is_the_slowest(
    server: Server, client: EngagementClient, events: EventServiceAsyncStub
) -> None:
    reading = RawSubscription(events, subscribing(account_id="other"))
    await reading.read_until("caught_up")
    stopped = events.SubscribeEvents(subscribing(max_batch_events=1))
    await stopped.wait_for_connection()
    recorded = 0

    def is_behind(stats: Stats) -> bool:
        return [each.account_id for each in stats.subscriptions if each.lag_events > 10] == ["acme"]

    async def fall_behind() -> bool:
        """Records events until the transport holds no more of them."""
        nonlocal recorded
        if is_behind(server.stats):
            return True
        large = customer_events(20, start=recorded)
        for event in large:
            event.additional_attributes["text"] = "x" * LARGE_CHARACTERS
        await client.record_events(large)
        recorded += len(large)
        return False

    await eventually(fall_behind, "the subscriber is behind")
    stats = server.stats
    slowest, other = stats.subscriptions
    assert (slowest.account_id, other.account_id) == ("acme", "other")
    assert slowest.lag_events <= recorded
    assert slowest.lag.ToTimedelta() > timedelta()
    assert other.lag_events == 0
    assert stats.samples[-1].max_lag_events == slowest.lag_events
    stopped.cancel()
    reading.call.cancel()


# The store.


async def test_the_store_is_told_with_its_oldest_event(server: Server, client: EngagementClient) -> None:
    before = datetime.now(UTC)
    await client.record_events(customer_events(7))
    async with EngagementClient(server.address, account_id="other") as other:
        await other.record_event(customer_event("later"))
    stats = await until(server, lambda each: each.partitions[0].stored_events == 8, "all are counted")
    (partition,) = stats.partitions
    first = [stored async for stored in client.list_events()][-1]
    assert partition.oldest_receive_time.ToMilliseconds() == first.receive_time.ToMilliseconds()
    retention = (await client.get_server_info()).limits.retention.ToTimedelta()
    due = partition.next_expiry_time.ToDatetime(UTC) - partition.oldest_receive_time.ToDatetime(UTC)
    assert due == retention
    assert partition.oldest_receive_time.ToDatetime(UTC) >= before - timedelta(seconds=1)
    assert not partition.HasField("expiry_hold")
    assert partition.view_age.ToTimedelta() < DAY
    assert (partition.pending_erasures, partition.log_lag_messages) == (0, 0)


async def test_expiry_moves_the_oldest_event(start: StartServer) -> None:
    server = await start(allow_short_retention=True)
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_events(customer_events(7))
        await until(server, lambda each: each.partitions[0].stored_events == 7, "all are counted")
        await client.set_retention(timedelta(seconds=1))
        stats = await until(server, lambda each: each.partitions[0].expired_events == 7, "all have expired")
        (partition,) = stats.partitions
        assert partition.stored_events == 0
        assert not partition.HasField("oldest_receive_time")
        assert not partition.HasField("next_expiry_time")
        await client.set_retention(DAY)
        await client.record_event(customer_event("kept"))
        stats = await until(server, lambda each: each.partitions[0].stored_events == 1, "one is kept")
        (partition,) = stats.partitions
        assert partition.next_expiry_time.seconds == partition.oldest_receive_time.seconds + DAY.days * 86_400


async def test_a_restart_begins_anew_with_the_same_store(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_events(customer_events(7))
        await reject(client, bad_event())
        first = await until(server, lambda each: each.rejected_events == 1, "the rejected event is told")
    await server.stop()
    server = await Server.start(config)
    again = server.stats
    assert again.start_time.ToNanoseconds() > first.start_time.ToNanoseconds()
    assert (again.rejected_events, list(again.failed_calls)) == (0, [])
    assert again.partitions[0].stored_events == 7
    stats = await until(server, lambda each: bool(each.samples), "a sample is taken")
    assert sum(sample.accepted_events for sample in stats.samples) == 0
    await server.stop()
