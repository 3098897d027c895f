"""The rejected events of uploads: whom they were about, and how their traces are cleared.

A rejected event is not stored, but its result is: the id, and the paths of the fields that broke rules.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement import limits, v1
from engagement_server.model import Outcome, Subject
from engagement_server.store.rejection_subjects import (
    ChunkPlace,
    RejectionPlace,
    RejectionSubjects,
    SearchStep,
    Work,
)
from engagement_server.store.tombstones import subjects_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import apsw

    from engagement_server.model import Batch, Verdict
    from engagement_server.operations import EraseEvents
    from engagement_server.store.damaged_rejections import DamagedSearch

# Keys may quote people: they are addresses and names in other systems. Nothing of a path follows a key, since
# values are texts, and the end of a long one is cut off.
_MAP_KEY = re.compile(r'\[".*', re.DOTALL)
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
# As SQL takes it.
_ALL = -1


class ClearingStep(NamedTuple):
    """What a step has cleared, and where the next one continues; None: there is nothing more."""

    cleared: int
    through: ChunkPlace | None


class RejectionRows:
    """Works through the connection of the caller, and writes inside its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._subjects = RejectionSubjects(connection)
        self.damaged: Collection[ChunkPlace] = ()
        """Chunks whose hashes stay where they are, because they are damaged."""

    def may_have(self, account_id: str, subjects: Iterable[Subject]) -> bool:
        """Whether there may be rejected events about some subjects, or with some event ids.

        Looks at a bounded number; if there are more, there may be.
        """
        names = [subject for subject in subjects if subject.kind != _EVENT_ID]
        step = self._subjects.search(self._subjects.sought(account_id, names), Work(), max_found=1)
        event_ids = [subject.value for subject in subjects if subject.kind == _EVENT_ID]
        return bool(step.found) or step.through is not None or bool(self.with_ids(account_id, event_ids))

    def search(
        self, account_id: str, subjects: Iterable[Subject], work: Work, *, after: ChunkPlace
    ) -> SearchStep:
        """The next step of a search for rejected events about some subjects."""
        return self._subjects.search(self._subjects.sought(account_id, subjects), work, after=after)

    def with_ids(self, account_id: str, event_ids: Sequence[str]) -> dict[RejectionPlace, str]:
        """The places of rejected events with some event ids."""
        found = self._with_ids(account_id, event_ids)
        return {place: event_id for place, event_id, outcome, _ in found if outcome == Outcome.REJECTED}

    def names_of(self, places: Iterable[RejectionPlace]) -> list[tuple[str, int]]:
        """The uploads of some rejected events, and their numbers in these."""
        rows: list[Any] = [  # Any: text and number
            self._connection.execute(
                "SELECT u.upload_id, r.event_number FROM upload_results AS r JOIN uploads AS u"
                " ON u.number = r.upload WHERE (r.upload, r.chunk_sequence, r.event_index) = (?, ?, ?)",
                place,
            ).fetchone()
            for place in places
        ]
        return [(upload_id, event_number) for upload_id, event_number in filter(None, rows)]

    def clear_next(
        self, operation: EraseEvents, subjects: Iterable[Subject], *, after: ChunkPlace
    ) -> ClearingStep:
        """Clears rejected events about some subjects, within the limits of the operation."""
        step = self._subjects.search(
            self._subjects.sought(operation.account_id, subjects),
            Work(operation.max_compared),
            after=after,
            max_found=operation.max_rejections,
        )
        cleared = sum([self._clear_result(place) for place in step.found])
        self._remove_subjects(step.found)
        return ClearingStep(cleared, step.through)

    def clear_damaged(self, operation: EraseEvents, search: DamagedSearch) -> ClearingStep:
        """Clears what was found before damage, and the next rejected events of the upload behind it."""
        cleared = sum([self._clear_result(place) for place in search.found])
        upload = search.damaged.upload
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT upload, chunk_sequence, event_index FROM upload_results INDEXED BY upload_rejections"
            " WHERE upload = ? AND outcome = 3 AND chunk_sequence > ? AND event_id <> '' LIMIT ?",
            (*search.damaged, operation.max_rejections),
        )
        behind = [RejectionPlace(*row) for row in rows]
        cleared += sum([self._clear_result(place) for place in behind])
        has_more = len(behind) == operation.max_rejections
        return ClearingStep(cleared, search.damaged if has_more else ChunkPlace(upload + 1, 0))

    def count_clearable(self, account_id: str, event_ids: Sequence[str], *, max_results: int) -> int:
        """How many events, from the first on, have together no more results than that."""
        left = max_results
        for number, event_id in enumerate(event_ids):
            left -= len(self._with_ids(account_id, [event_id], limit=left + 1))
            if left < 0:
                return number
        return len(event_ids)

    def clear_excess(self, operation: EraseEvents, event_ids: Sequence[str]) -> int:
        """How many events a step can erase with all their results; if not even the first, clears some."""
        limit = operation.max_results
        clearable = self.count_clearable(operation.account_id, event_ids, max_results=limit)
        if event_ids and not clearable:
            self.clear_ids(operation.account_id, event_ids[:1], limit=limit)
        return clearable

    def has_results(self, account_id: str, event_ids: Sequence[str]) -> bool:
        """Whether there are results with some event ids, whatever their outcomes."""
        return bool(self._with_ids(account_id, event_ids, limit=1))

    def clear_ids(self, account_id: str, event_ids: Sequence[str], *, limit: int = _ALL) -> int:
        """Clears results with some event ids; returns the number of those rejected."""
        found = self._with_ids(account_id, event_ids, limit=limit)
        for place, _, _, error in found:
            self._clear(place, error)
        rejected = [place for place, _, outcome, _ in found if outcome == Outcome.REJECTED]
        self._remove_subjects(rejected)
        return len(rejected)

    def _with_ids(
        self, account_id: str, event_ids: Sequence[str], *, limit: int = _ALL
    ) -> list[tuple[RejectionPlace, str, int, bytes]]:
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT r.upload, r.chunk_sequence, r.event_index, r.event_id, r.outcome, r.error"
            " FROM json_each(?) AS wanted"
            " CROSS JOIN upload_results AS r INDEXED BY upload_results_by_event ON r.event_id = wanted.value"
            " JOIN uploads AS u ON u.number = r.upload WHERE u.account_id = ? LIMIT ?",
            (json.dumps(event_ids), account_id, limit),
        )
        return [
            (RejectionPlace(*place), event_id, outcome, error) for *place, event_id, outcome, error in rows
        ]

    def _clear_result(self, place: RejectionPlace) -> bool:
        """Clears a result; false if it was cleared before."""
        row: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT error FROM upload_results WHERE (upload, chunk_sequence, event_index) = (?, ?, ?)"
            " AND event_id <> ''",
            place,
        ).fetchone()
        if row is None:
            return False
        self._clear(place, row[0])
        return True

    def _clear(self, place: RejectionPlace, error: bytes) -> None:
        self._connection.execute(
            "UPDATE upload_results SET event_id = '', error = ?"
            " WHERE (upload, chunk_sequence, event_index) = (?, ?, ?)",
            (_reduced(error), *place),
        )

    def _remove_subjects(self, places: Iterable[RejectionPlace]) -> None:
        by_chunk: defaultdict[ChunkPlace, set[int]] = defaultdict(set)
        for upload, sequence, index in places:
            by_chunk[ChunkPlace(upload, sequence)].add(index)
        for chunk, indexes in by_chunk.items():
            if chunk not in self.damaged:
                self._subjects.remove(chunk, indexes)


def erasable_subjects(event: v1.Event) -> list[Subject]:
    """The subjects of an event that may be invalid, without ids that are too long for any erasure."""
    named = subjects_of(event)
    if sum([len(value) for _, value in named]) <= limits.MAX_TEXT_CHARACTERS:
        return named
    return [each for each in named if len(each.value) <= limits.MAX_TEXT_CHARACTERS]


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


@lru_cache(maxsize=256)
def stored_error(error: bytes) -> bytes:
    """A serialized `EventError` without keys of maps, and without a message made of its violations."""
    stored = v1.EventError.FromString(error)
    if not stored.violations:
        return error
    has_keys = b'["' in error
    if not has_keys and stored.message != _message_of(stored):
        return error
    stored.message = ""
    if has_keys:
        for violation in stored.violations:
            violation.field = _MAP_KEY.sub('["…"]', violation.field)
    return stored.SerializeToString()


def restored_error(stored: bytes) -> bytes:
    """A serialized `EventError` that was stored, with its message."""
    error = v1.EventError.FromString(stored)
    if error.message or not error.violations:
        return stored
    error.message = _message_of(error)
    return error.SerializeToString()


def _message_of(error: v1.EventError) -> str:
    first = error.violations[0]
    return ": ".join(filter(None, (first.field, first.description)))


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
