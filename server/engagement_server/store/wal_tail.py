"""Notices a write-ahead log that lost acknowledged commits to damage.

After a kill SQLite recovers the log up to the first frame that is not as it was written, without a word about
the rest. That is right for a commit that a power failure cut short, because nothing of it was acknowledged.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import apsw

from engagement_server.errors import ConfigurationError

_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""The first number of a log, and the order of bytes in its checksums."""
_MASK = 0xFFFF_FFFF
_WORD_BITS = 32

Sums = tuple[int, int]
"""A checksum: two sums over words of 32 bits."""


class WalDamage(NamedTuple):
    """Commits that a recovery would lose."""

    path: Path
    frame: int
    """The first frame that is damaged, from 1; 0: the header of the log."""
    commits: int
    """Commits from there on, as far as they can be told."""
    sound_bytes: int
    """The log up to here is as it was written, and ends with a commit."""

    def __str__(self) -> str:
        place = f"frame {self.frame}" if self.frame else "its header"
        return (
            f"{self.path} is damaged in {place}: {self.commits or 'some'} acknowledged commits from there on"
            " cannot be recovered"
        )


class _Frame(NamedTuple):
    number: int
    is_commit: bool
    salts: bytes
    sums: Sums
    summed: bytes
    """The part of the frame that its checksum covers."""


def require_whole_wal(path: Path) -> None:
    """Raises ConfigurationError if opening a store that nothing has open would drop acknowledged commits."""
    wal = _wal_of(path)
    if not path.exists() and wal.exists() and wal.stat().st_size > _HEADER.size:
        raise ConfigurationError(
            f"{path} is missing, and {wal} holds commits of it; put the file back, or remove its log as well"
        )
    damage = find_wal_damage(path)
    if damage is not None:
        raise ConfigurationError(
            f"{damage}. Restore a backup, or go on without them: truncate -s {damage.sound_bytes}"
            f" {damage.path}. `engagement check {path.parent}` checks the rest"
        )


def find_wal_damage(path: Path) -> WalDamage | None:
    """Looks behind the last commit that a recovery finds. Changes nothing. Raises apsw.Error."""
    wal = _wal_of(path)
    if not path.exists() or not wal.exists() or wal.stat().st_size < _HEADER.size:
        return None
    with wal.open("rb") as file:
        header = file.read(_HEADER.size)
        magic, _, page_bytes, *_ = _HEADER.unpack(header)
        order = _MAGIC.get(magic)
        stored: Sums = struct.unpack_from(">2I", header, 24)
        if order is None or _sums(header[:24], order=order) != stored:
            return WalDamage(wal, 0, 0, 0)
        recovered = _count_recovered(path)
        frame_bytes = _FRAME_HEADER.size + page_bytes
        start = _HEADER.size + max(0, recovered - 1) * frame_bytes
        file.seek(start)
        frames = _frames(file, frame_bytes, max(1, recovered))
        sums = next(frames).sums if recovered else stored
        tail = _Tail(header[16:24], sums, order)
        bad = tail.read(frames)
        if bad is None:
            return None
        return WalDamage(wal, bad, tail.commits, _HEADER.size + recovered * frame_bytes)


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


class _Tail:
    """The frames behind the last commit that is recovered."""

    def __init__(self, salts: bytes, sums: Sums, order: str) -> None:
        self._salts = salts
        self._sums = sums
        self._order = order
        self.commits = 0

    def read(self, frames: Iterator[_Frame]) -> int | None:
        """The number of the first damaged frame, if acknowledged commits are behind it."""
        bad: int | None = None
        is_flipped = is_followed = False
        for frame in frames:
            if (
                _different_bits(frame.salts, self._salts) > 1
            ):  # of an older log in the same file, or never written
                continue
            is_followed = is_followed or self.commits > 0
            if bad is None:
                computed = _sums(frame.summed, start=self._sums, order=self._order)
                if computed != frame.sums or frame.salts != self._salts:
                    bad = frame.number
                    is_flipped = frame.salts != self._salts or _is_one_flip(
                        frame.summed, computed, frame.sums, order=self._order
                    )
                self._sums = frame.sums
            self.commits += bad is not None and frame.is_commit
        # A commit is synced before the next one begins, so damage before the last one is no power failure.
        return bad if is_flipped or (is_followed and self.commits) else None


def _frames(file: BinaryIO, frame_bytes: int, number: int) -> Iterator[_Frame]:
    while len(data := file.read(frame_bytes)) == frame_bytes:
        _, pages, _, _, *sums = _FRAME_HEADER.unpack_from(data)
        summed = data[:8] + data[_FRAME_HEADER.size :]
        yield _Frame(number, pages != 0, data[8:16], (sums[0], sums[1]), summed)
        number += 1


def _count_recovered(path: Path) -> int:
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        ((_, frames, _),) = connection.execute("PRAGMA wal_checkpoint(NOOP)")
        return max(0, int(frames))


def _sums(data: bytes, *, start: Sums = (0, 0), order: str) -> Sums:
    """SQLite's checksum, continued from that of the words before."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    first, second = start
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second


def _is_one_flip(data: bytes, computed: Sums, stored: Sums, *, order: str) -> bool:
    """Whether one flipped bit explains that the sums differ, as a write that was cut short never does."""
    if sum((one ^ other).bit_count() for one, other in zip(computed, stored, strict=True)) == 1:
        return True
    differences = (computed[0] - stored[0]) & _MASK, (computed[1] - stored[1]) & _MASK
    # How a change of a word shows in the sums: more with every pair of words that follows.
    even, odd = (1, 1), (0, 1)
    for _ in range(len(data) // 8):
        for first, second in (even, odd):
            for bit in range(_WORD_BITS):
                change = (first << bit) & _MASK, (second << bit) & _MASK
                if differences in (change, (-change[0] & _MASK, -change[1] & _MASK)):
                    return True
        even = (even[0] + even[1]) & _MASK, (even[0] + 2 * even[1]) & _MASK
        odd = (odd[0] + odd[1]) & _MASK, (odd[0] + 2 * odd[1]) & _MASK
    return False


def _different_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()
