"""Events and uploads beyond the retention are removed in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement import EngagementClient, InvalidArgumentError, NotFoundError, PreconditionError, Uploader, v1
from engagement_server.config import Config
from engagement_server.errors import ConfigurationError
from engagement_server.node import Server
from engagement_server.store.backup import back_up
from tests.support.events import customer_event, customer_events
from tests.support.waiting import eventually

RETENTION = timedelta(seconds=1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(listen="127.0.0.1:0", data=tmp_path / "data", allow_short_retention=True)


@pytest.fixture
async def old_events(config: Config) -> list[v1.Event]:
    """Events that an earlier server stored."""
    server = await Server.start(config)
    events = customer_events(1200)
    async with EngagementClient(server.address, account_id="acme") as client:
        await Uploader(client, upload_id="old").upload(events)
    await server.stop()
    return events


@pytest.fixture
async def client(config: Config, old_events: list[v1.Event]) -> AsyncIterator[EngagementClient]:
    """A client of a server that keeps events for a moment only."""
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as connected:
        await connected.set_retention(RETENTION)
        yield connected
    await server.stop()


async def wait_until_expired(client: EngagementClient) -> None:
    async def is_empty() -> bool:
        return not [stored async for stored in client.list_events(page_size=1000)]

    await eventually(is_empty, "all events have expired")


async def test_old_events_and_uploads_go_and_their_ids_are_free_again(
    client: EngagementClient, old_events: list[v1.Event]
) -> None:
    await wait_until_expired(client)
    with pytest.raises(NotFoundError):
        await client.get_upload("old")
    with pytest.raises(NotFoundError):
        await client.get_event(event_id=old_events[0].event_id)
    assert [stored async for stored in client.list_events(v1.EventFilter(text="1199"))] == []
    result = await client.record_event(old_events[0])
    assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED


async def test_a_cursor_from_before_is_refused_with_the_earliest_good_one(
    config: Config, tmp_path: Path
) -> None:
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        results = (await client.record_events(customer_events(3))).results
    await server.stop()
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.set_retention(RETENTION)
        await wait_until_expired(client)
        await client.set_retention(timedelta(days=1))
        await client.record_event(customer_event("new"))
        with pytest.raises(NotFoundError):
            await client.get_event(cursor=results[0].cursor)
        with pytest.raises(PreconditionError) as caught:
            await anext(aiter(client.follow(after_cursor=results[0].cursor)))
        assert caught.value.reason == "CURSOR_EXPIRED"
        earliest = caught.value.metadata["earliestCursor"]
        followed = [stored async for stored in client.follow(after_cursor=earliest, stop_at_tail=True)]
    await server.stop()
    assert [stored.event.event_id for stored in followed] == ["new"]


async def test_ingest_goes_on_while_events_expire(client: EngagementClient) -> None:
    summary = await Uploader(client).upload(customer_events(2000, start=10_000))
    assert summary.tally == v1.Tally(accepted=2000)


async def test_the_retention_is_told(client: EngagementClient) -> None:
    info = await client.get_server_info()
    assert info.limits.retention.ToTimedelta() == RETENTION
    assert info.partitions[0].retention.ToTimedelta() == RETENTION
    now = datetime.now(UTC)
    assert now - timedelta(minutes=1) < info.partitions[0].remove_before_time.ToDatetime(UTC) <= now


async def test_how_many_events_expiry_has_removed_is_told(client: EngagementClient) -> None:
    await client.record_events(customer_events(3, start=20_000))

    async def removed() -> int:
        return (await client.get_server_info()).partitions[0].expired_events

    before = await removed()
    await client.record_events(customer_events(7, start=20_100))

    async def are_removed() -> bool:
        return await removed() >= before + 7

    await eventually(are_removed, "expiry has removed them")


async def test_a_server_that_does_not_allow_it_keeps_events_for_a_day_at_least(tmp_path: Path) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data"))
    async with EngagementClient(server.address, account_id="acme") as client:
        with pytest.raises(InvalidArgumentError, match="at least a day"):
            await client.set_retention(timedelta(hours=23))
        assert (await client.get_server_info()).limits.retention.ToTimedelta() == timedelta(days=396)
    await server.stop()


async def test_a_retention_is_for_one_value_at_each_start(config: Config) -> None:
    for days in (30.0, None, 30.0):
        server = await Server.start(replace(config, retention_days=days))
        await server.stop()
    with pytest.raises(ConfigurationError, match=r"for 30 days, and --retention-days asks for 12 hours"):
        await Server.start(replace(config, retention_days=0.5))
    server = await Server.start(config)  # the folder is free again
    await server.stop()


async def test_a_server_that_was_started_with_a_retention_goes_on_after_an_operator_has_changed_it(
    config: Config,
) -> None:
    server = await Server.start(replace(config, retention_days=30.0))
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_events(customer_events(3))
        await client.set_retention(RETENTION)
        await wait_until_expired(client)
    failing = asyncio.create_task(server.fail())
    await asyncio.wait([failing], timeout=0)
    assert not failing.done()
    failing.cancel()
    await server.stop()


async def test_health_names_expiry_apart_from_the_rest(config: Config) -> None:
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # Any: the stubs describe synchronous calls
        answer = await health.Check(health_pb2.HealthCheckRequest(service="expiry"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await server.stop()


async def test_a_small_copy_takes_the_place_of_the_store(config: Config, tmp_path: Path) -> None:
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        cursor = (await client.record_events(customer_events(3))).results[0].cursor
    await server.stop()
    store, copy = config.data / "engagement.db", tmp_path / "small.db"
    back_up(config.data, copy)
    copy.replace(store)
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        followed = [stored async for stored in client.follow(after_cursor=cursor, stop_at_tail=True)]
        found = [stored async for stored in client.list_events(v1.EventFilter(text="2"))]
        await client.record_event(customer_event("new"))
    await server.stop()
    assert [stored.event.event_id for stored in followed] == ["event-000001", "event-000002"]
    assert [stored.event.event_id for stored in found] == ["event-000002"]
