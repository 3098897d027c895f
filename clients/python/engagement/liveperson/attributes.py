"""Maps the members of an attribute set to the fields of the contract, by any of their names.

A member with the contract's name wins over an alias; overridden members, and those that the contract does
not model, are kept among the leaves.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from engagement.liveperson.contacts import take_contacts
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.leaves import Leaves, join
from engagement.liveperson.values import Json, Object, text_of
from engagement.liveperson.vocabulary import Vocabulary

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_MAX_INT32: Final = 2**31 - 1
_DATE_PARTS: Final = ("year", "month", "day")
_DATE_NAMES: Final = frozenset(_DATE_PARTS)
_AGES: Final = (("customerAge", ("customerYearOfBirth", "year")), ("age", ("year", "customerYearOfBirth")))
"""Objects that hold a year of birth, and its names in them; never the age itself."""


class Attributes(NamedTuple):
    """The attributes of one set, by the names of the contract's fields.

    A tuple, not a dataclass: it is created for every event, at a third of the cost.
    """

    texts: dict[str, str]
    dates: dict[str, tuple[int, int, int]]
    """Year, month, day; 0 if the source omits one."""
    other_contacts: list[dict[str, str]]

    def __bool__(self) -> bool:
        return bool(self.texts or self.dates or self.other_contacts)


def read_attributes(
    name: str, members: Object, *, vocabulary: Vocabulary, leaves: Leaves
) -> tuple[Attributes, Object]:
    """The attributes of the set `name`, and the members that have no name in the vocabulary.

    Unmodelled content inside of modelled members goes to the leaves. Raises UnreadableError if a part
    of a date is not a 32-bit integer.
    """
    texts: dict[str, str] = {}
    rest: Object = {}
    fields = vocabulary.texts
    for member, value in members.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else text_of(value)
        if member in fields and text is not None:
            texts[fields[member]] = text
        else:
            rest[member] = value
    if not rest:
        return Attributes(texts, {}, []), rest
    _take_aliases(vocabulary, rest, texts=texts)
    dates = _take_dates(name, vocabulary, rest, leaves=leaves)
    contacts = []
    if name == "personal_info":
        _take_year_of_birth(rest, texts=texts, leaves=leaves)
        contacts = take_contacts(rest.pop("contacts", None), texts=texts, leaves=leaves)
    return Attributes(texts, dates, contacts), rest


def _take_aliases(vocabulary: Vocabulary, rest: Object, *, texts: dict[str, str]) -> None:
    for alias, field in vocabulary.aliases.items():
        if alias not in rest or field in texts:
            continue
        text = text_of(rest[alias])
        if text is not None:
            texts[field] = text
            del rest[alias]


def _take_dates(
    name: str, vocabulary: Vocabulary, rest: Object, *, leaves: Leaves
) -> dict[str, tuple[int, int, int]]:
    """The dates that are objects; others stay in place."""
    dates = {}
    for member, field in vocabulary.dates.items():
        if member not in rest:
            continue
        value = rest[member]
        if not isinstance(value, dict):
            continue
        del rest[member]
        year, month, day = (_read_part(value.get(part), name, field, part) for part in _DATE_PARTS)
        if not year is month is day is None:
            dates[field] = (year or 0, month or 0, day or 0)
        if not value.keys() <= _DATE_NAMES:
            for part, extra in value.items():
                if part not in _DATE_NAMES:
                    leaves.keep(join(member, part), extra)
    return dates


def _take_year_of_birth(rest: Object, *, texts: dict[str, str], leaves: Leaves) -> None:
    """Takes the year of birth out of an object of ages; the other members are kept as leaves."""
    for member, names in _AGES:
        ages = rest.get(member)
        if not isinstance(ages, dict):
            continue
        del rest[member]
        ages = ages.copy()
        for name in names:
            text = text_of(ages.get(name))
            if text is not None and "customer_age" not in texts:
                texts["customer_age"] = text
                del ages[name]
        for name, value in ages.items():
            leaves.keep(join(member, name), value)


def _read_part(value: Json, *place: str) -> int | None:
    """A part of a date, None if the source omits it. Raises UnreadableError if it is not an integer."""
    if value is None:
        return None
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise UnreadableError(".".join(place), rule="import.integer", description="must be an integer")
    number = int(value)
    if not -_MAX_INT32 - 1 <= number <= _MAX_INT32:
        description = f"must be at least {-_MAX_INT32 - 1} and at most {_MAX_INT32}"
        raise UnreadableError(".".join(place), rule="import.range", description=description)
    return number
