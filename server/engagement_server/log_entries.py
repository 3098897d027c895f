"""The entries of a replicated log, as views apply them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from engagement_server.operations import Commit


class DigestVote(NamedTuple):
    """What one view has applied up to a message of the log, as a digest."""

    sequence: int
    digest: bytes
    voter: str
    """Identifies the view."""


class SkipList(NamedTuple):
    """The messages that every view skips, by decision of an operator."""

    sequences: Sequence[int]


class LogEntry(NamedTuple):
    """An entry of a replicated log, as views apply it."""

    sequence: int
    """Its sequence in the log, from 1."""
    message_id: str
    publisher: str
    """Identifies the process that published it; never reused."""
    number: int
    """Increases with every commit of the publisher."""
    commit: Commit | None
    """None if it does not change a view."""
    checksum: int = 0
    """Of the message; 0 if it is skipped."""
    note: DigestVote | SkipList | None = None
    """Of an entry about the log itself."""
    is_skipped: bool = False
