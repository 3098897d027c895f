"""Events and uploads beyond the retention are removed in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engagement import EngagementClient, NotFoundError, PreconditionError, Uploader, v1
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.events import customer_event, customer_events
from tests.support.waiting import eventually

DAY_SECONDS = 24 * 3600
RETENTION_SECONDS = 0.001


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(listen="127.0.0.1:0", data=tmp_path / "data")


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
    server = await Server.start(replace(config, retention_days=RETENTION_SECONDS / DAY_SECONDS))
    async with EngagementClient(server.address, account_id="acme") as connected:
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
    server = await Server.start(replace(config, retention_days=RETENTION_SECONDS / DAY_SECONDS))
    async with (
        EngagementClient(server.address, account_id="acme") as client,
    ):
        await wait_until_expired(client)
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
    retention = (await client.get_server_info()).limits.retention
    assert retention.ToTimedelta() == timedelta(seconds=RETENTION_SECONDS)
