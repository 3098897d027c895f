"""Whom the rejected events of uploads are about: salted hashes, packed chunk by chunk.

No index has the hashes: its entries would cost more than all else about a rejected event. Erasures and
searches compare the hashes of an account's uploads instead, in steps of bounded work.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement_server.operations import MAX_COMPARED_HASHES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    import apsw

    from engagement_server.model import Subject

MAX_SEQUENCE = (1 << 32) - 1
"""No upload has more chunks."""
# Finding a row, or an upload without rows, takes as long as comparing so many hashes.
_ROW_COST = 100
# So does keeping an event that is found: an id may be in all of them.
_FOUND_COST = 100
_HASH_BYTES = 8
_SEQUENCE_BITS = MAX_SEQUENCE.bit_length()
_ENTRY_BYTES = _HASH_BYTES + 2
# Up to so many hashes are found faster one after the other than as members of a set.
_MAX_SEARCHES = 4


class ChunkPlace(NamedTuple):
    """A chunk of an upload, by the upload's number."""

    upload: int
    sequence: int

    @property
    def key(self) -> int:
        """The key of its row: an integer, so that looking for it reads no other row, which may be damaged."""
        return (self.upload << _SEQUENCE_BITS) + self.sequence


ORIGIN = ChunkPlace(0, 0)
"""Before all chunks."""


class RejectionPlace(NamedTuple):
    """Where the result of a rejected event is."""

    upload: int
    chunk_sequence: int
    event_index: int


class Work:
    """The work that a step may do."""

    def __init__(self, max_compared: int = MAX_COMPARED_HASHES) -> None:
        self._left = max_compared

    @property
    def is_done(self) -> bool:
        """Whether the step should end."""
        return self._left <= 0

    @property
    def max_rows(self) -> int:
        """The number of rows after which it is done."""
        return -(-self._left // _ROW_COST)

    def count_row(self, hashes: int = 0, *, found: int = 0) -> None:
        """Counts a row that was looked at, the hashes in it, and those that were found."""
        self._left -= _ROW_COST + hashes + _FOUND_COST * found


class SearchStep(NamedTuple):
    """What a step has found, in order, and where the next one continues; None: there is nothing more."""

    found: Mapping[RejectionPlace, set[Subject]]
    through: ChunkPlace | None


class RejectionSubjects:
    """Works through the connection of the caller, and writes inside its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        ((salt,),) = connection.execute("SELECT value FROM settings WHERE name = 'erasure_salt'")
        self._keyed = hashlib.blake2b(digest_size=_HASH_BYTES, key=bytes(salt), person=b"rejection")

    def add(self, account_id: str, chunk: ChunkPlace, rejected: Mapping[int, Sequence[Subject]]) -> None:
        """Notes whom the rejected events of a chunk, by index, are about."""
        copy = self._of_account(account_id).copy
        hashes: list[bytes] = []
        events: list[int] = []
        for index, subjects in sorted(rejected.items()):
            for kind, value in subjects:
                digest = copy()
                digest.update(f"{kind} {value}".encode())
                hashes.append(digest.digest())
                events.append(index)
        if hashes:
            self._connection.execute(
                "INSERT INTO rejection_subjects VALUES (?, ?)", (chunk.key, _pack(hashes, events))
            )

    def sought(self, account_id: str, subjects: Iterable[Subject]) -> Sought:
        """Some subjects of an account, to look for."""
        of_account = self._of_account(account_id)
        hashes: dict[bytes, Subject] = {}
        for subject in subjects:
            digest = of_account.copy()
            digest.update(f"{subject.kind} {subject.value}".encode())
            hashes[digest.digest()] = subject
        return Sought(account_id, hashes)

    def search(
        self, sought: Sought, work: Work, *, after: ChunkPlace = ORIGIN, max_found: int | None = None
    ) -> SearchStep:
        """Looks for rejected events about some subjects, upload by upload, until the work is done.

        It ends early before it finds more than `max_found`; the next step finds again what is still there of
        the last chunk.
        """
        found: dict[RejectionPlace, set[Subject]] = {}
        for upload in self._uploads(sought.account_id, after.upload, limit=work.max_rows):
            work.count_row()
            start = after.sequence if upload == after.upload else 0
            for sequence, entries in self.chunks(sought, work, after=ChunkPlace(upload, start)):
                chunk = ChunkPlace(upload, sequence)
                if not _add(found, chunk, entries, max_found=max_found):
                    return SearchStep(found, ChunkPlace(upload, sequence - 1))
                if work.is_done:
                    return SearchStep(found, chunk)
            if work.is_done:
                return SearchStep(found, ChunkPlace(upload + 1, 0))
        return SearchStep(found, None)

    def chunks(
        self, sought: Sought, work: Work, *, after: ChunkPlace
    ) -> Iterator[tuple[int, list[tuple[Subject, int]]]]:
        """The next chunks of an upload, by their sequences, each with the events found.

        Each event is given by a subject and its index. The caller ends when the work is done.
        """
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT chunk, hashes FROM rejection_subjects WHERE chunk > ? AND chunk < ? ORDER BY chunk",
            (after.key, ChunkPlace(after.upload + 1, 0).key),
        )
        for key, packed in rows:
            entries = sought.find(packed)
            work.count_row(len(packed) // _ENTRY_BYTES, found=len(entries))
            yield key & MAX_SEQUENCE, entries

    def first_upload(self, account_id: str, number: int) -> int | None:
        """The first upload of an account from a number on."""
        return next(self._uploads(account_id, number, limit=1), None)

    def remove(self, chunk: ChunkPlace, events: Container[int]) -> int:
        """Removes the subjects of some events of a chunk; returns 1 if no others are left, else 0."""
        row: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT hashes FROM rejection_subjects WHERE chunk = ?", (chunk.key,)
        ).fetchone()
        if row is None:
            return 0
        left = [entry for entry in _unpack(row[0]) if entry[1] not in events]
        if not left:
            self._connection.execute("DELETE FROM rejection_subjects WHERE chunk = ?", (chunk.key,))
            return 1
        hashes, indexes = zip(*left, strict=True)
        self._connection.execute(
            "UPDATE rejection_subjects SET hashes = ? WHERE chunk = ?",
            (_pack(hashes, indexes), chunk.key),
        )
        return 0

    def remove_before(self, chunk: ChunkPlace) -> int:
        """Removes the subjects in an upload's chunks before one; returns the number of rows."""
        self._connection.execute(
            "DELETE FROM rejection_subjects WHERE chunk >= ? AND chunk < ?",
            (ChunkPlace(chunk.upload, 0).key, chunk.key),
        )
        return self._connection.changes()

    def _of_account(self, account_id: str) -> hashlib.blake2b:
        # By the account's id, which has no blanks: an account that has only rejections has no number.
        digest = self._keyed.copy()
        digest.update(f"{account_id} ".encode())
        return digest

    def _uploads(self, account_id: str, first: int, *, limit: int) -> Iterator[int]:
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT number FROM uploads INDEXED BY uploads_by_account WHERE account_id = ? AND number >= ?"
            " ORDER BY number LIMIT ?",
            (account_id, first, limit),
        )
        return (number for (number,) in rows)


class Sought:
    """The hashes of subjects of one account."""

    def __init__(self, account_id: str, subjects: Mapping[bytes, Subject]) -> None:
        self.account_id = account_id
        self._subjects = subjects
        self._numbers = frozenset(int.from_bytes(each, sys.byteorder) for each in subjects)

    def find(self, packed: bytes) -> list[tuple[Subject, int]]:
        """The events among those packed that are about a subject, by index."""
        if not self._may_be_in(packed):
            return []
        return [(self._subjects[each], index) for each, index in _unpack(packed) if each in self._subjects]

    def _may_be_in(self, packed: bytes) -> bool:
        if len(self._subjects) <= _MAX_SEARCHES:
            return any(each in packed for each in self._subjects)
        hashes = memoryview(packed)[: len(packed) // _ENTRY_BYTES * _HASH_BYTES]
        return not self._numbers.isdisjoint(hashes.cast("Q"))


def _add(
    found: dict[RejectionPlace, set[Subject]],
    chunk: ChunkPlace,
    entries: Iterable[tuple[Subject, int]],
    *,
    max_found: int | None,
) -> bool:
    """Adds what a chunk holds; returns whether there was room for all of it."""
    for subject, index in entries:
        place = RejectionPlace(*chunk, index)
        if place not in found and len(found) == max_found:
            return False
        found.setdefault(place, set()).add(subject)
    return True


def _pack(hashes: Sequence[bytes], events: Sequence[int]) -> bytes:
    """All hashes, then the index of the event that each is of."""
    return b"".join(hashes) + struct.pack(f"<{len(events)}H", *events)


def _unpack(packed: bytes) -> list[tuple[bytes, int]]:
    """Each hash with the index of its event, ascending by index."""
    count = len(packed) // _ENTRY_BYTES
    events = struct.unpack_from(f"<{count}H", packed, count * _HASH_BYTES)
    hashes = (packed[start : start + _HASH_BYTES] for start in range(0, count * _HASH_BYTES, _HASH_BYTES))
    return list(zip(hashes, events, strict=True))
