"""Uploads over one connection, and uploads that a later run resumes, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import (
    EngagementClient,
    InvalidArgumentError,
    NotFoundError,
    Progress,
    RejectedEvent,
    SourceMismatchError,
    TakenOverError,
    Uploader,
    v1,
)
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.event_samples import bad_event, good_event, good_events, mixed_events, stored_ids
from tests.support.waiting import deadline, eventually


def ids(events: list[v1.Event]) -> list[str]:
    return [event.event_id for event in events]


async def endless(first: v1.Event) -> AsyncIterator[v1.Event]:
    """A source that gives one event and then waits for ever."""
    yield first
    await asyncio.Event().wait()


async def wait_until_expired(client: EngagementClient, upload_id: str) -> None:
    async with deadline("the upload has expired"):
        with suppress(NotFoundError):
            while True:
                await client.get_upload(upload_id)


async def wait_until_stored(client: EngagementClient, event_id: str) -> None:
    async def is_stored() -> bool:
        try:
            await client.get_event(event_id=event_id)
        except NotFoundError:
            return False
        return True

    await eventually(is_stored, f"{event_id} is stored")


async def test_an_upload_stores_every_event_in_order(client: EngagementClient) -> None:
    events = good_events(1234)
    uploader = Uploader(client)
    summary = await uploader.upload(events)
    assert summary.upload_id == uploader.upload_id
    assert summary.tally == v1.Tally(accepted=1234)
    assert (summary.events, summary.reconnects, summary.skipped_events) == (1234, 0, 0)
    assert await stored_ids(client) == ids(events)
    upload = await client.get_upload(uploader.upload_id)
    assert (upload.state, upload.committed_through) == (v1.Upload.STATE_FINISHED, 3)


async def test_the_caller_may_want_smaller_chunks(client: EngagementClient) -> None:
    uploader = Uploader(client, chunk_events=7)
    await uploader.upload(good_events(100))
    assert (await client.get_upload(uploader.upload_id)).committed_through == 15


async def test_an_asynchronous_source_is_uploaded_alike(client: EngagementClient) -> None:
    async def source() -> AsyncIterator[v1.Event]:
        for number in range(700):
            yield good_event(number)

    summary = await Uploader(client).upload(source())
    assert summary.tally == v1.Tally(accepted=700)


async def test_an_upload_without_events_is_finished(client: EngagementClient) -> None:
    summary = await Uploader(client).upload([])
    assert (summary.events, summary.tally) == (0, v1.Tally())


async def test_events_larger_than_a_chunk_together_go_in_several(client: EngagementClient) -> None:
    text = "x" * 50_000
    events = [
        v1.Event(
            event_id=f"large-{number:03d}",
            customer_info=v1.CustomerInfo(balance=text),
            additional_attributes={f"part-{part}": text for part in range(9)},
        )
        for number in range(40)
    ]
    uploader = Uploader(client)
    summary = await uploader.upload(events)
    assert summary.tally == v1.Tally(accepted=40)
    assert (await client.get_upload(uploader.upload_id)).committed_through == 3


async def test_progress_grows_to_the_whole_upload(client: EngagementClient) -> None:
    seen: list[Progress] = []
    await Uploader(client, chunk_events=10, on_progress=seen.append).upload(good_events(200))
    acknowledged = [progress.acknowledged for progress in seen]
    assert acknowledged == sorted(acknowledged)
    assert all(progress.acknowledged <= progress.sent for progress in seen)
    assert (seen[-1].sent, seen[-1].acknowledged) == (200, 200)
    assert seen[-1].tally == v1.Tally(accepted=200)


async def test_every_rejection_is_told_once_with_its_place_and_its_event(client: EngagementClient) -> None:
    rejected: list[RejectedEvent] = []
    summary = await Uploader(client, chunk_events=20, on_rejection=rejected.append).upload(
        mixed_events(200, bad_every=30)
    )
    assert [item.position for item in rejected] == list(range(0, 200, 30))
    assert [item.event for item in rejected] == [bad_event(number) for number in range(0, 200, 30)]
    assert rejected[0].error.violations[0].field == "customer_info.last_payment_date.month"
    assert summary.tally == v1.Tally(accepted=193, rejected=7)


async def test_a_conflicting_event_is_rejected_and_a_repeated_one_is_a_duplicate(
    client: EngagementClient,
) -> None:
    rejected: list[RejectedEvent] = []
    summary = await Uploader(client, on_rejection=rejected.append).upload(
        [good_event(1), good_event(1), good_event(1, balance="7")]
    )
    assert summary.tally == v1.Tally(accepted=1, duplicate=1, rejected=1)
    assert [item.position for item in rejected] == [2]
    assert rejected[0].error.reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT


async def test_an_event_that_no_message_can_carry_is_rejected_and_the_others_are_stored(
    client: EngagementClient,
) -> None:
    rejected: list[RejectedEvent] = []
    summary = await Uploader(client, on_rejection=rejected.append).upload(
        [good_event(0), good_event(1, balance="x" * 9_000_000), good_event(2)]
    )
    assert summary.tally == v1.Tally(accepted=2, rejected=1)
    assert summary.events == 3
    assert [(item.position, item.event.event_id) for item in rejected] == [(1, "event-000001")]
    assert await stored_ids(client) == ["event-000000", "event-000002"]


async def test_a_large_event_that_one_message_carries_is_the_servers_to_reject(
    client: EngagementClient,
) -> None:
    rejected: list[RejectedEvent] = []
    text = "x" * 50_000
    too_large = good_event(0)
    too_large.additional_attributes.update({f"part-{part}": text for part in range(100)})
    summary = await Uploader(client, on_rejection=rejected.append).upload([too_large, good_event(1)])
    assert summary.tally == v1.Tally(accepted=1, rejected=1)
    assert rejected[0].error.violations[0].rule == "server.event.max_bytes"


async def test_events_of_a_source_without_end_are_stored_while_it_waits(client: EngagementClient) -> None:
    upload = asyncio.create_task(Uploader(client).upload(endless(good_event(1))))
    await wait_until_stored(client, "event-000001")
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload


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


async def test_what_a_failing_source_gave_is_stored_before_its_error_comes_out(
    client: EngagementClient,
) -> None:
    def failing() -> Iterator[v1.Event]:
        yield from good_events(1005)
        raise LookupError("the file is broken")

    with pytest.raises(LookupError, match="the file is broken"):
        await Uploader(client, upload_id="u-1").upload(failing())
    assert await stored_ids(client) == ids(good_events(1005))
    assert (await client.get_upload("u-1")).state == v1.Upload.STATE_OPEN
    summary = await Uploader(client, upload_id="u-1").upload(good_events(2000))
    assert (summary.skipped_events, summary.tally) == (1005, v1.Tally(accepted=2000))


async def test_what_a_callback_raises_ends_the_upload(client: EngagementClient) -> None:
    def complain(rejected: RejectedEvent) -> None:
        raise LookupError(rejected.event.event_id)

    with pytest.raises(LookupError, match="event-000000"):
        await Uploader(client, on_rejection=complain).upload(mixed_events(10, bad_every=5))


async def test_the_newer_of_two_uploaders_goes_on_and_the_older_ends(client: EngagementClient) -> None:
    first = asyncio.create_task(Uploader(client, upload_id="u-1").upload(endless(good_event(0))))
    await wait_until_stored(client, "event-000000")
    summary = await Uploader(client, upload_id="u-1").upload(good_events(10))
    with pytest.raises(TakenOverError) as caught:
        await first
    assert caught.value.reason == "UPLOAD_TAKEN_OVER"
    assert summary.tally == v1.Tally(accepted=10)


async def test_an_upload_that_the_server_refuses_raises_at_once(server: Server) -> None:
    async with EngagementClient(server.address, account_id="no/account") as stranger:
        with pytest.raises(InvalidArgumentError) as caught:
            await Uploader(stranger).upload(good_events(1))
    assert caught.value.violations[0].field == "open.account_id"


async def test_uploads_over_one_client_do_not_disturb_each_other(client: EngagementClient) -> None:
    summaries = await asyncio.gather(
        *(
            Uploader(client, chunk_events=10).upload(
                good_event(number) for number in range(start, start + 300)
            )
            for start in (0, 1000, 2000)
        )
    )
    assert [summary.tally for summary in summaries] == [v1.Tally(accepted=300)] * 3
    assert len(await stored_ids(client)) == 900
