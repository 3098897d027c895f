"""No byte of erased events is left in any file of the store, and nothing else is missing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from engagement import EngagementClient, InvalidArgumentError, NotFoundError, Uploader, v1
from engagement_server.log.local import LocalLog
from engagement_server.node import Server
from tests.support.events import bad_event
from tests.support.marked_events import (
    BYSTANDER,
    SUBJECT,
    files_with,
    interleaved,
    marked_events,
    planted_event,
)

MARKER = "zqmark"
KEPT = "xkept"
TRACES = [MARKER, SUBJECT]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def shuffled_ids(events: list[v1.Event], *, seed: int) -> list[v1.Event]:
    """The events with random ids, so that pages of the id index are split everywhere."""
    generator = random.Random(seed)
    for event in events:
        event.event_id = f"{generator.getrandbits(64):016x}-{event.event_id}"
    return events


async def fill(
    client: EngagementClient, server: Server, *, count: int
) -> tuple[list[v1.Event], list[v1.Event]]:
    """Stores events of the subject among those of another consumer and of another account."""
    erased = shuffled_ids(marked_events(count, consumer_id=SUBJECT, marker=MARKER), seed=1)
    kept = shuffled_ids(marked_events(count, consumer_id=BYSTANDER, marker=KEPT), seed=2)
    async with EngagementClient(server.address, account_id="beta") as other:
        events = list(interleaved(erased, kept))
        for start in range(0, len(events), 400):
            part = events[start : start + 400]
            await client.record_events(part)
            await other.record_events([event for event in part if event.consumer_id == BYSTANDER])
    return erased, kept


async def assert_left(client: EngagementClient, events: list[v1.Event]) -> None:
    listed = [stored.event.event_id async for stored in client.list_events()]
    assert sorted(listed) == sorted(event.event_id for event in events)
    for event in random.Random(3).sample(events, 20):
        value = event.customer_info.role or event.personal_info.surname
        word = value.split()[0]
        found = [stored.event.event_id async for stored in client.list_events(v1.EventFilter(text=word))]
        assert found == [event.event_id]


@pytest.mark.parametrize("count", [60, 2000], ids=["few", "many"])
async def test_no_byte_of_an_erased_consumer_is_left_in_any_file(
    client: EngagementClient, server: Server, data_dir: Path, *, count: int
) -> None:
    erased, kept = await fill(client, server, count=count)
    conflicting = [v1.Event(event_id=event.event_id, consumer_id="x") for event in erased[:20]]
    for event in conflicting:
        event.customer_info.role = "other"
    broken = bad_event(erased[30].event_id)
    upload_id = "upload"
    await Uploader(client, upload_id=upload_id).upload([*erased[:50], *conflicting, broken, *kept[:50]])
    assert (await client.get_profile(consumer_id=SUBJECT)).consumer_id == SUBJECT
    assert files_with(data_dir, MARKER)
    erasure = await client.erase_consumer(consumer_id=SUBJECT)
    assert erasure.erased_events == len(erased)
    assert erasure.HasField("complete_time")
    assert [files_with(data_dir, trace) for trace in TRACES] == [{}, {}]
    with pytest.raises(NotFoundError):
        await client.get_profile(consumer_id=SUBJECT)
    await assert_left(client, kept)
    rejections = [rejection.result async for rejection in client.upload_rejections(upload_id)]
    assert [(result.event_id, len(result.error.violations)) for result in rejections] == [("", 0)] * 21
    # Later writes bring nothing back from a cache.
    await client.record_events(marked_events(300, consumer_id="later", marker="later"))
    assert [files_with(data_dir, trace) for trace in TRACES] == [{}, {}]


async def test_no_byte_is_left_while_an_upload_runs(
    client: EngagementClient, server: Server, data_dir: Path
) -> None:
    _, kept = await fill(client, server, count=1000)
    later = [marked_events(500, consumer_id="later", marker=f"later{number}x") for number in range(12)]

    async def upload() -> None:
        await Uploader(client).upload([event for part in later for event in part])

    uploading = asyncio.create_task(upload())
    erasure = await client.erase_consumer(consumer_id=SUBJECT)
    assert [files_with(data_dir, trace) for trace in TRACES] == [{}, {}]
    assert erasure.erased_events == 1000
    await uploading
    assert [files_with(data_dir, trace) for trace in TRACES] == [{}, {}]
    assert len([stored async for stored in client.list_events()]) == len(kept) + 6_000


async def test_uploading_erased_events_again_stores_nothing(
    client: EngagementClient, server: Server, data_dir: Path
) -> None:
    erased, kept = await fill(client, server, count=400)
    await client.erase_consumer(consumer_id=SUBJECT)
    summary = await Uploader(client).upload(erased)
    assert summary.tally == v1.Tally(duplicate=len(erased))
    assert [files_with(data_dir, trace) for trace in TRACES] == [{}, {}]
    assert len(kept) == 400


async def test_without_the_purge_bytes_are_left(
    client: EngagementClient, server: Server, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the search above would find them."""

    async def nothing(self: LocalLog) -> None:
        return

    monkeypatch.setattr(LocalLog, "purge", nothing)
    await fill(client, server, count=400)
    erasure = await client.erase_consumer(consumer_id=SUBJECT)
    assert erasure.erased_events == 400
    assert files_with(data_dir, MARKER)


async def test_no_byte_of_rejected_and_suppressed_events_is_left(
    client: EngagementClient, data_dir: Path
) -> None:
    await Uploader(client, upload_id="first").upload(
        [planted_event("a", MARKER), *marked_events(20, consumer_id=BYSTANDER, marker=KEPT)]
    )
    with pytest.raises(InvalidArgumentError):
        await client.record_event(planted_event("b", MARKER))
    await client.record_events([planted_event("c", MARKER), bad_event()], allow_partial=True)
    assert files_with(data_dir, f"{MARKER}-a")
    erasure = await client.erase_consumer(
        consumer_id=f"{MARKER}@example.com", customer_id=f"{MARKER}-customer", suppress=True
    )
    assert (erasure.erased_events, erasure.cleared_rejections) == (0, 1)
    assert files_with(data_dir, MARKER) == {}
    again = await Uploader(client, upload_id="second").upload(
        [planted_event("a", MARKER), planted_event("d", MARKER, consumer_id="x")]
    )
    assert again.tally == v1.Tally(suppressed=2)
    results = await client.record_events([planted_event("e", MARKER)], allow_partial=True)
    assert [result.outcome for result in results.results] == [v1.Outcome.OUTCOME_SUPPRESSED]
    assert files_with(data_dir, MARKER) == {}


async def test_keys_of_rejected_events_are_nowhere_before_any_erasure(
    client: EngagementClient, data_dir: Path
) -> None:
    event = planted_event("a", MARKER)
    del event.additional_attributes[f"{MARKER}@example.com"]
    event.additional_attributes["key of zqkey"] = "\0"
    rejected: list[v1.EventError] = []
    await Uploader(client, on_rejection=lambda each: rejected.append(each.error)).upload([event])
    assert any("zqkey" in violation.field for violation in rejected[0].violations)
    assert files_with(data_dir, "zqkey") == {}


async def test_a_request_that_finds_nothing_leaves_no_byte(client: EngagementClient, data_dir: Path) -> None:
    await client.record_events(marked_events(20, consumer_id=BYSTANDER, marker=KEPT))
    nothing = await client.erase_consumer(consumer_id=f"nobody {MARKER}", request_id=f"{MARKER}-ticket")
    assert nothing.erasure_id == ""
    assert files_with(data_dir, MARKER) == {}
