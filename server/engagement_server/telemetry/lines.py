"""Log records as lines: text for people, or JSON. Whatever a record holds, it is one line and never an error.

In text, the trace of an exception follows on lines of its own, each of which is marked as such.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from engagement_server.telemetry.correlation import correlation
from engagement_server.telemetry.exceptions import exception_text, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

Fields: TypeAlias = "Mapping[str, str | int | float]"
FIELDS: Final = "fields"
"""The attribute of a record that holds its `Fields`: `extra={FIELDS: {…}}`."""
_MAX_CHARACTERS: Final = 8192
"""Of a message, and of the trace of an exception; of longer ones the middle is cut out."""
_WORD: Final = re.compile(r"[^\s\"=]+")
_TRACE_MARK: Final = "    | "


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self, *, worker: int | None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, str | int | float] = {
            "time": _time_text(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        if self._worker is not None:
            line["worker"] = self._worker
        line |= _fields_of(record)
        if (trace := _trace_of(record)) is not None:
            line["exception"] = trace
        sendable = {key: _without_surrogates(each) for key, each in line.items()}
        return json.dumps(sendable).replace("\x7f", "\\u007f")


class TextFormatter(logging.Formatter):
    """A line for people: time, level, worker, logger, message, and `key=value` of fields."""

    def __init__(self, *, worker: int | None) -> None:
        super().__init__()
        self._prefix = "" if worker is None else f"worker {worker} "

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields = "".join(f" {key}={_value_text(value)}" for key, value in _fields_of(record).items())
        text = f"{self._prefix}{record.name}: {message_of(record)}{fields}"
        lines = [f"{_time_text(record.created)} {record.levelname} {_printable(text)}"]
        if (trace := _trace_of(record)) is not None:
            lines += [f"{_TRACE_MARK}{_printable(line)}" for line in trace.split("\n")]
        return "\n".join(lines)


def message_of(record: logging.LogRecord) -> str:
    """The message of a record, of bounded length, even if its arguments do not fit or cannot be shown."""
    try:
        return _bounded(record.getMessage())
    except Exception:  # any code may run there
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__qualname__
        return f"{_bounded(text)} (the arguments of this message do not fit)"


def fields_of(record: logging.LogRecord) -> Fields:
    """The fields that a record was logged with."""
    fields: Fields = getattr(record, FIELDS, {})
    return fields


def _fields_of(record: logging.LogRecord) -> dict[str, str | int | float]:
    ids = correlation.get()._asdict()
    return {**fields_of(record), **{key: value for key, value in ids.items() if value}}


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace_of(record: logging.LogRecord) -> str | None:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        try:
            return _bounded(exception_text(error))
        except Exception:  # it reads source files
            return summary(error)
    return None if record.stack_info is None else _bounded(record.stack_info)


def _bounded(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    half = _MAX_CHARACTERS // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def _value_text(value: str | float) -> str:
    """A value in quotes, unless it is one word: one must not look like several fields."""
    text = str(value)
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    """Text with escapes for what would end a line, move the cursor, change the direction or not be shown."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _without_surrogates(value: str | float) -> str | float:
    """A value that every reader of JSON takes: half of a surrogate pair is no character."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
