"""A node whose view is held up answers late rather than wrong, and catches up with its work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import pytest

from engagement import EngagementClient, v1
from tests.support.agreement import agreed, clients, listed
from tests.support.events import customer_event, customer_events
from tests.support.marked_events import SUBJECT, files_with, marked_events
from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster
from tests.support.view_rows import held_view
from tests.support.waiting import deadline, eventually

_ACCOUNT = "acme"
_MARKER = "zqmark"
_PATIENCE_SECONDS = 0.3


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "nats", size=1) as running:
        yield running


@pytest.fixture
def servers(tmp_path: Path, nats: NatsCluster) -> Iterator[ServerCluster]:
    """Two nodes; the second one is held up."""
    with ServerCluster(tmp_path / "nodes", nats, size=2) as running:
        yield running


@asynccontextmanager
async def _following(client: EngagementClient) -> AsyncIterator[list[str]]:
    """The ids of the events that the follower receives."""
    seen: list[str] = []
    caught_up = asyncio.Event()

    async def follow() -> None:
        async with client.follow(earliest=True) as follower:
            async for stored in follower:
                seen.append(stored.event.event_id)
                caught_up.set()

    task = asyncio.create_task(follow())
    async with deadline("the follower caught up"):
        await caught_up.wait()
    yield seen
    task.cancel()


async def test_a_node_that_is_behind_waits_for_what_a_token_or_a_cursor_was_made_of(
    servers: ServerCluster,
) -> None:
    behind = servers.nodes[1]
    request = v1.ListEventsRequest(account_id=_ACCOUNT, page_size=30)
    async with (
        clients(*servers.addresses, account_id=_ACCOUNT) as (first, second),
        grpc.aio.insecure_channel(servers.addresses[0]) as channel,
        grpc.aio.insecure_channel(behind.address) as late_channel,
    ):
        await first.record_events(customer_events(20))
        await agreed(servers.addresses, account_id=_ACCOUNT)
        with held_view(behind.data_dir, "BEGIN IMMEDIATE"):
            results = (await first.record_events(customer_events(20, start=20))).results
            page = await v1.EventServiceStub(channel).ListEvents(request)
            request.page_token = page.next_page_token

            async def rest() -> list[str]:
                async with second.follow(after_cursor=results[9].cursor, stop_at_tail=True) as follower:
                    return [stored.cursor async for stored in follower]

            async def next_page() -> list[str]:
                response = await v1.EventServiceStub(late_channel).ListEvents(request)
                return [stored.cursor for stored in response.events]

            async def last() -> list[str]:
                return [(await second.get_event(cursor=results[-1].cursor)).cursor]

            calls = [asyncio.create_task(call()) for call in (rest, next_page, last)]
            done, _ = await asyncio.wait(calls, timeout=_PATIENCE_SECONDS)
            assert not done
        cursors = [result.cursor for result in results]
        assert await asyncio.gather(*calls) == [cursors[10:], cursors[10:], cursors[-1:]]


async def test_waiting_calls_hear_of_a_commit_that_is_applied_while_the_connection_ends(
    nats: NatsCluster, servers: ServerCluster
) -> None:
    async with clients(*servers.addresses, account_id=_ACCOUNT) as (first, second):
        await first.record_event(customer_event("before"))
        async with _following(second) as seen:
            with held_view(servers.nodes[1].data_dir, "BEGIN IMMEDIATE"):
                writing = asyncio.create_task(second.record_event(customer_event("held up")))

                async def is_committed() -> bool:
                    return len(await listed(first)) == 2

                await eventually(is_committed, "the other node commits the event")
                nats.nodes[0].kill()
            nats.nodes[0].restart()
            assert (await writing).outcome == v1.Outcome.OUTCOME_ACCEPTED

            async def has_come() -> bool:
                return seen == ["before", "held up"]

            await eventually(has_come, "the follower hears of the event")


async def test_a_node_that_was_killed_before_its_files_were_purged_purges_them_later(
    servers: ServerCluster,
) -> None:
    victim = servers.nodes[1]
    async with EngagementClient(servers.addresses[0], account_id=_ACCOUNT) as client:
        await client.record_events(marked_events(40, consumer_id=SUBJECT, marker=_MARKER))
        await agreed(servers.addresses, account_id=_ACCOUNT)
        with held_view(victim.data_dir, "BEGIN"):
            await client.erase_consumer(consumer_id=SUBJECT)
            assert await agreed(servers.addresses, account_id=_ACCOUNT) == []
            assert files_with(victim.data_dir, _MARKER)
            victim.kill()
    await asyncio.to_thread(servers.restart, 1)

    async def is_purged() -> bool:
        return not files_with(victim.data_dir, _MARKER) and not _purges(victim.data_dir)

    await eventually(is_purged, "the files are purged")


def _purges(data_dir: Path) -> list[tuple[str]]:
    """The purges that a view still owes."""
    with closing(sqlite3.connect(f"file:{data_dir / 'engagement.db'}?mode=ro", uri=True)) as reader:
        return reader.execute("SELECT value FROM settings WHERE name = 'purge'").fetchall()
