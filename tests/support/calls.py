"""Shorthands for requests, and for reading the stored events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub

ACCEPTED, DUPLICATE, REJECTED = (
    v1.Outcome.OUTCOME_ACCEPTED,
    v1.Outcome.OUTCOME_DUPLICATE,
    v1.Outcome.OUTCOME_REJECTED,
)


def one(event: v1.Event, *, account_id: str = "acme", validate_only: bool = False) -> v1.RecordEventRequest:
    return v1.RecordEventRequest(account_id=account_id, event=event, validate_only=validate_only)


def some(
    *events: v1.Event, account_id: str = "acme", allow_partial: bool = False, validate_only: bool = False
) -> v1.RecordEventsRequest:
    return v1.RecordEventsRequest(
        account_id=account_id, events=events, allow_partial=allow_partial, validate_only=validate_only
    )


async def stored(events: EventServiceAsyncStub, *, account_id: str = "acme") -> list[v1.StoredEvent]:
    response = await events.ListEvents(v1.ListEventsRequest(account_id=account_id))
    return list(response.events)


async def stored_ids(events: EventServiceAsyncStub, *, account_id: str = "acme") -> list[str]:
    """Ids of the first events of an account, in the order of acceptance."""
    request = v1.ListEventsRequest(account_id=account_id, page_size=1000)
    return [each.event.event_id for each in (await events.ListEvents(request)).events]
