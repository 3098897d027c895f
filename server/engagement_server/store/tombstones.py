"""What remains of erased events and suppressed subjects: salted hashes of their ids.

The salt never leaves the store, so the hashes alone do not allow testing ids against them.
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
# Resolving an enum value by name takes longer than reading a field.
_CONSUMER_ID = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID
_CUSTOMER_ID = v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
_CONVERSATION_ID = v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID


class SaltedHash:
    """Hashes texts of one kind with the salt of the store."""

    def __init__(self, connection: apsw.Connection, *, kind: bytes) -> None:
        self._kind = kind
        ((salt,),) = connection.execute("SELECT value FROM settings WHERE name = 'erasure_salt'")
        self._salt = bytes(salt)

    def of(self, text: str) -> bytes:
        """The hash of a text."""
        encoded = text.encode()
        return hashlib.blake2b(encoded, digest_size=_HASH_BYTES, key=self._salt, person=self._kind).digest()


class _SaltedHashes:
    """A table of hashes. Works inside the transactions of the caller."""

    def __init__(self, connection: apsw.Connection, *, table: str, kind: bytes) -> None:
        self._connection = connection
        self._table = table
        self._salted = SaltedHash(connection, kind=kind)

    def has_any(self, account: int) -> bool:
        """Whether the account has any hash."""
        statement = f"SELECT EXISTS (SELECT 1 FROM {self._table} WHERE account = ?)"  # noqa: S608  # a constant
        ((has_any,),) = self._connection.execute(statement, (account,))
        return bool(has_any)

    def _add(self, account: int, hashes: Iterable[bytes]) -> None:
        self._connection.executemany(
            f"INSERT INTO {self._table} VALUES (?, ?) ON CONFLICT DO NOTHING",  # noqa: S608  # a constant
            [(account, each) for each in sorted(hashes)],
        )

    def _find(self, account: int, hashes: Iterable[bytes]) -> list[bytes]:
        rows = self._connection.execute(
            f"SELECT hash FROM json_each(?) CROSS JOIN {self._table}"  # noqa: S608  # a constant
            " ON account = ? AND hash = unhex(json_each.value)",
            (json.dumps([each.hex() for each in hashes]), account),
        )
        return [bytes(found) for (found,) in rows]


class Tombstones(_SaltedHashes):
    """The ids of erased events."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection, table="tombstones", kind=b"event")

    def add(self, account: int, event_ids: Iterable[str]) -> None:
        """Leaves tombstones for events."""
        self._add(account, [self._hash_event_id(account, event_id) for event_id in event_ids])

    def find(self, account: int, event_ids: Sequence[str]) -> list[str]:
        """The ids that have a tombstone."""
        if not self.has_any(account):
            return []
        hashes = {self._hash_event_id(account, event_id): event_id for event_id in event_ids}
        return [hashes[found] for found in self._find(account, hashes)]

    def _hash_event_id(self, account: int, event_id: str) -> bytes:
        return self._salted.of(f"{account} {event_id}")


class Suppressions(_SaltedHashes):
    """The subjects whose new events are suppressed."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection, table="suppressions", kind=b"subject")

    def add(self, account: int, subject_hash: bytes) -> None:
        """Suppresses new events of a subject from now on."""
        self._add(account, [subject_hash])

    def find(self, account: int, subjects: Iterable[Subject]) -> set[Subject]:
        """The subjects that are suppressed."""
        hashes = {self.hash_subject(account, subject): subject for subject in subjects}
        return {hashes[found] for found in self._find(account, hashes)}

    def lift(self, account: int, subject_hash: bytes) -> int:
        """Accepts new events of a subject again; returns 0 if it was not suppressed."""
        self._connection.execute(
            "DELETE FROM suppressions WHERE account = ? AND hash = ?", (account, subject_hash)
        )
        return self._connection.changes()

    def hash_subject(self, account: int, subject: Subject) -> bytes:
        """The hash that stands for a subject."""
        return self._salted.of(f"{account} {subject.kind} {subject.value}")


def subjects_of(event: v1.Event) -> list[Subject]:
    """The subjects that an event names."""
    named = []
    if consumer_id := event.consumer_id:
        named.append(Subject(_CONSUMER_ID, consumer_id))
    if customer_id := event.customer_info.customer_id:
        named.append(Subject(_CUSTOMER_ID, customer_id))
    if conversation_id := event.conversation_id:
        named.append(Subject(_CONVERSATION_ID, conversation_id))
    return named
