"""Views that differ find out from the digests in the log; those without a majority refuse their partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from engagement_server.errors import LogDamagedError
from engagement_server.log.nats import marks
from engagement_server.log.nats.repairing import replace_view, skip_message
from engagement_server.log.nats.snapshots.bucket import SnapshotBucket
from engagement_server.store.backup import back_up
from engagement_server.store.database import FILE_NAME, DatabaseFile
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog
from tests.support.replicated_node import ReplicatedNode
from tests.support.store_file import open_store
from tests.support.waiting import eventually

BOUNDARY = 8


@pytest.fixture(autouse=True)
def _boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares views after every few messages."""
    monkeypatch.setattr("engagement_server.store.log_digest.BOUNDARY_MESSAGES", BOUNDARY)
    monkeypatch.setattr("engagement_server.log.nats.jetstream_log.BOUNDARY_MESSAGES", BOUNDARY)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


async def pass_boundary(node: ReplicatedNode) -> int:
    """Records events until a boundary is passed; returns it."""
    boundary = (node.log.position.sequence // BOUNDARY + 1) * BOUNDARY
    while node.log.position.sequence < boundary:
        await node.record(customer_event(f"at {node.log.position.sequence}"))
    return boundary


def votes(node: ReplicatedNode, boundary: int) -> dict[str, bytes]:
    """The digests at a boundary that a view knows, by voter; its own is that of ''."""
    return dict(node.query(f"SELECT voter, digest FROM log_digests WHERE sequence = {boundary}"))


async def damage_view(log: ReplicatedLog, name: str) -> None:
    """Removes an event from a view behind its back."""
    await log.close(name)
    with closing(open_store(log.folder / name)) as connection:
        connection.execute("DELETE FROM events WHERE event_id = 'lost'")
    await log.open(name)


async def replace(log: ReplicatedLog, name: str, source: Path) -> None:
    """Repairs a view from a copy."""
    with closing(DatabaseFile(log.folder / name, is_view=True)) as database:
        async with log.connect() as stream:
            await replace_view(stream, database, source)


async def test_one_node_votes_at_a_boundary_while_all_views_are_equal(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    boundary = await pass_boundary(first)
    await eventually(lambda: len(votes(second, boundary)) == 2, "one node has voted")
    await log.assert_same(first, second)
    assert len(set(votes(second, boundary).values())) == 1
    await pass_boundary(second)
    assert len(votes(first, boundary)) == 2


async def test_a_view_that_a_majority_disagrees_with_refuses_its_partition(log: ReplicatedLog) -> None:
    nodes = [await log.open(name) for name in ("first", "second", "third")]
    await nodes[0].record(customer_event("lost"))
    equal_through = await pass_boundary(nodes[0])
    await eventually(lambda: len(votes(nodes[2], equal_through)) == 2, "one node has voted")
    for node in nodes[:2]:
        await nodes[2].catch_up_with(node)
    await damage_view(log, "third")
    first, second, third = nodes[0], nodes[1], await log.reopen("third")
    await first.record(customer_event("lost"))
    await pass_boundary(first)
    await eventually(lambda: third.log.damage is not None, "the wrong view is refused")

    def are_settled() -> bool:
        damage = third.log.damage
        return first.log.is_current and second.log.is_current and "this view is wrong" in str(damage)

    await eventually(are_settled, "the majority is known")
    assert isinstance(third.log.damage, LogDamagedError)
    assert third.log.damage.metadata["sequence"] == f"{equal_through + 1}"
    await first.record(customer_event("served"))
    with pytest.raises(LogDamagedError, match="this view is wrong"):
        await third.record(customer_event("refused"))
    third = await log.reopen("third")
    assert "this view is wrong" in str(third.log.damage)
    assert third.log.position.sequence > equal_through


async def test_two_views_that_differ_are_both_refused_until_one_is_replaced(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    await first.record(customer_event("lost"))
    await second.catch_up_with(first)
    await damage_view(log, "second")
    second = await log.reopen("second")
    await first.record(customer_event("lost"))
    boundary = await pass_boundary(first)

    def are_refused() -> bool:
        return all("it is undecided which is wrong" in str(node.log.damage) for node in (first, second))

    await eventually(are_refused, "both are refused")
    await log.close("second")
    await replace(log, "second", log.folder / "first")
    second = await log.open("second")

    def are_served() -> bool:
        return all(node.log.damage is None and node.log.is_current for node in (first, second))

    await eventually(are_served, "both are served")
    assert len(votes(first, boundary)) == 3  # its own digest, and one vote for each folder
    await pass_boundary(second)
    await log.assert_same(first, second)


async def test_the_only_node_is_served_once_its_wrong_view_is_replaced(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.record(customer_event("lost"))
    back_up(log.folder / "first", log.folder / "copy.db")
    await damage_view(log, "first")
    node = await log.reopen("first")
    await node.record(customer_event("lost"))
    boundary = await pass_boundary(node)
    await eventually(lambda: len(votes(node, boundary)) == 2, "the wrong view has voted")
    await log.close()
    await replace(log, "first", log.folder / "copy.db")
    node = await log.open()
    await pass_boundary(node)
    assert node.log.damage is None


async def test_a_node_that_starts_from_a_copy_of_a_wrong_view_gives_it_no_further_vote(
    log: ReplicatedLog,
) -> None:
    first, second, third = [await log.open(name) for name in ("first", "second", "third")]
    await first.record(customer_event("lost"))
    for node in (second, third):
        await node.catch_up_with(first)
    await damage_view(log, "third")
    third = await log.reopen("third")
    await first.record(customer_event("lost"))
    await third.catch_up_with(first)
    (log.folder / "fresh").mkdir()
    back_up(log.folder / "third", log.folder / "fresh" / FILE_NAME)
    fresh = await log.open("fresh")
    boundary = await pass_boundary(first)
    await eventually(lambda: len(votes(first, boundary)) == 4, "all but the fresh view have voted")
    await eventually(lambda: fresh.log.damage is not None, "the fresh view is refused")
    # A view is refused, too, from the first vote that differs to the vote of one that agrees.
    await eventually(lambda: first.log.damage is None and second.log.damage is None, "two views agree")
    await pass_boundary(first)
    await pass_boundary(first)
    for node in (first, second):
        await first.record(customer_event("served"))
        assert node.log.damage is None


async def test_nodes_that_had_applied_what_all_skip_do_not_outvote_the_one_that_skips_it(
    log: ReplicatedLog,
) -> None:
    third = await log.open("third")
    await third.record(customer_event("before"))
    await log.close("third")
    first, second = await log.open("first"), await log.open("second")
    await first.record(customer_event("lost"))
    message = first.log.position.sequence
    boundary = await pass_boundary(first)
    for node in (first, second):
        await eventually(lambda: len(votes(node, boundary)) == 2, "one node has voted")  # noqa: B023
    await log.js.delete_msg(log.settings.name, message)
    async with log.connect() as stream:
        await skip_message(stream, message, is_forced=False)
    third = await log.open("third")
    assert third.log.damage is None
    await pass_boundary(third)
    await third.record(customer_event("served"))
    for node in (first, second):
        assert "the log skips this message" in str(node.log.damage)
    await log.close()
    for name in ("first", "second"):
        await replace(log, name, log.folder / "third")
    first, second, third = [await log.open(name) for name in ("first", "second", "third")]
    await pass_boundary(first)
    await second.catch_up_with(first)
    await log.assert_same(first, third)
    assert all(node.log.damage is None for node in (first, second, third))


async def test_a_snapshot_has_the_digest_of_its_view(log: ReplicatedLog) -> None:
    node = await log.open()
    await pass_boundary(node)
    async with log.connect() as stream:
        bucket = SnapshotBucket(stream)
        await eventually(lambda: node.log.position.sequence > BOUNDARY, "the vote is applied")

        async def is_taken() -> bool:
            return bool(await bucket.snapshots())

        await eventually(is_taken, "a snapshot is taken")
        (snapshot,) = await bucket.snapshots()
    assert len(snapshot.facts.digest) == 32


def test_the_checksum_of_a_message_covers_its_id_and_its_data() -> None:
    sums = {marks.checksum(*each) for each in (("a", b"bc"), ("a", b"bd"), ("b", b"bc"))}
    assert len(sums) == 3
