"""What writes audit lines, as the rest of the server sees it: in this process, or by way of another."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple, Protocol

from engagement_server.access.audit_lines import Line
from engagement_server.access.audit_subjects import subject_hash
from engagement_server.errors import StoreUnavailableError

MAX_SUBJECTS: Final = 100
"""Ids that a line names."""


class Subjects(NamedTuple):
    """The persons that a line names."""

    hashes: tuple[str, ...] = ()
    more: int = 0
    """How many there was no room for."""


class AuditSettings(NamedTuple):
    """What all processes of a server need to know of its audit log."""

    kinds: frozenset[str]
    """What it holds."""
    key: bytes
    """Of the hashes."""

    def subjects(self, account_id: str, ids: Iterable[str]) -> Subjects:
        """Some ids of an account, as a line names them."""
        rest = iter(dict.fromkeys(ids))
        named = islice(rest, MAX_SUBJECTS)
        hashes = tuple(subject_hash(self.key, account_id=account_id, subject_id=each) for each in named)
        return Subjects(hashes, more=sum(1 for _ in rest))


def audit_unavailable() -> StoreUnavailableError:
    """The error of a call that must not go on without its line."""
    return StoreUnavailableError(
        "audit log",
        message="the server cannot write its audit log, so nothing was erased or lifted; retry with the same"
        " request",
    )


class Auditor(Protocol):
    """Takes the lines of one process. Lines of a kind that is switched off are dropped."""

    settings: AuditSettings

    @property
    def problem(self) -> str:
        """Why lines cannot be written; empty if they can."""

    def note(self, line: Line) -> None:
        """Writes a line soon. One that cannot be written is counted as lost."""

    async def record(self, line: Line) -> None:
        """Returns once a line is on disk. Raises StoreUnavailableError if it cannot be."""
