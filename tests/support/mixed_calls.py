"""Calls of each kind, with outcomes that are known: what the metrics of any server must make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from engagement import v1
from tests.support.connection import ACCOUNT, Connection
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.management import Sample, value
from tests.support.refused_call import expect_refused

CALLS: Final = 13


async def make_calls(connections: Sequence[Connection]) -> None:
    """Calls of each kind, spread over connections."""
    one, other = connections[0], connections[-1]
    for number, event in enumerate(customer_events(5)):
        await connections[number % len(connections)].record(event)
    await other.record(customer_event("0"))
    await expect_refused(one.record(bad_event()))
    await expect_refused(other.record_batch([customer_event("kept out"), bad_event("bad in a batch")]))
    partial = v1.RecordEventsRequest(
        account_id=ACCOUNT, events=[customer_event("kept"), bad_event("bad")], allow_partial=True
    )
    await one.ingest.RecordEvents(partial)
    await other.upload([customer_events(3, start=10), [bad_event("bad in an upload"), customer_event("0")]])
    await expect_refused(one.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id="none")))
    await other.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT))
    stream = one.events.SubscribeEvents(v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True))
    await stream.read()
    stream.cancel()


def has_ended(found: Mapping[Sample, float]) -> bool:
    """Whether all calls that have begun have ended, and are counted."""
    return value(found, "grpc_server_handled_total") == value(found, "grpc_server_started_total") == CALLS
