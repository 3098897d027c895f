"""Stored data, and messages of a log, that are damaged."""

from __future__ import annotations

from engagement_server.errors.base import DataLossError, EngagementError


class DataDamagedError(DataLossError):
    """Stored data is damaged, and there is no other to answer with.

    The metadata of a read of events say where: `cursor` is that of the first damaged event. A read goes on
    behind the damage with `resumeCursor` or `nextPageToken`.
    """

    reason = "DATA_DAMAGED"

    def __init__(self, **position: str) -> None:
        where = f" at cursor {position['cursor']}" if "cursor" in position else ""
        super().__init__(
            f"stored data is damaged{where}; the operator of the server can check its files", **position
        )


class LogDamagedError(DataLossError):
    """A node refuses a partition, whose log or view is damaged from a message on, until it is repaired."""

    reason = "LOG_DAMAGED"

    def __init__(self, *, log: str, sequence: int, cause: str) -> None:
        super().__init__(
            f"this node refuses the accounts of {log}, which may be wrong from message {sequence} on:"
            f" {cause}",
            log=log,
            sequence=sequence,
            cause=cause,
        )


class DamagedEventsError(EngagementError):
    """Events in a range of positions cannot be read; those around them may be fine. Callers never see it."""

    def __init__(self, first_position: int, last_position: int) -> None:
        super().__init__(f"events from position {first_position} to {last_position} are damaged")
        self.first_position = first_position
        self.last_position = last_position
