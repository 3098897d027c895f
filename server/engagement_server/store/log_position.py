"""The position of a view in its log, and the publishers whose commits it has applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import apsw

    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import ChangeEpoch


# Each write takes a page of the write-ahead log, which a small commit would notice.
_MARK_INTERVAL_MS = 60_000


class LogPosition(NamedTuple):
    """The last message of the log that a view has applied."""

    sequence: int = 0
    """0: none yet."""
    message_id: str = ""
    time_ms: int = 0
    """The time of the latest commit."""


def read_position(connection: apsw.Connection) -> LogPosition:
    """The position of a view; before the first message if the store is its own log."""
    row = connection.execute("SELECT sequence, message_id, time_ms FROM log_position").fetchone()
    return LogPosition() if row is None else LogPosition(*row)


def read_digest(connection: apsw.Connection) -> str:
    """The digest of a view at its position, in hexadecimal digits; empty before the first message."""
    row = connection.execute("SELECT hex(digest) FROM log_position WHERE sequence > 0").fetchone()
    return "" if row is None else str(row[0]).lower()


class PositionRows:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._marked_ms = 0

    def mark_time(self, time_ms: int) -> None:
        """Keeps the time of a commit of a store that is its own log, at most once a minute of its clock."""
        if abs(time_ms - self._marked_ms) >= _MARK_INTERVAL_MS:
            self._connection.execute("DELETE FROM log_position")
            self._connection.execute("INSERT INTO log_position VALUES (0, '', ?, x'')", (time_ms,))
            self._marked_ms = time_ms

    def is_applied(self, entry: LogEntry) -> bool:
        """Whether this commit or a later one of its publisher has been applied."""
        row = self._connection.execute(
            "SELECT last_number FROM publishers WHERE publisher = ?", (entry.publisher,)
        ).fetchone()
        return row is not None and int(row[0]) >= entry.number

    def advance(self, entry: LogEntry, *, time_ms: int, digest: bytes) -> None:
        """Moves the position to an entry, up to which the view has this digest."""
        self._connection.execute("DELETE FROM log_position")
        self._connection.execute(
            "INSERT INTO log_position VALUES (?, ?, ?, ?)",
            (entry.sequence, entry.message_id, time_ms, digest),
        )

    def mark_applied(self, entry: LogEntry, *, time_ms: int) -> None:
        """Records that a commit has been applied."""
        self._connection.execute(
            "INSERT INTO publishers VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET last_number = excluded.last_number, time_ms = excluded.time_ms",
            (entry.publisher, entry.number, time_ms),
        )

    def change_epoch(self, operation: ChangeEpoch) -> int:
        """Changes the epoch of the log; returns 0 if it is not the known one any more."""
        self._connection.execute(
            "UPDATE settings SET value = ? WHERE name = 'log_epoch' AND value = ?",
            (operation.fresh, operation.known),
        )
        return self._connection.changes()

    def expire_publishers(self, *, silent_since_ms: int) -> None:
        """Expires publishers that are silent since a time: none of their commits is in flight any more."""
        self._connection.execute("DELETE FROM publishers WHERE time_ms < ?", (silent_since_ms,))
