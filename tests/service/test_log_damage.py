"""A log that is damaged stops each node before the damage, and says where; foreign messages stop none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.errors import LogDamagedError
from engagement_server.log.nats import entries, marks
from engagement_server.metrics.catalogue import LOG_FOREIGN_MESSAGES
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    EraseEvents,
    ExpireEvents,
    OpenUpload,
    SetRetention,
)
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog
from tests.support.replicated_node import ReplicatedNode
from tests.support.view_rows import held_view
from tests.support.waiting import eventually

BOUNDARY = 8
DAY_MS = 86_400_000
TIME_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finds damage at once: no leader is elected here."""
    monkeypatch.setattr("engagement_server.log.nats.incoming._RETRY_SECONDS", 0.01)
    monkeypatch.setattr("engagement_server.log.nats.incoming._DELIVERY_SECONDS", 0.1)
    monkeypatch.setattr("engagement_server.log.nats.jetstream_log._DAMAGE_RETRY_SECONDS", 0.1)
    monkeypatch.setattr("engagement_server.store.log_digest.BOUNDARY_MESSAGES", BOUNDARY)
    monkeypatch.setattr("engagement_server.log.nats.jetstream_log.BOUNDARY_MESSAGES", BOUNDARY)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


async def damaged(node: ReplicatedNode) -> LogDamagedError:
    """Waits until a node refuses its partition; it does so for writes and whatever needs a current view."""
    await eventually(lambda: node.log.damage is not None, "the node refuses its partition")
    assert not node.log.is_current
    assert not node.log.failure.done()
    with pytest.raises(LogDamagedError):
        await node.record(customer_event("refused"))
    with pytest.raises(LogDamagedError):
        await node.log.catch_up()
    assert node.log.damage is not None
    return node.log.damage


def applied(node: ReplicatedNode) -> tuple[object, ...]:
    """How far a view is, and the digest of what it has applied."""
    (row,) = node.query("SELECT sequence, hex(digest) FROM log_position")
    return row


async def served(node: ReplicatedNode) -> None:
    """Waits until a node serves its partition again."""
    await eventually(lambda: node.log.damage is None and node.log.is_current, "the node serves its partition")


async def prepared(log: ReplicatedLog) -> tuple[ReplicatedNode, int]:
    """A log with events "0" to "4"; a node that has the first two, and the sequence of the third."""
    first = await log.open("first")
    await first.record(customer_event("0"))
    behind = await log.open("behind")
    await first.record(customer_event("1"))
    await behind.catch_up_with(first)
    await log.close("behind")
    for number in range(2, 5):
        await first.record(customer_event(f"{number}"))
    return first, first.log.position.sequence - 2


async def test_a_foreign_message_is_skipped_by_all_nodes(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    await first.record(customer_event("before"))
    await log.publish(b"not ours", {"Nats-Msg-Id": "somebody.1"})
    await log.publish(b"")
    await first.record(customer_event("after"))
    await log.assert_same(first, second)
    assert [event_id for _, event_id in await second.positions()] == ["before", "after"]
    fresh = await log.open("fresh")
    await log.assert_same(first, fresh)


async def test_foreign_messages_are_counted_and_the_first_one_is_logged(
    log: ReplicatedLog, caplog: pytest.LogCaptureFixture
) -> None:
    node = await log.open()

    def counted() -> float:
        return node.measures.count(LOG_FOREIGN_MESSAGES, log.settings.name).value

    await node.record(customer_event("before"))
    assert counted() == 0
    foreign = [await log.publish(b"not ours", {"Nats-Msg-Id": "somebody.1"}), await log.publish(b"")]
    await node.record(customer_event("after"))
    assert counted() == len(foreign)
    logged = [record.getMessage() for record in caplog.records if "not of this service" in record.message]
    assert logged == [
        f"{log.settings.name}: message {foreign[0]} is not of this service and is skipped, as are any later"
        f" ones; no other program may publish to {log.settings.name}.commits"
    ]


@pytest.mark.parametrize("removal", ["erasure", "expiry"])
async def test_a_view_removes_no_damaged_event_because_other_nodes_have_it(
    log: ReplicatedLog, removal: str
) -> None:
    first, second = await log.open("first"), await log.open("second")
    events = [customer_event(f"event-{number}", role=f"Role of zq{number}zq") for number in range(5)]
    await first.record(*events)
    await second.catch_up_with(first)
    await log.close("second")
    flip(log.folder / "second" / "engagement.db", b"Role of zq3zq")
    if removal == "erasure":
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, events[0].consumer_id)
        (begun,) = await first.commit(BeginErasure("acme", "request", "erasure", [subject], suppress=False))
        (erased,) = await first.commit(EraseEvents("acme", "erasure"))
        assert isinstance(begun, ErasureState)
        assert isinstance(erased, ErasureState)
        assert erased.erased_events == len(events)
    else:
        await first.commit(SetRetention(retention_ms=1, is_first=False))
        (expired,) = await first.commit(ExpireEvents("acme", TIME_MS + 1), time_ms=TIME_MS + DAY_MS)
        assert expired == len(events)
    second = await log.open("second")
    error = await damaged(second)
    assert "cannot be applied, because the view is damaged: replace it with `engagement log" in error.message
    assert second.query("SELECT last_sequence, expired_sequence FROM accounts") == [(len(events), 0)]


def flip(path: Path, spot: bytes) -> None:
    """Flips a bit of the first place in a file that matches."""
    content = bytearray(path.read_bytes())
    content[content.index(spot)] ^= 1
    path.write_bytes(content)


async def test_what_a_busy_store_has_yet_to_apply_before_the_damage_is_applied_once(
    log: ReplicatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.store.database.BUSY_TIMEOUT_MS", 10)
    first, second = await log.open("first"), await log.open("second")
    await second.catch_up_with(first)

    async def has_reconnected() -> bool:
        return len(await log.js.consumers_info(log.settings.name)) > 2  # one for each connection

    with held_view(log.folder / "second", "BEGIN IMMEDIATE"):
        await first.record(customer_event("before"))
        await log.close("first")
        await log.publish(marks.PREFIX + b"?")
        await eventually(lambda: second.log.damage is not None, "the second node refuses its partition")
        with pytest.raises(TimeoutError):
            await eventually(has_reconnected, "the second node reads the log again", seconds=1)
    first = await log.open("first")
    await second.catch_up_with(first)
    await damaged(second)
    assert applied(first) == applied(second)


@pytest.mark.parametrize("place", ["mark", "data", "id", "no mark", "no mark in data"])
async def test_a_damaged_message_stops_a_node_before_it(log: ReplicatedLog, place: str) -> None:
    node = await log.open()
    await node.record(customer_event("before"))
    data = await entries.encode_entry(Commit([OpenUpload("acme", "upload", "owner")], 1))
    headers = {"Nats-Msg-Id": "p.1", marks.HEADER: marks.mark("p.1", data)}
    match place:
        case "mark":
            headers[marks.HEADER] = headers[marks.HEADER][:-1] + "x"
        case "data":
            data = data[:-1] + bytes([data[-1] ^ 1])
        case "id":
            headers["Nats-Msg-Id"] = "p.2"
        case "no mark":
            del headers[marks.HEADER]
        case _:
            data = b"\x00" + data[1:]
    sequence = await log.publish(data, headers)
    error = await damaged(node)
    assert error.metadata == {
        "log": log.settings.name,
        "sequence": f"{sequence}",
        "cause": f"message {sequence} is damaged: its checksum is wrong",
    }
    assert node.log.position.sequence == sequence - 1
    assert node.query("SELECT count(*) FROM uploads") == [(0,)]


async def test_a_message_that_was_deleted_in_the_middle_stops_who_has_not_applied_it(
    log: ReplicatedLog,
) -> None:
    first, sequence = await prepared(log)
    await log.js.delete_msg(log.settings.name, sequence)
    behind = await log.open("behind")
    error = await damaged(behind)
    assert error.message == (
        f"this node refuses the accounts of {log.settings.name}, which may be wrong from message {sequence}"
        f" on: message {sequence} is missing"
    )
    assert [event_id for _, event_id in await behind.positions()] == ["0", "1"]
    await first.record(customer_event("5"))
    assert first.log.damage is None
    await log.close("behind")
    behind = await log.open("behind")
    await damaged(behind)
    assert [event_id for _, event_id in await behind.positions()] == ["0", "1"]


async def test_a_last_message_that_was_deleted_is_missed(log: ReplicatedLog) -> None:
    first, sequence = await prepared(log)
    await log.close()
    for each in (sequence, sequence + 1, sequence + 2):
        await log.js.delete_msg(log.settings.name, each)
    behind = await log.open("behind")
    assert (await damaged(behind)).metadata["sequence"] == f"{sequence}"
    first = await log.open("first")  # which has applied it
    await first.record(customer_event("5"))
    assert first.log.damage is None


async def test_a_deleted_message_that_this_node_has_applied_does_not_stop_it(log: ReplicatedLog) -> None:
    first, sequence = await prepared(log)
    await log.close()
    await log.js.delete_msg(log.settings.name, sequence + 2)
    first = await log.open("first")
    await first.record(customer_event("5"))
    assert len(await first.positions()) == 6


async def test_messages_before_the_first_one_that_is_kept_are_not_missing(log: ReplicatedLog) -> None:
    first, sequence = await prepared(log)
    await log.expire(sequence)
    await first.record(customer_event("5"))
    assert first.log.damage is None


async def test_a_commit_that_can_never_be_applied_stops_a_node_with_its_number(
    log: ReplicatedLog, caplog: pytest.LogCaptureFixture
) -> None:
    node = await log.open()
    await node.record(customer_event("before"))
    broken = SetRetention(retention_ms=1 << 63, is_first=False)  # more than a row can hold
    data = await entries.encode_entry(Commit([broken], 1))
    sequence = await log.publish(data, {"Nats-Msg-Id": "p.1", marks.HEADER: marks.mark("p.1", data)})
    assert (await damaged(node)).message.endswith(f"message {sequence} cannot be applied: OverflowError")
    assert "Traceback" in caplog.text  # what it holds is for operators alone
