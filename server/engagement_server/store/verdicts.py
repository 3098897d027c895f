"""Judges batches against the store: events may be new, repeated, in conflict, rejected or suppressed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from engagement import v1
from engagement_server.errors import EntityUnknownError, EventIdConflictError
from engagement_server.model import EventRecord, Outcome, Verdict
from engagement_server.store.admission import Admission, AdmissionRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch, Rejection
    from engagement_server.store.entity_lists import EntityLists, UnknownEntity
    from engagement_server.store.tombstones import Suppressions, Tombstones


_Known: TypeAlias = tuple[int, bytes | None]
"""The position of a known event and its payload; None: the payload is in the store."""

_ERASED: _Known = (0, None)


class JudgedBatch(NamedTuple):
    """The new events of a batch, and the verdicts on all others."""

    new_records: Sequence[EventRecord]
    new_indexes: Sequence[int]
    """Indexes of the new events in the batch."""
    admissions: Sequence[Admission]
    """Of the new events."""
    positions: Sequence[int]
    """The positions of the new events, and possibly more."""
    other_verdicts: Sequence[Verdict]

    def verdicts(self) -> list[Verdict]:
        """The verdicts on all events, in the order of the batch."""
        accepted = [
            Verdict(index, record.event_id, Outcome.ACCEPTED, position, b"")
            for index, record, position in zip(
                self.new_indexes, self.new_records, self.positions, strict=False
            )
        ]
        return sorted([*accepted, *self.other_verdicts])


class _StoredContent(NamedTuple):
    """An event that is known, to be compared with one that was sent under its id."""

    payload: bytes
    server_time_ms: int | None = None
    """The time of the event, if it has been stored."""

    def is_same_as(self, sent: bytes) -> bool:
        """Whether this is what the producer sent, or what the server has made of it."""
        if self.payload == sent:
            return True
        # Equal events may differ in their bytes: unknown fields keep the order in which they came.
        stored, again = v1.Event.FromString(self.payload), v1.Event.FromString(sent)
        if stored == again:
            return True
        if self.server_time_ms is None:
            return False
        # What was read from the server and is sent back has a time, even if the server had to fill it in.
        attributes = stored.customer_info if stored.HasField("customer_info") else stored.personal_info
        attributes.server_time_stamp = self.server_time_ms
        return stored == again


class Judge:
    """Judges batches of one account, each with the new events of those before it as known."""

    def __init__(  # noqa: PLR0913  # all but three are named at the call
        self,
        connection: apsw.Connection,
        account: int,
        event_ids: Sequence[str],
        *,
        lists: EntityLists,
        suppressions: Suppressions,
        tombstones: Tombstones,
    ) -> None:
        """Looks up the ids of all events that are to be judged, in one query."""
        self._connection = connection
        self._rules = AdmissionRules(account, lists=lists, suppressions=suppressions)
        rows = connection.execute(
            "SELECT event_id, position FROM json_each(?) CROSS JOIN events"
            " ON account = ? AND event_id = json_each.value",
            (json.dumps(event_ids), account),
        )
        self._known: dict[str, _Known] = {event_id: (position, None) for event_id, position in rows}
        self._known.update(dict.fromkeys(tombstones.find(account, event_ids), _ERASED))

    def judge(self, batch: Batch, *, positions: Sequence[int], is_atomic: bool) -> JudgedBatch:
        """Judges a batch whose new events get the first of the positions.

        If `is_atomic`, raises EventIdConflictError and EntityUnknownError, and no event becomes known.
        """
        others = self._judge_rejections(batch.rejections)
        added: dict[str, _Known] = {
            record.event_id: (position, record.payload)
            for position, record in zip(positions, batch.records, strict=True)
        }
        admissions = self._rules.check(batch.records)
        are_all_new = len(added) == len(batch.records) and self._known.keys().isdisjoint(added)
        if are_all_new and all(admission.is_granted for admission in admissions):
            self._known.update(added)
            return JudgedBatch(batch.records, batch.indexes, admissions, positions, others)
        added.clear()
        new_records: list[EventRecord] = []
        new_indexes: list[int] = []
        granted: list[Admission] = []
        for index, record, admission in zip(batch.indexes, batch.records, admissions, strict=True):
            event_id = record.event_id
            known = self._known.get(event_id) or added.get(event_id)
            if known is not None and not (admission.is_suppressed and self._is_conflict(record, known)):
                others.append(self._judge_known(index, record, known, is_atomic=is_atomic))
            elif admission.is_suppressed:
                others.append(Verdict(index, event_id, Outcome.SUPPRESSED, 0, b""))
            elif admission.unknown is not None:
                others.append(_reject_unknown(index, event_id, admission.unknown, is_atomic=is_atomic))
            else:
                added[event_id] = positions[len(new_records)], record.payload
                new_records.append(record)
                new_indexes.append(index)
                granted.append(admission)
        self._known.update(added)
        return JudgedBatch(new_records, new_indexes, granted, positions, sorted(others))

    def _judge_rejections(self, rejections: Sequence[Rejection]) -> list[Verdict]:
        """The verdicts on invalid events: those of a suppressed subject leave no trace."""
        suppressed = self._rules.suppressed([rejection.subjects for rejection in rejections])
        return [
            Verdict(rejection.index, rejection.event_id, Outcome.SUPPRESSED, 0, b"")
            if is_suppressed
            else Verdict(rejection.index, rejection.event_id, Outcome.REJECTED, 0, rejection.error)
            for rejection, is_suppressed in zip(rejections, suppressed, strict=True)
        ]

    def _judge_known(self, index: int, record: EventRecord, known: _Known, *, is_atomic: bool) -> Verdict:
        event_id = record.event_id
        if self._is_conflict(record, known):
            if is_atomic:
                raise EventIdConflictError(event_id)
            return Verdict(index, event_id, Outcome.REJECTED, 0, _conflict(event_id))
        position, _ = known
        return Verdict(index, event_id, Outcome.DUPLICATE, position, b"")

    def _is_conflict(self, record: EventRecord, known: _Known) -> bool:
        """Whether the known event has other content."""
        if known == _ERASED:  # nothing is left of it to compare with
            return False
        position, payload = known
        stored = self._read(position) if payload is None else _StoredContent(payload)
        return not stored.is_same_as(record.payload)

    def _read(self, position: int) -> _StoredContent:
        # One at a time: the payloads of a whole batch may not fit into memory.
        rows = self._connection.execute(
            "SELECT payload, server_time_ms FROM events WHERE position = ?", (position,)
        )
        ((payload, server_time_ms),) = rows
        return _StoredContent(bytes(payload), int(server_time_ms))


def _reject_unknown(index: int, event_id: str, unknown: UnknownEntity, *, is_atomic: bool) -> Verdict:
    if is_atomic:
        raise EntityUnknownError(unknown.violation, allowed=unknown.allowed, index=index)
    return Verdict(index, event_id, Outcome.REJECTED, 0, unknown.error)


def _conflict(event_id: str) -> bytes:
    """The serialized `EventError` of an event whose id is taken by other content."""
    error = EventIdConflictError(event_id)
    reason = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    return v1.EventError(reason=reason, message=error.message).SerializeToString()
