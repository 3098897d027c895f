"""Requests for data that is damaged: repeating them does not help until an operator has repaired it."""

from __future__ import annotations

from engagement_server.errors.base import DataLossError


class LogDamagedError(DataLossError):
    """A node refuses a partition, whose log or view is damaged from a message on."""

    reason = "LOG_DAMAGED"

    def __init__(self, *, log: str, sequence: int, cause: str) -> None:
        super().__init__(
            f"this node refuses the accounts of {log}, which may be wrong from message {sequence} on:"
            f" {cause}",
            log=log,
            sequence=sequence,
            cause=cause,
        )
