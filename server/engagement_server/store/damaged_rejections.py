"""Clears rejected events although the hashes of their subjects are damaged, so that erasures go on.

It is unknown whom the rejected events behind the damage are about, so all those of the upload are cleared.
The hashes stay where they are: changing rows could need the damaged page.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement_server.store.checksums import connect, is_damage
from engagement_server.store.rejection_rows import RejectionRows
from engagement_server.store.rejection_subjects import (
    ChunkPlace,
    RejectionPlace,
    RejectionSubjects,
    Work,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engagement_server.model import Subject
    from engagement_server.operations import EraseEvents


class DamagedSearch(NamedTuple):
    """A step of a search that has met damage."""

    found: Collection[RejectionPlace]
    """Events about the subjects, before the damage."""
    damaged: ChunkPlace
    """The upload with the damage, and its last chunk before that."""


def find_damage(
    path: str, operation: EraseEvents, subjects: Iterable[Subject], *, after: ChunkPlace
) -> DamagedSearch | None:
    """Repeats a step of an erasure up to the damage that it met; None: it met that elsewhere.

    Raises apsw.Error.
    """
    with closing(connect(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        rows = RejectionSubjects(connection)
        sought = rows.sought(operation.account_id, subjects)
        found: set[RejectionPlace] = set()
        place = after
        for _ in range(Work(operation.max_compared).max_rows):
            try:
                step = rows.search(sought, Work(1), after=place)  # one chunk
            except apsw.Error as error:
                upload = rows.first_upload(sought.account_id, place.upload)
                if not is_damage(error) or upload is None:
                    raise
                sequence = place.sequence if upload == place.upload else 0
                return DamagedSearch(found, ChunkPlace(upload, sequence))
            found.update(step.found)
            if step.through is None:
                return None
            place = step.through
    return None


def damaged_chunks(path: str, account_id: str, event_id: str) -> Collection[ChunkPlace]:
    """The chunks whose hashes are damaged, of the rejected events with an id. Raises apsw.Error."""
    with closing(connect(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        places = RejectionRows(connection).with_ids(account_id, [event_id])
        chunks = {ChunkPlace(place.upload, place.chunk_sequence) for place in places}
        return {chunk for chunk in chunks if _is_damaged(connection, chunk)}


def _is_damaged(connection: apsw.Connection, chunk: ChunkPlace) -> bool:
    try:
        connection.execute("SELECT hashes FROM rejection_subjects WHERE chunk = ?", (chunk.key,)).fetchall()
    except apsw.Error as error:
        if not is_damage(error):
            raise
        return True
    return False
