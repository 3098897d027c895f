"""Judges a batch against what is stored: which events are new, which are known, which are in conflict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from engagement import v1
from engagement_server.errors import EventIdConflictError
from engagement_server.model import EventRecord, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch


Stored: TypeAlias = tuple[int, bytes | None]
"""Position of a known event, and its payload where that is at hand; None: in the store."""

ReadPayload = Callable[[int], bytes]


class Judgement(NamedTuple):
    """The new events with their places in the batch, and what became of all others."""

    fresh: Sequence[EventRecord]
    fresh_items: Sequence[int]
    first_position: int
    """Where the first of the new events stands; the others follow."""
    others: Sequence[Verdict]

    def verdicts(self) -> list[Verdict]:
        """One verdict an event, in the order of the batch."""
        accepted = [
            Verdict(item, record.event_id, Outcome.ACCEPTED, self.first_position + offset, b"")
            for offset, (item, record) in enumerate(zip(self.fresh_items, self.fresh, strict=True))
        ]
        return sorted([*accepted, *self.others])


def judge(
    batch: Batch,
    known: dict[str, Stored],
    *,
    read_payload: ReadPayload,
    first_position: int,
    is_atomic: bool,
) -> Judgement:
    """Tells new events from known ones, and adds the new ones to those known.

    New events are to stand from `first_position` on. Raises EventIdConflictError, with nothing added,
    where `is_atomic` and an id is taken by other content.
    """
    others = [
        Verdict(refusal.item, refusal.event_id, Outcome.REJECTED, 0, refusal.error)
        for refusal in batch.refusals
    ]
    added: dict[str, Stored] = {
        record.event_id: (position, record.payload)
        for position, record in enumerate(batch.records, first_position)
    }
    if len(added) == len(batch.records) and known.keys().isdisjoint(added):
        known.update(added)
        return Judgement(batch.records, batch.items, first_position, others)
    added.clear()
    fresh: list[EventRecord] = []
    fresh_items: list[int] = []
    for item, record in zip(batch.items, batch.records, strict=True):
        event_id = record.event_id
        stored = known.get(event_id) or added.get(event_id)
        if stored is None:
            added[event_id] = first_position + len(fresh), record.payload
            fresh.append(record)
            fresh_items.append(item)
        elif _is_same_content(_payload(stored, read_payload), record.payload):
            others.append(Verdict(item, event_id, Outcome.DUPLICATE, stored[0], b""))
        elif is_atomic:
            raise EventIdConflictError(event_id)
        else:
            others.append(Verdict(item, event_id, Outcome.REJECTED, 0, _conflict(event_id)))
    known.update(added)
    return Judgement(fresh, fresh_items, first_position, sorted(others))


def find_stored(connection: apsw.Connection, account: int, event_ids: Sequence[str]) -> dict[str, Stored]:
    """Positions of those ids that the account has."""
    rows = connection.execute(
        "SELECT event_id, position FROM json_each(?) CROSS JOIN events"
        " ON account = ? AND event_id = json_each.value",
        (json.dumps(event_ids), account),
    )
    return {event_id: (position, None) for event_id, position in rows}


def payload_reader(connection: apsw.Connection) -> ReadPayload:
    """Reads the payloads of stored events one at a time: together they may not fit into memory."""

    def read(position: int) -> bytes:
        ((payload,),) = connection.execute("SELECT payload FROM events WHERE position = ?", (position,))
        return bytes(payload)

    return read


def _payload(stored: Stored, read_payload: ReadPayload) -> bytes:
    position, payload = stored
    return read_payload(position) if payload is None else payload


def _is_same_content(stored: bytes, sent: bytes) -> bool:
    # The bytes of equal events may differ: unknown fields stand in the order in which they came.
    return stored == sent or v1.Event.FromString(stored) == v1.Event.FromString(sent)


def _conflict(event_id: str) -> bytes:
    """The serialized `EventError` of an event whose id is taken by other content."""
    error = EventIdConflictError(event_id)
    reason = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    return v1.EventError(reason=reason, message=error.message).SerializeToString()
