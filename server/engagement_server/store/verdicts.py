"""Judges a batch against what is stored: which events are new, which are known, which are in conflict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from engagement import v1
from engagement_server.errors import EntityUnknownError, EventIdConflictError
from engagement_server.model import EventRecord, Outcome, Verdict
from engagement_server.store.admission import Ruling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch
    from engagement_server.store.admission import Admission
    from engagement_server.store.entity_lists import UnknownEntity
    from engagement_server.store.forgotten import Forgotten


Stored: TypeAlias = tuple[int, bytes | None]
"""Position of a known event, and its payload where that is at hand; None: in the store.

Position 0 stands for an erased event: there is nothing left to compare with.
"""

ReadPayload = Callable[[int], bytes]


class Judgement(NamedTuple):
    """The new events with their places in the batch, and what became of all others."""

    fresh: Sequence[EventRecord]
    fresh_indexes: Sequence[int]
    rulings: Sequence[Ruling]
    """One for each new event."""
    first_position: int
    """Where the first of the new events stands; the others follow."""
    others: Sequence[Verdict]

    def verdicts(self) -> list[Verdict]:
        """One verdict an event, in the order of the batch."""
        accepted = [
            Verdict(index, record.event_id, Outcome.ACCEPTED, self.first_position + offset, b"")
            for offset, (index, record) in enumerate(zip(self.fresh_indexes, self.fresh, strict=True))
        ]
        return sorted([*accepted, *self.others])


def judge(  # noqa: PLR0913  # all but two are named at the call
    batch: Batch,
    known: dict[str, Stored],
    *,
    admission: Admission,
    read_payload: ReadPayload,
    first_position: int,
    is_atomic: bool,
) -> Judgement:
    """Tells new events from known ones, and adds the new ones to those known.

    New events are to stand from `first_position` on. Where `is_atomic`, raises EventIdConflictError for
    an id that is taken by other content and EntityUnknownError, with nothing added.
    """
    others = [
        Verdict(rejection.index, rejection.event_id, Outcome.REJECTED, 0, rejection.error)
        for rejection in batch.rejections
    ]
    added: dict[str, Stored] = {
        record.event_id: (position, record.payload)
        for position, record in enumerate(batch.records, first_position)
    }
    rulings = admission.rule(batch.records)
    are_all_new = len(added) == len(batch.records) and known.keys().isdisjoint(added)
    if are_all_new and all(ruling.takes_event for ruling in rulings):
        known.update(added)
        return Judgement(batch.records, batch.indexes, rulings, first_position, others)
    added.clear()
    fresh: list[EventRecord] = []
    fresh_indexes: list[int] = []
    fresh_rulings: list[Ruling] = []
    for index, record, ruling in zip(batch.indexes, batch.records, rulings, strict=True):
        event_id = record.event_id
        stored = known.get(event_id) or added.get(event_id)
        if stored is not None:
            others.append(_judge_known(index, record, stored, read_payload, is_atomic=is_atomic))
        elif ruling.is_suppressed:
            others.append(Verdict(index, event_id, Outcome.SUPPRESSED, 0, b""))
        elif ruling.unknown is not None:
            others.append(_refuse(index, event_id, ruling.unknown, is_atomic=is_atomic))
        else:
            added[event_id] = first_position + len(fresh), record.payload
            fresh.append(record)
            fresh_indexes.append(index)
            fresh_rulings.append(ruling)
    known.update(added)
    return Judgement(fresh, fresh_indexes, fresh_rulings, first_position, sorted(others))


def _judge_known(
    index: int, record: EventRecord, stored: Stored, read_payload: ReadPayload, *, is_atomic: bool
) -> Verdict:
    position, payload = stored
    event_id = record.event_id
    if position:
        payload = read_payload(position) if payload is None else payload
        if not _is_same_content(payload, record.payload):
            if is_atomic:
                raise EventIdConflictError(event_id)
            return Verdict(index, event_id, Outcome.REJECTED, 0, _conflict(event_id))
    return Verdict(index, event_id, Outcome.DUPLICATE, position, b"")


def _refuse(index: int, event_id: str, unknown: UnknownEntity, *, is_atomic: bool) -> Verdict:
    if is_atomic:
        raise EntityUnknownError(unknown.violation, allowed=unknown.allowed, index=index)
    return Verdict(index, event_id, Outcome.REJECTED, 0, unknown.error)


def find_stored(
    connection: apsw.Connection, account: int, event_ids: Sequence[str], *, forgotten: Forgotten
) -> dict[str, Stored]:
    """Positions of those ids that the account has, and 0 for those that were erased."""
    rows = connection.execute(
        "SELECT event_id, position FROM json_each(?) CROSS JOIN events"
        " ON account = ? AND event_id = json_each.value",
        (json.dumps(event_ids), account),
    )
    known: dict[str, Stored] = {event_id: (position, None) for event_id, position in rows}
    for event_id in forgotten.find_erased(account, event_ids):
        known[event_id] = 0, None
    return known


def payload_reader(connection: apsw.Connection) -> ReadPayload:
    """Reads the payloads of stored events one at a time: together they may not fit into memory."""

    def read(position: int) -> bytes:
        ((payload,),) = connection.execute("SELECT payload FROM events WHERE position = ?", (position,))
        return bytes(payload)

    return read


def _is_same_content(stored: bytes, sent: bytes) -> bool:
    # The bytes of equal events may differ: unknown fields stand in the order in which they came.
    return stored == sent or v1.Event.FromString(stored) == v1.Event.FromString(sent)


def _conflict(event_id: str) -> bytes:
    """The serialized `EventError` of an event whose id is taken by other content."""
    error = EventIdConflictError(event_id)
    reason = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    return v1.EventError(reason=reason, message=error.message).SerializeToString()
