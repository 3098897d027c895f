"""Reads the values of an event from the texts of cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final  # Any: values of all contents

from engagement import v1
from engagement.cli.proto_json import EventSyntaxError, parse_contacts, parse_texts
from engagement.cli.tables.header import SETS, Content, folded
from engagement.cli.tables.style import MARKED
from engagement.masked import SCOPE

Convert = Callable[[Any], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
# As a tool writes a column of numbers that has gaps.
_FLOAT: Final = re.compile(r"-?[0-9]{1,18}\.[0-9]*|-?[0-9](?:\.[0-9]*)?[eE]\+?[0-9]{1,2}", re.ASCII)
_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_PART: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_SET_NAMES: Final = {
    **{folded(name): name for name in SETS},
    **{folded(name.removesuffix("_info")): name for name in SETS},
}


def _read_flag(text: str) -> bool:
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise EventSyntaxError("must be true or false", rule="table.flag")


# The events of a commit often share one time, and there are few different days.
@lru_cache(maxsize=4096)
def _read_time(text: str) -> int:
    """Epoch milliseconds; what is finer is cut off."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return int(Decimal(text))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise EventSyntaxError(
                "must name its zone, as in 2024-05-31T12:00:00Z, or be epoch milliseconds", rule="table.time"
            )
        return (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        raise EventSyntaxError(
            "must be a time such as 2024-05-31T12:00:00Z, or epoch milliseconds", rule="table.time"
        ) from None


@lru_cache(maxsize=32 * 1024)
def _read_day(text: str) -> v1.Date:
    if (match := _DAY.fullmatch(text.strip())) is None:
        raise EventSyntaxError("must be a day such as 2024-05-31", rule="table.day")
    year, month, day = map(int, match.groups())
    return v1.Date(year=year, month=month, day=day)


def _read_part(text: str) -> int:
    if not _PART.fullmatch(text.strip()):
        raise EventSyntaxError("must be a whole number", rule="table.day")
    return int(text)


def _read_set(text: str) -> str:
    if (name := _SET_NAMES.get(folded(text))) is None:
        raise EventSyntaxError(f"must be {' or '.join(SETS)}", rule="table.set")
    return name


def _refuse_masked(_: str) -> str:
    raise EventSyntaxError(
        f"must be empty: the values of these fields are masked; export the events with the scope {SCOPE}",
        rule="table.masked",
    )


def _read_marks(text: str) -> str:
    if text != MARKED:
        raise EventSyntaxError(f"must be {MARKED}, or nothing", rule="table.marks")
    return text


FROM_TEXT: Final[Mapping[Content, Convert | None]] = {
    Content.TEXT: None,
    Content.FLAG: _read_flag,
    Content.TIME: _read_time,
    Content.DAY: _read_day,
    Content.DAY_PART: _read_part,
    Content.CONTACTS: parse_contacts,
    Content.TEXTS: parse_texts,
    Content.SET: _read_set,
    Content.MASKED: _refuse_masked,
    Content.MARKS: _read_marks,
    Content.DROPPED: None,
}
"""How the text of a cell is read; None if it is the value. They raise EventSyntaxError."""
