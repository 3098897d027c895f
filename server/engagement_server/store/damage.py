"""Finds the range of events that cannot be read, so that reading can go on behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import apsw

from engagement_server.errors import DamagedEventsError
from engagement_server.store.checksums import is_damage

if TYPE_CHECKING:
    from collections.abc import Iterator

# Events on one page are looked at one by one. Beyond, a page that leads to others is damaged.
_SINGLE_STEPS = 256


def damaged_after(connection: apsw.Connection, low: int, high: int) -> DamagedEventsError:
    """The damaged events that follow a position, up to but not including another."""

    def is_readable(position: int) -> bool:
        return _is_readable(
            connection,
            "SELECT * FROM events WHERE position >= ? AND position <= ? ORDER BY position LIMIT 1",
            (position, high - 1),
        )

    # One at least, so that reading goes on.
    last = max(low + 1, _first(range(low + 1, high), is_readable) - 1)
    return DamagedEventsError(low + 1, last)


def damaged_before(connection: apsw.Connection, low: int, high: int) -> DamagedEventsError:
    """The damaged events that precede a position, down to but not including another."""

    def is_readable(position: int) -> bool:
        return _is_readable(
            connection,
            "SELECT * FROM events WHERE position <= ? AND position >= ? ORDER BY position DESC LIMIT 1",
            (position, low + 1),
        )

    first = min(high - 1, _first(range(high - 1, low, -1), is_readable) + 1)
    return DamagedEventsError(first, high - 1)


def _first(positions: range, is_readable: Callable[[int], bool]) -> int:
    """The first of some positions from which on events can be read, or the end of them."""
    failed = -1
    for index in _probes(len(positions)):
        if not is_readable(positions[index]):
            failed = index
            continue
        while index - failed > 1:
            middle = (index + failed) // 2
            if is_readable(positions[middle]):
                index = middle  # noqa: PLW2901  # a binary search
            else:
                failed = middle
        return positions[index]
    return positions.stop


def _probes(count: int) -> Iterator[int]:
    step, index = 1, 0
    while index < count:
        yield index
        step = 2 * step if index >= _SINGLE_STEPS else 1
        index += step


def _is_readable(connection: apsw.Connection, statement: str, arguments: tuple[int, int]) -> bool:
    try:
        connection.execute(statement, arguments).fetchall()
    except apsw.Error as error:
        if not is_damage(error):
            raise
        return False
    return True
