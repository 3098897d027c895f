"""Judges a batch against what is stored: which events are new, which are known, which are in conflict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.errors import EventIdConflictError
from engagement_server.model import EventRecord, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch


def judge(
    connection: apsw.Connection, batch: Batch, *, account: int, last_position: int, is_atomic: bool
) -> tuple[list[Verdict], list[EventRecord]]:
    """What becomes of each event, in the order of the batch, and the new ones in order.

    New events get the positions after `last_position`. Raises EventIdConflictError where `is_atomic`
    and an id is taken by other content.
    """
    known = _stored_events(connection, account, [record.event_id for record in batch.records])
    fresh: list[EventRecord] = []
    verdicts: list[Verdict] = []
    for index, record in zip(batch.indexes, batch.records, strict=True):
        event_id = record.event_id
        stored = known.get(event_id)
        if stored is None:
            fresh.append(record)
            position = last_position + len(fresh)
            known[event_id] = position, record.payload
            verdicts.append(Verdict(index, event_id, Outcome.ACCEPTED, position, b""))
        elif _is_same_content(stored[1], record.payload):
            verdicts.append(Verdict(index, event_id, Outcome.DUPLICATE, stored[0], b""))
        elif is_atomic:
            raise EventIdConflictError(event_id)
        else:
            verdicts.append(Verdict(index, event_id, Outcome.REJECTED, 0, _conflict(event_id)))
    if batch.refusals:
        verdicts += [
            Verdict(refusal.index, refusal.event_id, Outcome.REJECTED, 0, refusal.error)
            for refusal in batch.refusals
        ]
        verdicts.sort()
    return verdicts, fresh


def _stored_events(
    connection: apsw.Connection, account: int, event_ids: Sequence[str]
) -> dict[str, tuple[int, bytes]]:
    """Position and payload of those ids that the account has."""
    rows = connection.execute(
        "SELECT event_id, position, payload FROM json_each(?) CROSS JOIN events"
        " ON account = ? AND event_id = json_each.value",
        (json.dumps(event_ids), account),
    )
    return {event_id: (position, payload) for event_id, position, payload in rows}


def _is_same_content(stored: bytes, sent: bytes) -> bool:
    # The bytes of equal events may differ: unknown fields stand in the order in which they came.
    return stored == sent or v1.Event.FromString(stored) == v1.Event.FromString(sent)


def _conflict(event_id: str) -> bytes:
    """The serialized `EventError` of an event whose id is taken by other content."""
    error = EventIdConflictError(event_id)
    reason = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    return v1.EventError(reason=reason, message=error.message).SerializeToString()
