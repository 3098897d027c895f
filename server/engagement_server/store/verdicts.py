"""Judges a batch against what is stored: which events are new, which are known, which are in conflict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.errors import EventIdConflictError
from engagement_server.model import EventRecord, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch


class Judgement(NamedTuple):
    """The new events with their places in the batch, and what became of all others."""

    fresh: Sequence[EventRecord]
    fresh_items: Sequence[int]
    others: Sequence[Verdict]

    def verdicts(self, first_position: int) -> list[Verdict]:
        """One verdict an event, in the order of the batch; new events stand from `first_position` on."""
        accepted = [
            Verdict(item, record.event_id, Outcome.ACCEPTED, first_position + offset, b"")
            for offset, (item, record) in enumerate(zip(self.fresh_items, self.fresh, strict=True))
        ]
        return sorted([*accepted, *self.others])


def judge(
    connection: apsw.Connection, batch: Batch, *, account: int, first_position: int, is_atomic: bool
) -> Judgement:
    """Tells new events from known ones; the new ones are to stand from `first_position` on.

    Raises EventIdConflictError where `is_atomic` and an id is taken by other content.
    """
    others = [
        Verdict(refusal.item, refusal.event_id, Outcome.REJECTED, 0, refusal.error)
        for refusal in batch.refusals
    ]
    event_ids = [record.event_id for record in batch.records]
    known = _stored_events(connection, account, event_ids)
    if not known and len(set(event_ids)) == len(event_ids):
        return Judgement(batch.records, batch.items, others)
    fresh: list[EventRecord] = []
    fresh_items: list[int] = []
    for item, record in zip(batch.items, batch.records, strict=True):
        event_id = record.event_id
        stored = known.get(event_id)
        if stored is None:
            known[event_id] = first_position + len(fresh), record.payload
            fresh.append(record)
            fresh_items.append(item)
        elif _is_same_content(stored[1], record.payload):
            others.append(Verdict(item, event_id, Outcome.DUPLICATE, stored[0], b""))
        elif is_atomic:
            raise EventIdConflictError(event_id)
        else:
            others.append(Verdict(item, event_id, Outcome.REJECTED, 0, _conflict(event_id)))
    return Judgement(fresh, fresh_items, sorted(others))


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
