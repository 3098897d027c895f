"""Looks up candidates in the search index window by window, if one look-up of the whole log would take long.

A condition on positions does not bound a look-up: without a match in the window, the index goes on behind it
until it finds one. So each look-up also asks for the last event of its window, at which it stops.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement import v1
from engagement_server.store.budget import Budget
from engagement_server.store.search import SEARCH_MATCHES, indexed_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_POSITIONS = 16_384
_MIN_POSITIONS = 256
_MAX_POSITIONS = 131_072
_GROWING, _SHRINKING = 2, 4
# A look-up that takes a smaller share of its budget gets a larger window.
_LOW_SHARE = 0.5
# Words of an event without ids that are asked for together, as each alone may be in every event.
_MAX_WORDS = 8
_MAX_CHARACTERS = 1_000
_WORD = re.compile("[a-z0-9\x80-\U0010ffff]+")
_COLUMNS = ("attributes", "consumer_id", "conversation_id", "customer_id")


class Window(NamedTuple):
    """A range of positions that was looked up."""

    positions: Sequence[int]
    """Candidates in the order of the walk; the last event of the window may be one without being a match."""
    boundary: int
    """The position to continue after."""


class SearchWindows:
    """The windows of one walk between two positions, both exclusive."""

    def __init__(  # noqa: PLR0913  # all but one are named at the call
        self,
        connection: apsw.Connection,
        *,
        expression: str,
        low: int,
        high: int,
        newest_first: bool,
        max_seconds: float,
    ) -> None:
        """`max_seconds` is the budget of one look-up."""
        self._connection = connection
        self._expression = expression
        self._newest_first = newest_first
        self._max_seconds = max_seconds
        self._size = _FIRST_POSITIONS
        self.low = low
        self.high = high
        """The range that is left, once a window has been read."""

    def __iter__(self) -> Iterator[Window]:
        """The next windows; ends early if even the smallest one takes too long. Raises apsw.Error."""
        while (window := self._next()) is not None:
            yield window
            if self._newest_first:
                self.high = window.boundary
            else:
                self.low = window.boundary

    @property
    def is_complete(self) -> bool:
        """Whether there are no further events in the range."""
        return self._following() is None

    def _following(self) -> int | None:
        """The next event of the walk."""
        order = "DESC" if self._newest_first else "ASC"
        return self._position(
            "SELECT position FROM events WHERE position > ? AND position < ?"  # noqa: S608
            f" ORDER BY position {order} LIMIT 1",
            self.low,
            self.high,
        )

    def _position(self, statement: str, *arguments: int) -> int | None:
        row = self._connection.execute(statement, arguments).fetchone()
        return None if row is None else int(row[0])

    def _next(self) -> Window | None:
        while self._size >= _MIN_POSITIONS:
            start = self._following()
            if start is None:
                return None
            budget = Budget(self._max_seconds)
            try:
                with budget.interrupting(self._connection):
                    window = self._look_up(start)
            except apsw.InterruptError:
                if not budget.is_spent:  # the server stops
                    raise
                self._size //= _SHRINKING
                continue
            if window is not None and budget.used_share < _LOW_SHARE:
                self._size = min(_GROWING * self._size, _MAX_POSITIONS)
            return window
        return None

    def _look_up(self, start: int) -> Window | None:
        """The window from the next event of the walk on; None if its last event has no words to ask for."""
        if self._newest_first:
            low, end = max(self.low, start - self._size), start
        else:
            low = start - 1
            end = (
                self._position(
                    "SELECT position FROM events WHERE position >= ? AND position < ?"
                    " ORDER BY position DESC LIMIT 1",
                    start,
                    min(self.high, start + self._size),
                )
                or start
            )
        last = self._expression_of(end)
        if last is None:
            return None
        positions: list[int] = []
        for (position,) in self._connection.execute(
            f"SELECT rowid FROM search WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid <= ? ORDER BY rowid",  # noqa: S608
            (f"({self._expression} OR {last})", low, end),
        ):
            positions.append(position)
            if position == end:  # asking for one more would go on behind the window
                break
        if self._newest_first:
            return Window(positions[::-1], low + 1)
        return Window(positions, end)

    def _expression_of(self, position: int) -> str | None:
        """Finds an event, and few others."""
        row = self._connection.execute(
            "SELECT payload FROM events WHERE position = ?", (position,)
        ).fetchone()
        texts = indexed_texts(v1.Event.FromString(row[0])) if row is not None else ("", "", "", "")
        found = [f'{column} : "{text}"' for column, text in zip(_COLUMNS[1:], texts[1:], strict=True) if text]
        if not found:
            words = dict.fromkeys(_words(texts[0]))
            found = [f'{_COLUMNS[0]} : "{word}"' for word in [*words][:_MAX_WORDS]]
        return f"({' AND '.join(found)})" if found else None


def _words(text: str) -> list[str]:
    """The first words of an indexed text, as its tokenizer cuts it."""
    words = _WORD.findall(text[:_MAX_CHARACTERS])
    return words if len(text) <= _MAX_CHARACTERS else words[:-1]  # the last one may be cut
