"""Holds back log lines of which there are too many alike, and sums them once a second."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from engagement_server.telemetry.lines import FIELDS, fields_of, message_of

WINDOW_SECONDS: Final = 1.0
MAX_ALIKE: Final = 10
"""Lines a second with the same logger, level and message; of calls, also method, status and account."""
MAX_LINES: Final = 200
"""Lines a second of one logger, whatever they say: callers choose the names of accounts."""
_MAX_KINDS: Final = 50
"""Kinds of lines that are told apart in the sums of a second; the rest is summed together."""
_IDENTIFYING: Final = ("method", "code", "reason", "account")
_OTHERS: Final = "others"


class _Kind(NamedTuple):
    logger: str
    level: int
    message: str
    fields: tuple[object, ...] = ()


class Flood:
    """The lines of the current second. It is not safe for threads: its handler has a lock."""

    def __init__(self) -> None:
        self._passed: dict[_Kind, int] = {}
        self._lines: dict[str, int] = {}
        """By logger; code chooses their names."""
        self._held: dict[_Kind, tuple[int, logging.LogRecord]] = {}
        """How many lines of a kind were held back, and the first of them."""

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether a line may be written; one that may not is counted."""
        fields = fields_of(record)
        identifying = tuple(fields.get(name) for name in _IDENTIFYING) if fields else ()
        kind = _Kind(record.name, record.levelno, message_of(record), identifying)
        lines, passed = self._lines.get(record.name, 0), self._passed.get(kind, 0)
        if lines < MAX_LINES and passed < MAX_ALIKE:
            self._lines[record.name] = lines + 1
            self._passed[kind] = passed + 1
            return True
        if kind not in self._held and len(self._held) >= _MAX_KINDS:
            kind = _Kind(_OTHERS, logging.WARNING, "")
        held, first = self._held.get(kind, (0, record))
        self._held[kind] = held + 1, first
        return False

    def sums(self) -> list[logging.LogRecord]:
        """A line for each kind that was held back; begins the next second."""
        records = [_sum(kind, count, first) for kind, (count, first) in self._held.items()]
        self._held.clear()
        self._passed.clear()
        self._lines.clear()
        return records


def _sum(kind: _Kind, count: int, first: logging.LogRecord) -> logging.LogRecord:
    if kind.logger == _OTHERS:
        text, fields = f"and {count:,} more of other kinds", {}
    else:
        text = f"and {count:,} more alike: {kind.message}"
        fields = {key: value for key, value in fields_of(first).items() if key in _IDENTIFYING}
    values = {"name": first.name, "levelno": kind.level, "levelname": logging.getLevelName(kind.level)}
    return logging.makeLogRecord({**values, "msg": text, FIELDS: {**fields, "more": count}})
