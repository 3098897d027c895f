"""Reads the states of erasures and suppressions, which never name their subjects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement import v1
from engagement_server.errors import ErasureNotFoundError
from engagement_server.model import ErasureState, Subject, Suppression
from engagement_server.store.account_rows import NO_ACCOUNT, find_account
from engagement_server.store.rejection_subjects import ChunkPlace
from engagement_server.store.tombstones import Suppressions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

MAX_SUPPRESSIONS = 100
"""Limit on the suppressions of one subject that are listed."""
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
_COLUMNS = (
    "number, erasure_id, request_id, erased_events, cleared_rejections, create_time_ms, complete_time_ms,"
    # The subjects in their order, which an aggregate alone would not promise.
    " (SELECT json_group_array(kind) FROM (SELECT kind FROM erasure_subjects WHERE erasure = e.number"
    " ORDER BY number)),"
    " EXISTS (SELECT 1 FROM erasure_subjects WHERE erasure = e.number AND value IS NOT NULL),"
    " EXISTS (SELECT 1 FROM erasure_subjects AS s JOIN suppressions AS kept USING (hash)"
    " WHERE s.erasure = e.number AND kept.account = e.account),"
    " (SELECT max(lift_time_ms) FROM erasure_subjects WHERE erasure = e.number)"
)


class RunningErasure(NamedTuple):
    """The subject that an erasure is at; without one, nothing is left to erase."""

    number: int
    through_position: int
    subject: Subject | None
    subject_number: int = 0
    progress: int = 0
    """The position through which the subject's events are erased."""
    cleared_through: ChunkPlace | None = None
    """The chunk through which rejected events are cleared; None: all are."""


@dataclass(frozen=True, slots=True)
class ErasureQuery:
    """Which erasures of an account to list."""

    account_id: str
    max_erasures: int
    before_number: int
    request_id: str = ""
    """Of this request; empty: of any."""
    named_id: str = ""
    """Of requests that named this id, whatever its kind; empty: all."""


class ErasureStates:
    """Reads through the connection of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._suppressions = Suppressions(connection)

    def find(self, account_id: str, erasure_id: str) -> ErasureState:
        """One erasure. Raises ErasureNotFoundError."""
        found = self._read("erasure_id = ?", account_id, erasure_id)
        if not found:
            raise ErasureNotFoundError(erasure_id)
        return found[0]

    def select(self, query: ErasureQuery) -> list[ErasureState]:
        """Erasures of an account, latest first."""
        condition = ""
        arguments: list[apsw.SQLiteValue] = []
        if query.request_id:
            condition = " AND request_id = ?"
            arguments.append(query.request_id)
        if query.named_id:
            condition += (
                " AND number IN (SELECT erasure FROM erasure_subjects WHERE hash IN"
                " (SELECT unhex(value) FROM json_each(?)))"
            )
            arguments.append(json.dumps(self._hashes(query.account_id, query.named_id)))
        return self._read(
            f"number < ?{condition} ORDER BY number DESC LIMIT ?",
            query.account_id,
            *(query.before_number, *arguments, query.max_erasures),
        )

    def _hashes(self, account_id: str, named_id: str) -> Sequence[str]:
        """The hashes of an id, whatever it names."""
        account = find_account(self._connection, account_id) or NO_ACCOUNT
        return [
            self._suppressions.hash_subject(account, Subject(kind, named_id)).hex()
            for kind in v1.SubjectKind.values()
        ]

    def running_step(self, erasure_id: str, account: int) -> RunningErasure:
        """What an erasure has to do next. Raises ErasureNotFoundError."""
        row: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT e.number, e.through_position, e.cleared_upload, e.cleared_chunk,"
            " s.number, s.kind, s.value, s.progress FROM erasures AS e"
            " LEFT JOIN erasure_subjects AS s ON s.erasure = e.number AND s.value IS NOT NULL"
            " WHERE e.account = ? AND e.erasure_id = ? ORDER BY s.number LIMIT 1",
            (account, erasure_id),
        ).fetchone()
        if row is None:
            raise ErasureNotFoundError(erasure_id)
        number, through_position, upload, chunk, subject_number, kind, value, progress = row
        if value is None:
            return RunningErasure(number, through_position, None)
        cleared_through = None if upload is None else ChunkPlace(upload, chunk)
        subject = Subject(kind, value)
        return RunningErasure(number, through_position, subject, subject_number, progress, cleared_through)

    def people(self, erasure: int) -> list[Subject]:
        """The subjects of an erasure that has erased nothing yet, without single events."""
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT kind, value FROM erasure_subjects WHERE erasure = ? AND kind <> ?", (erasure, _EVENT_ID)
        )
        return [Subject(*row) for row in rows]

    def running(self) -> list[tuple[str, str]]:
        """Account ids and erasure ids of all erasures that are not complete, oldest first."""
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT a.account_id, e.erasure_id FROM erasures AS e JOIN accounts AS a ON a.number = e.account"
            " WHERE e.complete_time_ms IS NULL ORDER BY e.number"
        )
        return list(rows)

    def suppressions(self, account_id: str, subject: Subject) -> list[Suppression]:
        """The suppressions of a subject, latest first, at most `MAX_SUPPRESSIONS`."""
        account = find_account(self._connection, account_id)
        if account is None:
            return []
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT s.kind, e.erasure_id, e.request_id, e.create_time_ms, s.lift_time_ms"
            " FROM erasure_subjects AS s JOIN erasures AS e ON e.number = s.erasure"
            " WHERE s.hash = ? AND e.suppress ORDER BY e.number DESC LIMIT ?",
            (self._suppressions.hash_subject(account, subject), MAX_SUPPRESSIONS),
        )
        return [Suppression(*row) for row in rows]

    def _read(self, condition: str, account_id: str, *arguments: apsw.SQLiteValue) -> list[ErasureState]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM erasures AS e"  # noqa: S608  # constants of this class
            f" WHERE account = (SELECT number FROM accounts WHERE account_id = ?) AND {condition}",
            (account_id, *arguments),
        )
        return [_state(*row) for row in rows]


def _state(*columns: Any) -> ErasureState:  # Any: as in SQL
    number, erasure_id, request_id, erased, cleared, create_ms, complete_ms, *of_subjects = columns
    kinds, has_more, is_suppressing, lift_ms = of_subjects
    return ErasureState(
        number=number,
        erasure_id=erasure_id,
        request_id=request_id,
        subject_kinds=json.loads(kinds),
        erased_events=erased,
        cleared_rejections=cleared,
        is_suppressing=bool(is_suppressing),
        create_time_ms=create_ms,
        complete_time_ms=complete_ms,
        lift_time_ms=lift_ms,
        has_more=bool(has_more),
    )
