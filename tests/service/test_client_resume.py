"""Uploads that a later run finds begun or finished, with the same source or another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import (
    EngagementClient,
    NotFoundError,
    Progress,
    RejectedEvent,
    SourceMismatchError,
    Uploader,
    v1,
)
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.endless_source import endless, wait_until_stored
from tests.support.event_samples import good_event, good_events, mixed_events, stored_ids
from tests.support.waiting import deadline


def ids(events: list[v1.Event]) -> list[str]:
    return [event.event_id for event in events]


async def wait_until_expired(client: EngagementClient, upload_id: str) -> None:
    async with deadline("the upload has expired"):
        with suppress(NotFoundError):
            while True:
                await client.get_upload(upload_id)


async def test_a_finished_upload_gives_its_summary_for_the_same_source(
    client: EngagementClient,
) -> None:
    first = await Uploader(client, upload_id="u-1").upload(good_events(20))
    second = await Uploader(client, upload_id="u-1").upload(good_events(20))
    assert (second.tally, second.events, second.skipped_events) == (first.tally, 20, 20)


@pytest.mark.parametrize(
    ("source", "difference"),
    [
        (lambda: good_events(19), "ends after 19 events"),
        (lambda: good_events(21), "has more events"),
        (list, "ends after 0 events"),
        (lambda: good_events(20)[::-1], "differs between events 0 and"),
    ],
)
async def test_a_finished_upload_refuses_another_source(
    client: EngagementClient, source: Callable[[], list[v1.Event]], difference: str
) -> None:
    await Uploader(client, upload_id="u-1").upload(good_events(20))
    with pytest.raises(SourceMismatchError, match=difference):
        await Uploader(client, upload_id="u-1").upload(source())
    assert len([stored async for stored in client.list_events()]) == 20


async def test_a_resumed_upload_refuses_another_source_and_says_where_it_differs(
    client: EngagementClient,
) -> None:
    def broken() -> Iterator[v1.Event]:
        yield from good_events(20)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await Uploader(client, upload_id="u-1", chunk_events=5).upload(broken())
    changed = good_events(40)
    changed[12].customer_info.balance = "changed"
    with pytest.raises(SourceMismatchError, match=r"differs between events 10 and 15"):
        await Uploader(client, upload_id="u-1").upload(changed)
    with pytest.raises(SourceMismatchError):
        await Uploader(client, upload_id="u-1").upload(good_events(40)[::-1])
    assert (await client.get_upload("u-1")).committed_through == 4
    summary = await Uploader(client, upload_id="u-1").upload(good_events(40))
    assert (summary.tally, summary.skipped_events) == (v1.Tally(accepted=40), 20)


async def test_events_without_ids_are_stored_once_even_after_the_upload_has_expired(tmp_path: Path) -> None:
    def nameless() -> list[v1.Event]:
        return [
            v1.Event(consumer_id="c", customer_info=v1.CustomerInfo(balance=str(n % 7))) for n in range(50)
        ]

    def broken() -> Iterator[v1.Event]:
        yield from nameless()[:20]
        raise ConnectionError

    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    server = await Server.start(config)
    async with EngagementClient(server.address, account_id="acme") as client:
        with pytest.raises(ConnectionError):
            await Uploader(client, upload_id="u-1", chunk_events=15).upload(broken())
    await server.stop()
    server = await Server.start(replace(config, upload_idle_hours=1e-9))
    async with EngagementClient(server.address, account_id="acme") as client:
        await wait_until_expired(client, "u-1")
        summary = await Uploader(client, upload_id="u-1", chunk_events=7).upload(nameless())
        assert summary.tally == v1.Tally(accepted=30, duplicate=20)
        assert len([stored async for stored in client.list_events()]) == 50
    await server.stop()


async def test_a_cancelled_upload_is_resumed_with_every_event_once(client: EngagementClient) -> None:
    events = mixed_events(3000, bad_every=100)
    under_way = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.acknowledged >= 300:
            under_way.set()

    async def stalling() -> AsyncIterator[v1.Event]:
        for number, event in enumerate(events):
            if number == 2005:
                await asyncio.Event().wait()
            yield event

    first = asyncio.create_task(
        Uploader(client, upload_id="u-1", chunk_events=10, on_progress=watch).upload(stalling())
    )
    await under_way.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    rejected: list[RejectedEvent] = []
    summary = await Uploader(client, upload_id="u-1", on_rejection=rejected.append).upload(events)
    assert summary.skipped_events >= 300
    assert summary.tally == v1.Tally(accepted=2970, rejected=30)
    assert [item.position for item in rejected] == [
        number for number in range(summary.skipped_events, 3000) if number % 100 == 0
    ]
    assert len([rejection async for rejection in client.upload_rejections("u-1")]) == 30
    assert await stored_ids(client) == [
        event.event_id for event in events if not event.customer_info.HasField("last_payment_date")
    ]


async def test_a_resumed_upload_does_not_depend_on_where_the_first_one_cut_its_chunks(
    client: EngagementClient,
) -> None:
    async def trickling() -> AsyncIterator[v1.Event]:
        for event in good_events(3):
            yield event
            await wait_until_stored(client, event.event_id)
        await asyncio.Event().wait()

    first = asyncio.create_task(Uploader(client, upload_id="u-1").upload(trickling()))
    await wait_until_stored(client, "event-000002")
    first.cancel()
    await asyncio.wait([first])

    summary = await Uploader(client, upload_id="u-1").upload(good_events(50))
    assert summary.skipped_events == 3
    assert summary.tally == v1.Tally(accepted=50)
    assert await stored_ids(client) == ids(good_events(50))


async def test_a_resumed_upload_counts_an_event_that_was_never_sent_in_its_place(
    client: EngagementClient,
) -> None:
    events = [good_event(0), good_event(1, balance="x" * 9_000_000), *(good_event(2 + n) for n in range(20))]

    def broken() -> Iterator[v1.Event]:
        yield from events[:10]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await Uploader(client, upload_id="u-1").upload(broken())
    summary = await Uploader(client, upload_id="u-1").upload(events)
    assert summary.skipped_events == 10
    assert summary.tally == v1.Tally(accepted=21, rejected=1)


async def test_a_source_that_is_too_short_for_its_upload_is_not_finished(client: EngagementClient) -> None:
    first = asyncio.create_task(Uploader(client, upload_id="u-1").upload(endless(good_event(1))))
    await wait_until_stored(client, "event-000001")
    first.cancel()
    await asyncio.wait([first])
    with pytest.raises(SourceMismatchError):
        await Uploader(client, upload_id="u-1").upload([])
    assert (await client.get_upload("u-1")).state == v1.Upload.STATE_OPEN
