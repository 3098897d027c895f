"""What is left of the forgotten: salted hashes of the ids of erased events and of suppressed subjects.

The salt never leaves the store, so that nobody who sees the hashes can try ids against them.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.model import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

_HASH_BYTES = 16


class Forgotten:
    """Works inside the transactions of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        ((salt,),) = connection.execute("SELECT value FROM settings WHERE name = 'erasure_salt'")
        self._salt = bytes(salt)

    def find_erased(self, account: int, event_ids: Sequence[str]) -> list[str]:
        """Those of the ids whose events were erased."""
        if not self._has_any("erased_ids", account):
            return []
        hashes = {self._hash_event_id(account, event_id): event_id for event_id in event_ids}
        return [hashes[found] for found in self._find("erased_ids", account, hashes)]

    def remember_erased(self, account: int, event_ids: Iterable[str]) -> None:
        """Keeps the hashes of ids whose events are erased."""
        self._connection.executemany(
            "INSERT INTO erased_ids VALUES (?, ?) ON CONFLICT DO NOTHING",
            sorted((account, self._hash_event_id(account, event_id)) for event_id in event_ids),
        )

    def has_suppressions(self, account: int) -> bool:
        """Whether any subject of the account is suppressed."""
        return self._has_any("suppressions", account)

    def find_suppressed(self, account: int, subjects: Iterable[Subject]) -> set[Subject]:
        """Those of the subjects that are suppressed."""
        hashes = {self.hash_subject(account, subject): subject for subject in subjects}
        return {hashes[found] for found in self._find("suppressions", account, hashes)}

    def is_suppressed(self, account: int, subject_hash: bytes) -> bool:
        """Whether the subject with this hash is suppressed."""
        return bool(self._find("suppressions", account, [subject_hash]))

    def suppress(self, account: int, subject_hash: bytes) -> None:
        """Keeps later events of a subject out."""
        self._connection.execute(
            "INSERT INTO suppressions VALUES (?, ?) ON CONFLICT DO NOTHING", (account, subject_hash)
        )

    def lift(self, account: int, subject_hash: bytes) -> int:
        """Lets events of a subject in again; 0 where it was not suppressed."""
        self._connection.execute(
            "DELETE FROM suppressions WHERE account = ? AND hash = ?", (account, subject_hash)
        )
        return self._connection.changes()

    def hash_subject(self, account: int, subject: Subject) -> bytes:
        """The hash that stands for a subject."""
        return self._hash(b"subject", f"{account} {subject.kind} {subject.value}")

    def _hash_event_id(self, account: int, event_id: str) -> bytes:
        return self._hash(b"event", f"{account} {event_id}")

    def _hash(self, kind: bytes, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES, key=self._salt, person=kind).digest()

    def _has_any(self, table: str, account: int) -> bool:
        statement = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE account = ?)"  # noqa: S608  # a constant
        ((has_any,),) = self._connection.execute(statement, (account,))
        return bool(has_any)

    def _find(self, table: str, account: int, hashes: Iterable[bytes]) -> list[bytes]:
        rows = self._connection.execute(
            f"SELECT hash FROM json_each(?) CROSS JOIN {table}"  # noqa: S608  # a constant
            " ON account = ? AND hash = unhex(json_each.value)",
            (json.dumps([each.hex() for each in hashes]), account),
        )
        return [bytes(found) for (found,) in rows]


def subjects_of(event: v1.Event) -> list[Subject]:
    """Everybody whom an event is about."""
    named = (
        (v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, event.consumer_id),
        (v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID, event.customer_info.customer_id),
        (v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID, event.conversation_id),
    )
    return [Subject(kind, value) for kind, value in named if value]
