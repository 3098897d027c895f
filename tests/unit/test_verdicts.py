"""Distinguishing repeats from conflicts takes little memory, however large the stored events are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from engagement import v1
from engagement_server.model import Outcome
from engagement_server.operations import Commit, RecordBatch, Recorded
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, text_fields

EVENTS = 40
MEBIBYTE = 1024 * 1024


def large_event(event_id: str) -> v1.Event:
    """An event of about 750 kilobytes."""
    return customer_event(event_id, **dict.fromkeys(text_fields(v1.CustomerInfo()), "x" * 45_000))


def test_small_events_with_the_ids_of_large_ones_are_judged_one_at_a_time(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path)
    connection = database.open_writer()
    writer = Writer(connection)
    for number in range(EVENTS):
        batch = batch_of([large_event(str(number))])
        writer.apply(Commit([RecordBatch("acme", batch, is_atomic=False)], number + 1))
    small = batch_of([customer_event(str(number), role="other") for number in range(EVENTS)])

    tracemalloc.start()
    (result,) = writer.apply(Commit([RecordBatch("acme", small, is_atomic=False)], EVENTS + 1)).results
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(result, Recorded)
    assert {verdict.outcome for verdict in result.verdicts} == {Outcome.REJECTED}
    assert peak_bytes < 8 * MEBIBYTE
    connection.close()
    database.close()
