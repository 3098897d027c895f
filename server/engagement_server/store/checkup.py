"""Checks everything in a store that nothing has open, and changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from google.protobuf.message import DecodeError

from engagement import v1
from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS
from engagement_server.store.checksums import (
    FILE_LAYER,
    RESERVED_BYTES,
    is_damage,
    load_file_layer,
    unchecked,
)
from engagement_server.store.damage import damaged_after
from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.fold import caseless
from engagement_server.store.index_sums import IndexSums
from engagement_server.store.page_file import PAGE_BYTES, PageFile
from engagement_server.store.places import Places
from engagement_server.store.schema import APPLICATION_ID, SCHEMA_VERSION
from engagement_server.store.search import indexed_texts
from engagement_server.store.wal_tail import find_wal_damage

_MAX_FINDINGS = 100
"""Of one kind; the rest is counted."""
_HASH_BYTES = 16
_END = 1 << 62
_RESTORE = (
    "restore a backup, or with a replicated log move the folder away: an empty one is filled from the log"
)
_REMEDIES = {
    "file": _RESTORE,
    "log": "restore a backup, or give up the commits from there on with the command that the start prints",
    "page": _RESTORE,
    "event": "read on without them (--skip-damaged); erasures and expiry remove them. Or restore a backup",
    "index": "run `engagement check --discard-index FOLDER`; the next start rebuilds it from the events",
    "derived": _RESTORE,
}

Progress = Callable[[str, int, int], None]
"""Called with what is being checked, how much of it is done, and how much there is."""


class Finding(NamedTuple):
    """Something that is not as it was written, or does not fit together."""

    kind: str
    place: str
    message: str
    """Goes on where the place ends."""

    @property
    def remedy(self) -> str:
        """What can be done about it."""
        return _REMEDIES[self.kind]


class Report(NamedTuple):
    """The result for one file."""

    path: Path
    size_bytes: int
    events: int
    accounts: int
    findings: list[Finding]
    is_cut: bool
    """Whether there are more findings than are listed."""


def check_store(path: Path, *, on_progress: Progress) -> Report:
    """Reads all of a store. Memory does not grow with it. Raises OSError."""
    checkup = _Checkup(path, on_progress)
    try:
        checkup.run()
    except apsw.Error as error:
        checkup.find("file", str(path), f"cannot be read: {error}")
    return Report(
        path, os.stat(path).st_size, checkup.events, checkup.accounts, checkup.findings, checkup.is_cut
    )


class _Checkup:
    def __init__(self, path: Path, on_progress: Progress) -> None:
        self._path = path
        self._on_progress = on_progress
        self._counts: dict[str, int] = {}
        self._places = Places()
        self.findings: list[Finding] = []
        self.is_cut = False
        self.events = 0
        self.accounts = 0

    def find(self, kind: str, place: str, message: str) -> None:
        """Adds a finding, up to a limit for each kind."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= _MAX_FINDINGS:
            self.findings.append(Finding(kind, place, message))
        else:
            self.is_cut = True

    def run(self) -> None:
        with self._path.open("rb") as file:
            header = file.read(100)
        if not header.startswith(b"SQLite format 3\0"):
            self.find("file", str(self._path), "is not an SQLite file, or its header is damaged")
            return
        damage = find_wal_damage(self._path)
        if damage is not None:
            self.find("log", str(damage.path), str(damage))
        if header[20] != RESERVED_BYTES:
            self.find("file", str(self._path), "has a damaged header, or is not a store of this version")
            return
        damaged = self._check_pages()
        if damaged:
            self._name_pages(damaged)
        with contextlib.closing(_open(self._path)) as connection:
            if self._check_header(connection):
                self._places = Places(connection)
                self._check_contents(connection, has_damage=bool(damaged))

    def _check_pages(self) -> list[int]:
        damaged: list[int] = []
        with contextlib.closing(PageFile(str(self._path), is_written=False)) as pages:
            for number, start in enumerate(pages.damaged()):
                if start is not None and len(damaged) <= _MAX_FINDINGS:
                    damaged.append(start // PAGE_BYTES + 1)
                if number % 1_000 == 0:
                    self._on_progress("pages", number * PAGE_BYTES, pages.size_bytes)
        return damaged

    def _name_pages(self, damaged: list[int]) -> None:
        owners: dict[int, str] = {}
        # A connection of its own, which keeps damaged pages in its cache.
        with (
            contextlib.suppress(apsw.Error),
            contextlib.closing(_open(self._path)) as connection,
            unchecked(connection),
        ):
            for name, page in connection.execute("SELECT name, pageno FROM dbstat"):
                if page in damaged:
                    owners[int(page)] = str(name)
        for page in damaged:
            owner = owners.get(page, "")
            kind = "index" if owner.startswith("search_") else "page"
            self.find(kind, f"page {page} of {owner or 'no table'}", "is not as it was written")

    def _check_header(self, connection: apsw.Connection) -> bool:
        if connection.pragma("application_id") != APPLICATION_ID:
            self.find("file", str(self._path), "is a file of another program")
            return False
        version = connection.pragma("user_version")
        if version != SCHEMA_VERSION:
            self.find(
                "file", str(self._path), f"has schema version {version}, which this version cannot check"
            )
            return False
        return True

    def _check_contents(self, connection: apsw.Connection, *, has_damage: bool) -> None:
        if not has_damage:
            self._on_progress("structure", 0, 1)
            for (message,) in connection.execute("PRAGMA integrity_check(100)"):
                if message != "ok":
                    self.find("page", "the structure of the file", f"is wrong: {message}")
        sums = IndexSums()
        checks: list[tuple[str, Callable[[apsw.Connection], None]]] = [
            ("the events", lambda each: self._check_events(each, sums)),
            ("the search index", lambda each: self._check_index(each, sums)),
            ("the time bounds", self._check_blocks),
            ("the uploads", self._check_uploads),
            ("the entities", self._check_entities),
            ("the hashes", self._check_hashes),
            ("the erasures", self._check_erasures),
            ("the profiles", self._check_profiles),
        ]
        for name, check in checks:
            try:
                check(connection)
            except apsw.Error as error:
                if not is_damage(error):
                    raise
                self.find("page", name, "cannot be checked completely")

    def _check_events(self, connection: apsw.Connection, sums: IndexSums) -> None:
        bounds, counts = {}, {}
        for number, expired, last, events in _rows(
            connection, "SELECT number, expired_sequence, last_sequence, events FROM accounts"
        ):
            bounds[int(number)], counts[int(number)] = (int(expired), int(last)), int(events)
        self.accounts = len(bounds)
        total = sum(last - expired for expired, last in bounds.values())
        found: Counter[int] = Counter()
        for row in self._events(connection):
            self.events += 1
            found[row[1]] += 1
            if self.events % 1_000 == 0:
                self._on_progress("events", self.events, total)
            self._check_event(row, bounds, sums)
        if "event" in self._counts:
            return  # those that cannot be read count as well
        for number, events in counts.items():
            if found[number] != events:
                self.find("derived", f"account number {number}", f"has {found[number]} events, not {events}")

    def _events(self, connection: apsw.Connection) -> Iterator[tuple[Any, ...]]:
        """All events that can be read; the ranges in between are findings."""
        after = 0
        while after < _END - 1:  # beyond, a damaged root would be met again and again
            try:
                for row in _rows(
                    connection, "SELECT * FROM events WHERE position >= ? ORDER BY 1", after + 1
                ):
                    after = row[0]
                    yield row
            except apsw.Error as error:
                if not is_damage(error):
                    raise
            else:
                return
            damage = damaged_after(connection, after, _END)
            for place in self._places.events(damage.first_position, damage.last_position):
                self.find("event", place, "cannot be read")
            after = damage.last_position

    def _check_event(self, row: tuple[Any, ...], bounds: dict[int, tuple[int, int]], sums: IndexSums) -> None:
        position, account, event_id, attribute_set, authenticated, server_time_ms, _, payload, *_ = row
        place = f"event {event_id!r} of {self._places.account(account)}"
        expired, last = bounds.get(account, (0, 0))
        sequence = position & (1 << SEQUENCE_BITS) - 1
        if position >> SEQUENCE_BITS != account or not expired < sequence <= last:
            self.find("event", place, "is outside the log of its account")
        try:
            event = v1.Event.FromString(payload)
        except DecodeError:
            self.find("event", place, "is not an event of this contract")
            return
        sums.add_event(position, indexed_texts(event))
        stored = event.customer_info if event.HasField("customer_info") else event.personal_info
        is_personal = event.HasField("personal_info")
        if (event.event_id, event.authenticated) != (event_id, bool(authenticated)) or (
            attribute_set != 1 + is_personal
            or (stored.HasField("server_time_stamp") and stored.server_time_stamp != server_time_ms)
        ):
            self.find("event", place, "has columns that do not match its content")

    def _check_index(self, connection: apsw.Connection, sums: IndexSums) -> None:
        stored = connection.execute("SELECT value FROM settings WHERE name = 'search_fingerprint'").fetchone()
        if stored is None or stored[0] != FINGERPRINT:
            return  # of another version or not complete: the next start rebuilds it
        if "event" in self._counts:
            return  # it has words of events that cannot be read
        for _ in sums.subtract_index(connection):
            self._on_progress("search index", 0, 1)
        for block in sums.differing_blocks():
            self._find_in_block("index", block, "are indexed under other words")

    def _check_blocks(self, connection: apsw.Connection) -> None:
        for block, is_bounded in _rows(
            connection,
            "SELECT e.block, min_ms <= low AND max_ms >= high"
            " AND min_receive_ms <= low_receive AND max_receive_ms >= high_receive FROM"
            " (SELECT position >> ? AS block, min(server_time_ms) AS low, max(server_time_ms) AS high,"
            " min(receive_time_ms) AS low_receive, max(receive_time_ms) AS high_receive"
            " FROM events GROUP BY 1) AS e LEFT JOIN blocks USING (block)",
            BLOCK_BITS,
        ):
            if not is_bounded:  # or has no bounds
                self._find_in_block("derived", block, "are outside their time bounds")

    def _find_in_block(self, kind: str, block: int, message: str) -> None:
        first = block << BLOCK_BITS
        for place in self._places.events(first, first + (1 << BLOCK_BITS) - 1):
            self.find(kind, place, message)

    def _check_uploads(self, connection: apsw.Connection) -> None:
        for upload_id, *tally in _rows(
            connection,
            "SELECT u.upload_id, u.duplicate, u.rejected, u.suppressed, total(r.outcome = 2),"
            " total(r.outcome = 3), total(r.outcome = 4) FROM uploads AS u LEFT JOIN upload_results AS r"
            " ON r.upload = u.number GROUP BY u.number",
        ):
            if tally[:3] != tally[3:]:
                self.find("derived", f"upload {upload_id!r}", "has a tally that does not match its results")

    def _check_entities(self, connection: apsw.Connection) -> None:
        for number, name, folded in _rows(connection, "SELECT number, name, folded FROM entities"):
            if caseless(name) != folded:
                self.find("derived", f"entity {number}", "is filed under another name")

    def _check_hashes(self, connection: apsw.Connection) -> None:
        for table in ("tombstones", "suppressions"):
            for (count,) in _rows(
                connection,
                f"SELECT count(*) FROM {table} WHERE length(hash) <> ? OR account NOT IN"  # noqa: S608
                " (SELECT number FROM accounts)",
                _HASH_BYTES,
            ):
                if count:
                    self.find("derived", f"the table {table}", f"has rows of no account: {count}")

    def _check_erasures(self, connection: apsw.Connection) -> None:
        for (erasure_id,) in _rows(
            connection,
            "SELECT DISTINCT erasure_id FROM erasures AS e"
            " LEFT JOIN erasure_subjects AS s ON s.erasure = e.number"
            " WHERE s.hash IS NULL OR length(s.hash) <> ? OR e.account NOT IN (SELECT number FROM accounts)"
            " OR (e.complete_time_ms IS NOT NULL AND s.value IS NOT NULL)",
            _HASH_BYTES,
        ):
            self.find("derived", f"erasure {erasure_id!r}", "has an impossible state")

    def _check_profiles(self, connection: apsw.Connection) -> None:
        for account, merged, replaced in _rows(connection, "SELECT account, merged, replaced FROM profiles"):
            try:
                for snapshot in (merged, replaced):
                    v1.Profile.FromString(snapshot)
            except DecodeError:
                self.find("derived", f"a profile of {self._places.account(account)}", "cannot be read")


def _rows(connection: apsw.Connection, statement: str, *arguments: int) -> Iterator[Any]:
    """Rows of a query; Any: each column has its own type."""
    yield from connection.execute(statement, arguments)


def _open(path: Path) -> apsw.Connection:
    """Opens a store without leaving a trace, unless its write-ahead log has to be read."""
    load_file_layer()
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=FILE_LAYER)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    else:
        uri = f"{path.resolve().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(uri, flags=flags, vfs=FILE_LAYER)
    connection.pragma("temp_store", "memory")
    return connection
