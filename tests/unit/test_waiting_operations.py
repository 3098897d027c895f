"""Work in the background leaves calls three times as long as it takes itself."""

from __future__ import annotations

import time

import pytest

from engagement_server.governor.turns import Caller
from engagement_server.log.waiting import LANES, WaitingOperations, waiting
from engagement_server.operations import ExpireUploads, Operation, RecordBatch
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


async def test_removal_does_not_wait_if_nothing_else_does() -> None:
    assert [*waiting_after_a_removal(REMOVAL).take_group(LANES).operations] == [REMOVAL]


def waiting_after_a_removal(*operations: Operation) -> WaitingOperations:
    """Operations that wait, just after a commit that removed something and took 100 seconds."""
    queue = WaitingOperations(max_call_bytes=1 << 20, max_upload_bytes=1 << 20)
    queue.note_background(COMMIT_SECONDS)
    for operation in operations:
        queue.enqueue(waiting([operation], Caller("connection", "acme")))
    return queue
