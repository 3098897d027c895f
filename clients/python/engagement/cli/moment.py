"""A time on the command line: RFC 3339, a date, or epoch milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import click
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(click.ParamType[Timestamp]):
    """Converts to a Timestamp; without a zone the time is in UTC, a date alone is its first moment."""

    name = "time"

    def convert(
        self, value: str | Timestamp, param: click.Parameter | None, ctx: click.Context | None
    ) -> Timestamp:
        """The moment that the text names."""
        if isinstance(value, Timestamp):
            return value
        try:
            moment = _parse(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; write 2024-05-31, 2024-05-31T12:00:00Z or epoch milliseconds",
                param,
                ctx,
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
    """Epoch milliseconds as RFC 3339 in UTC, or as a number where no calendar reaches."""
    try:
        moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    except OverflowError:
        return str(epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
