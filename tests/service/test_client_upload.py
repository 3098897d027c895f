"""Uploads over one connection, and uploads that a later run resumes, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from engagement import (
    EngagementClient,
    InvalidArgumentError,
    PreconditionError,
    Progress,
    RejectedEvent,
    SourceMismatchError,
    TakenOverError,
    Uploader,
    v1,
)
from engagement_server.node import Server
from tests.support.endless_source import endless, wait_until_stored
from tests.support.event_samples import bad_event, good_event, good_events, mixed_events, stored_ids


def ids(events: list[v1.Event]) -> list[str]:
    return [event.event_id for event in events]


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
    assert (await client.get_upload(uploader.upload_id)).committed_through == 40


async def test_an_event_larger_than_a_chunk_is_stored(client: EngagementClient) -> None:
    text = "x" * 50_000
    large = v1.Event(
        customer_info=v1.CustomerInfo(), additional_attributes={f"part-{part}": text for part in range(60)}
    )
    summary = await Uploader(client).upload([*good_events(2), large, *good_events(2)])
    assert summary.tally.accepted + summary.tally.duplicate == 5


async def test_an_upload_that_is_wholly_wrong_ends_and_reports_what_it_has_sent(
    client: EngagementClient,
) -> None:
    rejections: list[RejectedEvent] = []
    wrong = [bad_event(number) for number in range(20_000)]
    uploader = Uploader(client, on_rejection=rejections.append)
    with pytest.raises(PreconditionError, match="keep_going") as failed:
        await uploader.upload(wrong)
    assert failed.value.reason == "UPLOAD_ALL_REJECTED"
    assert str(len(rejections)) == failed.value.metadata["rejected"]
    assert 1000 <= len(rejections) < len(wrong)
    assert [rejected.position for rejected in rejections] == list(range(len(rejections)))
    with pytest.raises(PreconditionError):
        await Uploader(client, upload_id=uploader.upload_id).upload(wrong)
    with pytest.raises(SourceMismatchError, match="an upload id of its own"):
        await Uploader(client, upload_id=uploader.upload_id).upload(good_events(20_000))
    resumed = Uploader(client, upload_id=uploader.upload_id, keep_going=True)
    assert (await resumed.upload(wrong)).tally == v1.Tally(rejected=len(wrong))


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


async def test_an_event_of_very_many_items_is_rejected_and_the_others_are_stored(
    client: EngagementClient,
) -> None:
    events = good_events(30)
    contacts = [v1.PersonalContact(email="a@example.org")] * 150_000
    events[10] = v1.Event(event_id="monstrous", personal_info=v1.PersonalInfo(other_contacts=contacts))
    rejected: list[RejectedEvent] = []
    summary = await Uploader(client, on_rejection=rejected.append).upload(events)
    assert summary.tally == v1.Tally(accepted=29, rejected=1)
    assert [(each.position, each.event.event_id) for each in rejected] == [(10, "monstrous")]
    (violation,) = rejected[0].error.violations
    assert (violation.field, violation.rule) == ("personal_info.other_contacts", "repeated.max_items")


async def test_events_of_a_source_without_end_are_stored_while_it_waits(client: EngagementClient) -> None:
    upload = asyncio.create_task(Uploader(client).upload(endless(good_event(1))))
    await wait_until_stored(client, "event-000001")
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload


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
