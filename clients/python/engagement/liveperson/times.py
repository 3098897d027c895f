"""Reads times as sources and tools write them: epoch milliseconds, seconds, floating point, ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.values import Json

_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))? ?(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.I
)
_MAX_INT64: Final = 2**63 - 1
# No event is from before 1980, and a time of the next years in seconds is long before 1980 in milliseconds.
_EARLIEST_SECONDS: Final = 315_532_800
_LATEST_SECONDS: Final = 4_102_444_800
_MILLISECONDS: Final = 1000
_MAX_CHARACTERS: Final = 64
"""No number that is a time takes more."""
_DIGITS_TODAY: Final = 13
"""Milliseconds have so many digits from 2001 to 2286."""


class Time(NamedTuple):
    """A time of a source."""

    milliseconds: int
    """Since the epoch."""
    conversion: str = ""
    """The form from which it was converted; empty if it was written in milliseconds."""


def read_time(value: Json, *, field: str) -> Time | None:
    """The time in a number or text; None for 0 and empty texts, which are no times.

    Raises UnreadableError if the value is no time, or a local one, which could be wrong by hours.
    """
    if isinstance(value, str) and len(value) == _DIGITS_TODAY and value.isascii() and value.isdecimal():
        return Time(int(value))
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else "?"
    if not text:
        return None
    if _DIGITS.fullmatch(text):
        return _of_number(Decimal(text), field=field)
    if (match := _ISO.fullmatch(text)) is not None:
        return Time(_milliseconds(match, field=field), "ISO 8601")
    try:
        return _of_number(Decimal(text[:_MAX_CHARACTERS]), field=field)
    except InvalidOperation:
        description = "must be a time: epoch milliseconds, or ISO 8601 such as 2024-07-03T09:46:40Z"
        raise UnreadableError(field, rule="import.time", description=description) from None


def _of_number(number: Decimal, *, field: str) -> Time | None:
    if number == 0:
        return None
    is_seconds = _EARLIEST_SECONDS <= number < _LATEST_SECONDS
    if is_seconds:
        number *= _MILLISECONDS
    if not number.is_finite() or not -_MAX_INT64 - 1 <= number <= _MAX_INT64:
        description = f"must be at least {-_MAX_INT64 - 1} and at most {_MAX_INT64}"
        raise UnreadableError(field, rule="import.range", description=description)
    whole = int(number)
    if is_seconds:
        return Time(whole, "seconds")
    return Time(whole, "" if whole == number else "fractions of milliseconds")


def _milliseconds(match: re.Match[str], *, field: str) -> int:
    day, clock, fraction, offset = match.groups()
    if offset is None:
        description = "must have an offset, such as the Z of 2024-07-03T09:46:40Z: it could be any local time"
        raise UnreadableError(field, rule="import.time", description=description)
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset.upper()}")
    except ValueError as error:
        raise UnreadableError(field, rule="import.time", description=f"is no time: {error}") from None
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * _MILLISECONDS + milliseconds
