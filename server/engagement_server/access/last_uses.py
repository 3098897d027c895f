"""When each secret was used last: kept in memory, and by the process that watches the files, in a file.

Workers send what they have seen to that process with their other counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import msgspec

from engagement_server.access.replacing import replace_file
from engagement_server.access.secrets import Secret

MAX_USES: Final = 100_000
"""Secrets whose last use is kept."""
ENDING: Final = ".used"
"""Of the file, next to that of the tokens."""


class Uses(msgspec.Struct, frozen=True):
    """Times of last uses, in epoch milliseconds, by secret."""

    by_secret: dict[str, int]


def name_of(secret: Secret) -> str:
    """Names a secret without telling anything about it; those of one id differ in their times."""
    return f"{secret.id}/{secret.create_ms}"


def uses_path(tokens: Path) -> Path:
    """The file of last uses that belongs to a file of tokens."""
    return tokens.with_name(tokens.name + ENDING)


class LastUses:
    """The last uses that a process knows of."""

    def __init__(self, by_secret: dict[str, int] | None = None) -> None:
        self._by_secret = by_secret or {}
        self._fresh: dict[str, int] = {}
        """Those that nobody has drained."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file; what cannot be read is as good as none."""
        try:
            return cls(msgspec.json.decode(path.read_bytes(), type=Uses).by_secret)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return cls()

    @property
    def has_news(self) -> bool:
        """Whether there are uses that nobody has drained."""
        return bool(self._fresh)

    def note(self, secret: Secret, *, now_ms: int) -> None:
        """Notes that a secret is used."""
        self._fresh[name_of(secret)] = now_ms

    def last_ms(self, secret: Secret) -> int | None:
        """When it was used last, as far as is known."""
        name = name_of(secret)
        return self._fresh.get(name, self._by_secret.get(name))

    def drain(self) -> Uses | None:
        """What was noted since the last time."""
        if not self._fresh:
            return None
        drained, self._fresh = Uses(self._fresh), {}
        return drained

    def merge(self, uses: Uses) -> None:
        """Adds what another process has noted."""
        for name, used_ms in uses.by_secret.items():
            self._fresh[name] = max(used_ms, self._fresh.get(name, 0))
        while len(self._fresh) > MAX_USES:
            self._fresh.pop(next(iter(self._fresh)))

    def of(self, _subject: str) -> Uses:
        """All that is known."""
        return Uses(self._by_secret | self._fresh)

    def write(self, path: Path, *, known: frozenset[str]) -> None:
        """Writes the file with the uses of the secrets that are `known`. Raises OSError."""
        drained = self.drain() or Uses({})
        by_secret = self._by_secret | drained.by_secret
        self._by_secret = {name: used_ms for name, used_ms in by_secret.items() if name in known}
        replace_file(path, msgspec.json.encode(Uses(self._by_secret)))
