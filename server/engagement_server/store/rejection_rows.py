"""The rejected events of uploads: whom they were about, and how their traces are cleared.

A rejected event is not stored, but its result is: the id, and the paths of the fields that broke rules.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement import limits, v1
from engagement_server.model import Outcome, Subject
from engagement_server.store.tombstones import SaltedHash, subjects_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import apsw

    from engagement_server.model import Batch, Verdict

# Keys may quote people: they are addresses and names in other systems. Nothing of a path follows a key, since
# values are texts, and the end of a long one is cut off.
_MAP_KEY = re.compile(r'\[".*', re.DOTALL)
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
MAX_COUNTED = 10_000
"""Limit on rejected events that are counted."""
_COUNT = (
    "SELECT count(*) FROM (SELECT upload, chunk_sequence, event_index FROM"
    " (SELECT s.* FROM json_each(?) AS wanted"
    " CROSS JOIN rejection_subjects AS s ON s.hash = unhex(wanted.value) LIMIT ?)"
    " UNION SELECT r.upload, r.chunk_sequence, r.event_index FROM json_each(?) AS wanted"
    " CROSS JOIN upload_results AS r INDEXED BY upload_results_by_event ON r.event_id = wanted.value"
    " JOIN uploads AS u ON u.number = r.upload WHERE u.account_id = ? AND r.outcome = 3 LIMIT ?)"
)


class _Place(NamedTuple):
    """Where a result is."""

    upload: int
    chunk_sequence: int
    event_index: int


class RejectionRows:
    """Works through the connection of the caller, and writes inside its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._salted = SaltedHash(connection, kind=b"rejection")

    def add(
        self, account_id: str, upload: int, sequence: int, rejected: Mapping[int, Sequence[Subject]]
    ) -> None:
        """Notes whom the rejected events of a chunk, by index, are about."""
        self._connection.executemany(
            "INSERT INTO rejection_subjects VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                (upload, sequence, index, self._hash(account_id, subject))
                for index, subjects in rejected.items()
                for subject in subjects
            ),
        )

    def count(self, account_id: str, subjects: Collection[Subject], *, limit: int = MAX_COUNTED) -> int:
        """The number of rejected events that name one of some subjects or have one of their event ids.

        At most the limit.
        """
        hashes = [self._hash(account_id, subject).hex() for subject in subjects if subject.kind != _EVENT_ID]
        event_ids = [subject.value for subject in subjects if subject.kind == _EVENT_ID]
        ((found,),) = self._connection.execute(
            _COUNT, (json.dumps(hashes), limit * len(hashes), json.dumps(event_ids), account_id, limit)
        )
        return int(found)

    def places(self, account_id: str, subjects: Iterable[Subject], *, limit: int) -> list[tuple[str, int]]:
        """The uploads, and the numbers in these, of rejected events about some subjects: the last first."""
        found = {place for subject in subjects for place in self._about(account_id, subject, limit=limit)}
        rows: list[Any] = [  # Any: text and number
            self._connection.execute(
                "SELECT u.upload_id, r.event_number FROM upload_results AS r JOIN uploads AS u"
                " ON u.number = r.upload WHERE (r.upload, r.chunk_sequence, r.event_index) = (?, ?, ?)",
                place,
            ).fetchone()
            for place in sorted(found, reverse=True)[:limit]
        ]
        return [(upload_id, event_number) for upload_id, event_number in filter(None, rows)]

    def clear_subject(self, account_id: str, subject: Subject, *, max_rejections: int) -> int:
        """Clears rejected events that are about a subject; returns how many: fewer only if none is left."""
        places = self._about(account_id, subject, limit=max_rejections)
        for place in places:
            ((error,),) = self._connection.execute(
                "SELECT error FROM upload_results WHERE (upload, chunk_sequence, event_index) = (?, ?, ?)",
                place,
            )
            self._clear(place, bytes(error))
        return len(places)

    def clear_ids(self, account_id: str, event_ids: Sequence[str]) -> int:
        """Clears all results with some event ids; returns the number of those rejected."""
        found = self._with_ids(account_id, event_ids)
        for place, _, error in found:
            self._clear(place, error)
        return sum(outcome == Outcome.REJECTED for _, outcome, _ in found)

    def _about(self, account_id: str, subject: Subject, *, limit: int) -> list[_Place]:
        """The last places of rejected events about a subject."""
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT upload, chunk_sequence, event_index FROM rejection_subjects WHERE hash = ?"
            " ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT ?",
            (self._hash(account_id, subject), limit),
        )
        return [_Place(*row) for row in rows]

    def _with_ids(self, account_id: str, event_ids: Sequence[str]) -> list[tuple[_Place, int, bytes]]:
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT r.upload, r.chunk_sequence, r.event_index, r.outcome, r.error FROM json_each(?) AS wanted"
            " CROSS JOIN upload_results AS r INDEXED BY upload_results_by_event ON r.event_id = wanted.value"
            " JOIN uploads AS u ON u.number = r.upload WHERE u.account_id = ?",
            (json.dumps(event_ids), account_id),
        )
        return [(_Place(*place), outcome, error) for *place, outcome, error in rows]

    def _clear(self, place: _Place, error: bytes) -> None:
        self._connection.execute(
            "UPDATE upload_results SET event_id = '', error = ?"
            " WHERE (upload, chunk_sequence, event_index) = (?, ?, ?)",
            (_reduced(error), *place),
        )
        self._connection.execute(
            "DELETE FROM rejection_subjects WHERE (upload, chunk_sequence, event_index) = (?, ?, ?)", place
        )

    def _hash(self, account_id: str, subject: Subject) -> bytes:
        # By the account's id: an account that has only rejections has no number.
        return self._salted.of(f"{account_id} {subject.kind} {subject.value}")


def erasable_subjects(event: v1.Event) -> list[Subject]:
    """The subjects of an event that may be invalid, without ids that are too long for any erasure."""
    return [each for each in subjects_of(event) if len(each.value) <= limits.MAX_TEXT_CHARACTERS]


def subjects_of_rejected(batch: Batch, verdicts: Sequence[Verdict]) -> dict[int, Sequence[Subject]]:
    """Whom the rejected events of a batch are about, by their indexes."""
    rejected = {verdict.index for verdict in verdicts if verdict.outcome == Outcome.REJECTED}
    named: dict[int, Sequence[Subject]] = {
        rejection.index: rejection.subjects for rejection in batch.rejections if rejection.index in rejected
    }
    if len(named) < len(rejected):  # others were valid, but cannot be stored
        for index, record in zip(batch.indexes, batch.records, strict=True):
            if index in rejected:
                named[index] = erasable_subjects(v1.Event.FromString(record.payload))
    return named


def without_keys(error: bytes) -> bytes:
    """A serialized `EventError` without the keys of maps in its paths."""
    if b'["' not in error:
        return error
    stored = v1.EventError.FromString(error)
    if not stored.violations:
        return error
    for violation in stored.violations:
        violation.field = _MAP_KEY.sub('["…"]', violation.field)
    first = stored.violations[0]
    stored.message = ": ".join(filter(None, (first.field, first.description)))
    return stored.SerializeToString()


def _reduced(error: bytes) -> bytes:
    """Reduces a serialized `EventError` to its reason."""
    if not error:
        return error
    before = v1.EventError.FromString(error)
    return v1.EventError(
        reason=before.reason,
        message="the event and its errors are erased",
        violations_total=before.violations_total,
    ).SerializeToString()
