"""Reads the states of erasures, which never name their subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement_server.errors import ErasureNotFoundError
from engagement_server.model import ErasureState
from engagement_server.store.tombstones import Suppressions

if TYPE_CHECKING:
    import apsw

_COLUMNS = (
    "account, subject_hash, number, erasure_id, request_id, kind, erased_events, create_time_ms,"
    " complete_time_ms, subject IS NOT NULL"
)


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

    def latest(self, account_id: str, *, before_number: int, max_erasures: int) -> list[ErasureState]:
        """The erasures of an account below a number, latest first."""
        return self._read("number < ? ORDER BY number DESC LIMIT ?", account_id, before_number, max_erasures)

    def running(self) -> list[tuple[str, str]]:
        """Account ids and erasure ids of all erasures that are not complete, oldest first."""
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT a.account_id, e.erasure_id FROM erasures AS e JOIN accounts AS a ON a.number = e.account"
            " WHERE e.complete_time_ms IS NULL ORDER BY e.number"
        )
        return list(rows)

    def _read(self, condition: str, account_id: str, *arguments: apsw.SQLiteValue) -> list[ErasureState]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM erasures"  # noqa: S608  # constants of this class
            f" WHERE account = (SELECT number FROM accounts WHERE account_id = ?) AND {condition}",
            (account_id, *arguments),
        )
        return [self._state(*row) for row in rows]

    def _state(self, account: int, subject_hash: bytes, *columns: Any) -> ErasureState:  # Any: as in SQL
        number, erasure_id, request_id, kind, erased_events, create_time_ms, complete_time_ms, is_left = (
            columns
        )
        return ErasureState(
            number=number,
            erasure_id=erasure_id,
            request_id=request_id,
            subject_kind=kind,
            erased_events=erased_events,
            is_suppressing=self._suppressions.has(account, subject_hash),
            create_time_ms=create_time_ms,
            complete_time_ms=complete_time_ms,
            has_events_left=bool(is_left),
        )
