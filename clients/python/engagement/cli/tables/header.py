"""Finds what each column of a table holds by its name.

Letter case, dots and underscores in a name make no difference: `customer_info.balance`,
`customer_info_balance` and `customerInfo.balance` are one column.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from engagement import v1
from engagement.cli.event_columns import COLUMNS, Column, Kind
from engagement.cli.tables.errors import TableDamageError
from engagement.cli.tables.style import MARKS_COLUMN

SETS: Final = tuple(field.name for field in v1.Event.DESCRIPTOR.oneofs_by_name["attributes"].fields)
ADDITIONAL: Final = "additional_attributes"
_CONTACTS: Final = "personal_info.other_contacts"
_TIME: Final = "server_time_stamp"
_SET_BY_THE_SERVER: Final = frozenset(
    {"cursor", "receive_time", "matched_customer_status", "matched_customer_type"}
)
_DAY_PARTS: Final = ("year", "month", "day")
_REMEDY: Final = f"Rename them, remove them, or keep their values by calling them {ADDITIONAL}.NAME"
_MAX_SHOWN_NAMES: Final = 20
_MAX_SHOWN_CHARACTERS: Final = 60


class Content(Enum):
    """What the cells of a column hold."""

    TEXT = auto()
    FLAG = auto()
    TIME = auto()
    DAY = auto()
    DAY_PART = auto()
    CONTACTS = auto()
    TEXTS = auto()
    """Additional attributes as a JSON object."""
    SET = auto()
    """The name of an attribute set."""
    MASKED = auto()
    """The fields whose values the exporting caller did not see."""
    MARKS = auto()
    """Whether the texts of the row are marked."""
    DROPPED = auto()
    """Something that the server sets anew."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a column holds, and where it belongs."""

    content: Content
    holder: str = ""
    """A field of the event, or `a_set.a_day` for a part of a day; empty for the event itself."""
    member: str = ""
    """The field or entry in it."""

    def places(self) -> Iterator[str]:
        """The values that it gives; no two columns may give the same."""
        path = f"{self.holder}.{self.member}" if self.holder else self.member
        if self.member == _TIME and not self.holder:
            yield from (f"{name}.{_TIME}" for name in SETS)
        elif self.content is Content.DAY:
            yield from (f"{path}.{part}" for part in _DAY_PARTS)
        else:
            yield path


_CONTENTS: Final = {
    Kind.TEXT: Content.TEXT,
    Kind.FLAG: Content.FLAG,
    Kind.TIME: Content.TIME,
    Kind.DAY: Content.DAY,
}
_SPECIAL: Final = {
    "set": Content.SET,
    ADDITIONAL: Content.TEXTS,
    _CONTACTS: Content.CONTACTS,
    "masked_fields": Content.MASKED,
    **dict.fromkeys(_SET_BY_THE_SERVER, Content.DROPPED),
}


def _targets(columns: Sequence[Column]) -> Iterator[tuple[str, Target]]:
    """Every name, in the form of an export, and its target."""
    for column in columns:
        holder, _, member = column.name.rpartition(".")
        content = _SPECIAL.get(column.name, _CONTENTS[column.kind])
        yield column.name, Target(content, holder, member)
        if content is Content.DAY:
            for part in _DAY_PARTS:
                yield f"{column.name}.{part}", Target(Content.DAY_PART, column.name, part)
    for name in SETS:
        yield f"{name}.{_TIME}", Target(Content.TIME, name, _TIME)
    yield MARKS_COLUMN, Target(Content.MARKS, "", MARKS_COLUMN)


def folded(name: str) -> str:
    """What names of one column have in common."""
    return name.strip().replace("_", "").replace(".", "").casefold()


_NAMED: Final = dict(_targets(COLUMNS))


def _suggestions() -> dict[str, list[str]]:
    """The names in the form of an export, by what may be written in their place."""
    names: dict[str, list[str]] = {}
    for name, target in _NAMED.items():
        if target.content is not Content.MARKS:
            for key in {folded(name), folded(target.member)}:
                names.setdefault(key, []).append(name)
    return names


_SUGGESTIONS: Final = _suggestions()
_BY_FOLDED_NAME: Final = {folded(name): target for name, target in _NAMED.items()}


def find_target(name: str) -> Target | None:
    """What a column with this name holds; None if nothing of an event."""
    if (target := _BY_FOLDED_NAME.get(folded(name))) is not None:
        return target
    beginning, _, key = name.partition(".")
    if key and folded(beginning) == folded(ADDITIONAL):
        return Target(Content.TEXT, ADDITIONAL, key)
    return None


def find_targets(names: Sequence[str]) -> list[Target]:
    """What the columns hold. Raises TableDamageError, with all names that are unknown or repeated."""
    found = [find_target(name) for name in names]
    targets = [target for target in found if target is not None]
    if not names:
        raise TableDamageError("nothing in it is an event; it has no columns")
    if not targets:
        columns = _list(names, _describe)
        remedy = f". {_REMEDY}" if columns != _list(names, _show) else ""
        raise TableDamageError(f"nothing in it is an event; its columns are {columns}{remedy}")
    unknown = [name for name, target in zip(names, found, strict=True) if target is None]
    if unknown:
        raise TableDamageError(
            f"nothing of it was read, because no event has these columns: {_list(unknown, _describe)}. "
            f"{_REMEDY}"
        )
    if repeated := list(_repeated(names, targets)):
        raise TableDamageError(
            f"nothing of it was read, because these columns are there more than once: {_list(repeated, str)}"
        )
    return targets


def _repeated(names: Sequence[str], targets: Sequence[Target]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, target in zip(names, targets, strict=True):
        first = next((seen[place] for place in target.places() if place in seen), None)
        if first is not None:
            yield _show(name) if first == name else f"{_show(name)} (which is {_show(first)})"
        for place in target.places():
            seen.setdefault(place, name)


def _describe(name: str) -> str:
    """An unknown name, and the known one that is most like it."""
    if not name.strip():
        return "'' (a column without a name; pandas writes its index so, unless with index=False)"
    near = difflib.get_close_matches(folded(name), _SUGGESTIONS, n=1)
    return _show(name) + (f" (perhaps {' or '.join(_SUGGESTIONS[near[0]])})" if near else "")


def _list(names: Sequence[str], describe: Callable[[str], str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN_NAMES} more" if len(names) > _MAX_SHOWN_NAMES else ""
    return ", ".join(map(describe, names[:_MAX_SHOWN_NAMES])) + more


def _show(name: str) -> str:
    return repr(name[:_MAX_SHOWN_CHARACTERS] + ("…" if len(name) > _MAX_SHOWN_CHARACTERS else ""))
