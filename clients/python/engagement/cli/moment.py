"""A time on the command line: RFC 3339, a date, or epoch milliseconds.

Only absolute times are accepted. A relative one would mean another time when the command is repeated, for
example to resume an export.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import click
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# As in the rule `time.seconds`: a number below it is one of seconds, or a date.
_FIRST_YEAR: Final = datetime(1980, 1, 1, tzinfo=UTC)


def read_moment(_context: click.Context, _option: click.Parameter, value: str | None) -> Timestamp | None:
    """The time that an option names: in UTC unless it has a zone; a date alone is its first moment."""
    if value is None:
        return None
    try:
        moment = _parse(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not an absolute time; write 2024-05-31, 2024-05-31T12:00:00Z "
            "or epoch milliseconds, which mean the same on every run."
        ) from None
    if _EPOCH < moment < _FIRST_YEAR and value.isdecimal():
        raise click.BadParameter(
            f"{value!r} would be {moment.isoformat()} in epoch milliseconds. Write a day as 2024-05-31, and "
            "seconds with three zeros more."
        )
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _parse(value: str) -> datetime:
    if value.isascii() and value.isdecimal():
        return _EPOCH + timedelta(milliseconds=int(value))
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def write_epoch_ms(epoch_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, or as a number beyond the years of a calendar."""
    try:
        moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    except OverflowError:
        return str(epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
