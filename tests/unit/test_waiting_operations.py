"""What the next commit takes: calls first, a quarter for uploads, and background work seldom."""

from __future__ import annotations

import time

import pytest

from engagement_server.governor.turns import Caller
from engagement_server.log.waiting import CALLS_MICROSECONDS, LANES, WaitingOperations, waiting
from engagement_server.operations import CommitChunk, ExpireUploads, Operation, RecordBatch
from tests.support.events import batch_of, customer_events

REMOVAL = ExpireUploads(0)
CALL = RecordBatch("acme", batch_of(customer_events(1)), is_atomic=True)
COMMIT_SECONDS = 100.0


@pytest.mark.parametrize(
    ("passed_seconds", "committed"), [(2.9 * COMMIT_SECONDS, [CALL]), (3.1 * COMMIT_SECONDS, [CALL, REMOVAL])]
)
async def test_after_a_commit_with_removal_calls_come_first_for_three_times_as_long(
    passed_seconds: float, committed: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = waiting_after_a_removal(REMOVAL, CALL)
    real_monotonic = time.monotonic
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: real_monotonic() + passed_seconds)
        group = queue.take_group(LANES)
    assert [*group.operations] == committed


@pytest.mark.parametrize("events", [1, 800])
async def test_uploads_keep_a_quarter_of_each_commit_while_calls_are_plentiful(events: int) -> None:
    queue = WaitingOperations(max_call_bytes=1 << 20, max_upload_bytes=1 << 20)
    call = RecordBatch("acme", batch_of(customer_events(events)), is_atomic=False)
    chunk = CommitChunk("bulk", "upload", "owner", 1, batch_of(customer_events(20)))
    costs: dict[type[Operation], float] = {}
    for operation in (call, chunk):
        for _ in range(400):
            entry = waiting([operation], Caller("connection", "acme"))
            queue.enqueue(entry)
        costs[type(operation)] = entry.microseconds
    for _ in range(2):
        kinds = [type(each) for each in queue.take_group(LANES).operations]
        calls = costs[RecordBatch] * kinds.count(RecordBatch)
        assert CALLS_MICROSECONDS <= calls < CALLS_MICROSECONDS + costs[RecordBatch]
        assert calls / 3 <= costs[CommitChunk] * kinds.count(CommitChunk) < calls / 3 + costs[CommitChunk]
        assert kinds == sorted(kinds, key=[RecordBatch, CommitChunk].index)


@pytest.mark.parametrize("are_joined", [False, True])
async def test_commits_of_uploads_alone_are_small_if_others_join_them(*, are_joined: bool) -> None:
    queue = WaitingOperations(max_call_bytes=1 << 20, max_upload_bytes=1 << 20, are_joined=are_joined)
    for sequence in range(1, 11):
        chunk = CommitChunk("bulk", "upload", "owner", sequence, batch_of(customer_events(500)))
        queue.enqueue(waiting([chunk], Caller("connection", "bulk")))
    assert len(queue.take_group(LANES).operations) == (1 if are_joined else 6)


async def test_removal_does_not_wait_if_nothing_else_does() -> None:
    assert [*waiting_after_a_removal(REMOVAL).take_group(LANES).operations] == [REMOVAL]


def waiting_after_a_removal(*operations: Operation) -> WaitingOperations:
    """Operations that wait, just after a commit that removed something and took 100 seconds."""
    queue = WaitingOperations(max_call_bytes=1 << 20, max_upload_bytes=1 << 20)
    queue.note_background(COMMIT_SECONDS)
    for operation in operations:
        queue.enqueue(waiting([operation], Caller("connection", "acme")))
    return queue
