"""Reads one event from proto-JSON: the usual spelling fast, any other with protobuf's own parser.

Protobuf's parser is authoritative, but would take most of the time of an upload. An event with known
members of the expected types, as nearly all have, is built directly instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast  # Any: JSON of unknown shape

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from engagement import v1

_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_PREAMBLE: Final = re.compile(r"^(Failed to (parse \w+ field|load JSON|parse JSON): )+")


class EventSyntaxError(Exception):
    """The text is not an event: invalid JSON, an unknown member, or a member of the wrong type."""

    def __init__(self, description: str, *, rule: str = "json.type", field: str = "") -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        """Path from the event, in the names used in the text."""
        self.rule = rule
        self.description = description

    def below(self, name: str) -> EventSyntaxError:
        """The same error seen from the enclosing object or list."""
        separator = "." if self.field and not self.field.startswith("[") else ""
        return type(self)(self.description, rule=self.rule, field=f"{name}{separator}{self.field}")


class RepeatedMemberError(EventSyntaxError):
    """A member is there twice, be it under two of its names: one of the values would be lost."""


class SeveralValuesError(EventSyntaxError):
    """The text begins with a whole value, and something follows."""


def parse_event(text: str) -> v1.Event:
    """The event with this proto-JSON. Raises EventSyntaxError if there is none."""
    try:
        return v1.Event(**_EVENT.read(_decode(text)))
    except RepeatedMemberError:  # protobuf's parser takes the last of them
        raise
    except EventSyntaxError as error:
        suspicion = error
    except json.JSONDecodeError as error:
        kind = SeveralValuesError if error.msg == "Extra data" else EventSyntaxError
        suspicion = kind(f"not JSON: {error.msg} at column {error.colno}", rule="json.syntax")
    except (TypeError, ValueError, RecursionError):
        suspicion = None
    try:
        return json_format.Parse(text, v1.Event())
    except (json_format.ParseError, ValueError, RecursionError) as error:
        message = _PREAMBLE.sub("", str(error).partition("\n")[0]).rstrip(".")
        raise suspicion or EventSyntaxError(message, rule="json.syntax") from None


def parse_stored_event(text: str) -> v1.Event | None:
    """The event inside of a stored event as `export` and `list --json` write it; None if this is none.

    Other forms have an event as well; this one is common, and read in a third of the time.
    """
    try:
        stored = _decode(text)
        if type(stored) is dict and "event" in stored and stored.keys() <= _STORED_NAMES:
            return v1.Event(**_EVENT.read(stored["event"]))
    except (EventSyntaxError, TypeError, ValueError, RecursionError):
        pass
    return None


def parse_contacts(text: str) -> list[dict[str, Any]]:
    """The arguments of the contacts with this proto-JSON. Raises EventSyntaxError."""
    contacts: list[dict[str, Any]] = _read_contacts(_parse(text))
    return contacts


def parse_texts(text: str) -> dict[str, str]:
    """The map of texts with this JSON. Raises EventSyntaxError."""
    return _read_texts(_parse(text))


def _parse(text: str) -> Any:
    try:
        return _decode(text)
    except (json.JSONDecodeError, RecursionError):
        raise EventSyntaxError("not JSON", rule="json.syntax") from None


_OTHER_TOOLS: Final = "--format liveperson reads attribute sets in objects of other tools"


@dataclass(frozen=True, slots=True)
class _Member:
    """A field of a message, and the function that reads its value from JSON."""

    name: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """The members that an object may have, by each of their names, and those that exclude each other."""

    members: dict[str, _Member]
    alternatives: frozenset[str]

    def read(self, value: Any) -> dict[str, Any]:
        """The arguments of the message's constructor."""
        if type(value) is not dict:
            raise EventSyntaxError("must be an object")
        arguments = {}
        for name, content in value.items():
            member = self.members.get(name)
            if member is None:
                raise EventSyntaxError(self._not_a_member(), rule="json.unknown_field", field=name)
            if content is None:
                continue
            if member.name in arguments:
                raise _repeated(name)
            try:
                arguments[member.name] = member.read(content)
            except EventSyntaxError as error:
                raise error.below(name) from None
        if len(self.alternatives & arguments.keys()) > 1:
            raise EventSyntaxError(f"has more than one of {', '.join(sorted(self.alternatives))}")
        return arguments

    def _not_a_member(self) -> str:
        """What there is instead, by the names of JSON, each of which comes behind its other one."""
        known = {member.name: name for name, member in self.members.items()}
        return f"is none of {', '.join(known.values())}; {_OTHER_TOOLS}"


def _shape_of(descriptor: Descriptor) -> _Shape:
    members = {}
    for each in descriptor.fields:
        members[each.name] = members[each.json_name] = _Member(each.name, _reader_of(each))
    choices = (choice for choice in descriptor.oneofs if len(choice.fields) > 1)
    return _Shape(members, frozenset(each.name for choice in choices for each in choice.fields))


def _reader_of(descriptor: FieldDescriptor) -> Callable[[Any], Any]:
    message = descriptor.message_type
    if message is not None and message.GetOptions().map_entry:
        return _read_texts
    read = _shape_of(message).read if message is not None else _SCALARS[descriptor.cpp_type]
    return _list_reader(read) if descriptor.is_repeated else read


def _list_reader(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def read_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise EventSyntaxError("must be a list")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(read(item))
            except EventSyntaxError as error:
                raise error.below(f"[{index}]") from None
        return items

    return read_list


def _read_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the JSON; on its own, json would keep the last of several members with one name."""
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _repeated(repeated)
    return members


def _repeated(name: str) -> RepeatedMemberError:
    return RepeatedMemberError("appears more than once", rule="json.syntax", field=name)


def _read_texts(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise EventSyntaxError("must be an object")
    for name, text in value.items():
        if type(text) is not str:
            raise EventSyntaxError("must be text", field=f'["{name}"]')
    return value


def _read_text(value: Any) -> str:
    if type(value) is not str:
        raise EventSyntaxError("must be text, in quotation marks")
    return value


def _read_flag(value: Any) -> bool:
    if type(value) is not bool:
        raise EventSyntaxError("must be true or false")
    return value


def _read_integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdecimal():
        return int(value)
    if type(value) in {str, float} and _DECIMAL.fullmatch(str(value)):
        # As tools write large integers; JSON of protobuf allows it in quotation marks, too.
        number = Decimal(str(value))
        if number == int(number):
            return int(number)
    raise EventSyntaxError("must be a whole number")


_SCALARS: Final[dict[int, Callable[[Any], Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: _read_text,
    FieldDescriptor.CPPTYPE_BOOL: _read_flag,
    FieldDescriptor.CPPTYPE_INT32: _read_integer,
    FieldDescriptor.CPPTYPE_INT64: _read_integer,
}
_EVENT: Final = _shape_of(
    cast("Descriptor", v1.Event.DESCRIPTOR)
)  # the stubs also allow the C implementation
_read_contacts: Final = _list_reader(_shape_of(cast("Descriptor", v1.PersonalContact.DESCRIPTOR)).read)
_STORED_NAMES: Final = {
    name for field in v1.StoredEvent.DESCRIPTOR.fields for name in (field.name, field.json_name)
}
_decode: Final = json.JSONDecoder(object_pairs_hook=_read_members).decode
