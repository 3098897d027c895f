"""Recognizes attribute sets among the members of one object, in all forms in which they are nested."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from engagement.liveperson import surroundings
from engagement.liveperson.avro import plain_members
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.findings import (
    EMPTY_SET,
    Finding,
    FoundSet,
    MisshapenSet,
    Path,
    SkippedSet,
    show,
)
from engagement.liveperson.values import Json, Object, text_of, without
from engagement.liveperson.vocabulary import KNOWN_NAMES
from engagement.violation import Violation

EXPORTED_SETS: Final = {"customerInfo": "customer_info", "personalInfo": "personal_info"}
_SET_TYPES: Final = {"CUSTOMER_INFO": "customerInfo", "PERSONAL_INFO": "personalInfo"}
_PUSHED_SETS: Final = {"ctmrinfo": ("customer_info", "info"), "personal": ("personal_info", "personal")}
AMBIGUOUS: Final = frozenset({"info", "personal", "data"})
"""Members that are sets in some forms, and hold others in other forms."""
_OTHER_TYPES: Final = frozenset(
    {"cart", "error", "lead", "mrktInfo", "prodView", "purchase", "searchInfo", "service"}
    | {"SCHEMA", "STATE", "ACTIVATE_VERSION"}
)
"""Types of sets and of messages that stand beside attribute sets."""
_OWN_NAMES: Final = frozenset({"eventId", "event_id", "additionalAttributes", "additional_attributes"})
"""Only events of this contract have these beside their attributes."""
_OTHER_SPELLINGS: Final = {
    "customer_info": "customerInfo",
    "CustomerInfo": "customerInfo",
    "customerinfo": "customerInfo",
    "CUSTOMER_INFO": "customerInfo",
    "personal_info": "personalInfo",
    "PersonalInfo": "personalInfo",
    "personalinfo": "personalInfo",
    "PERSONAL_INFO": "personalInfo",
    "ctmrInfo": '{"type": "ctmrinfo", "info": …}',
    "ctmrinfo": '{"type": "ctmrinfo", "info": …}',
}
_MARKS: Final = frozenset({*EXPORTED_SETS, *_OTHER_SPELLINGS, "type", "sdeType", "data"})


class Form(NamedTuple):
    """How an object holds attribute sets."""

    members: Collection[str]
    """The members that belong to the sets."""
    read: Callable[[Path, Object, Object], Iterator[Finding]]
    """Reads the sets of an object at a path; last, its members beside them."""


def form_of(members: Object) -> Form | None:
    """How this object holds attribute sets; None if it holds none itself."""
    if _MARKS.isdisjoint(members):
        return None
    exported = [name for name in EXPORTED_SETS if members.get(name) is not None]
    if exported:
        return Form(exported, _exported_sets if _OWN_NAMES.isdisjoint(members) else _own_event)
    kind = text_of(members.get("sdeType")) or text_of(members.get("type"))
    if kind is not None:
        return _form_of_type(members, kind)
    if "data" in members:
        return _form_of_avro(members)
    misspelled = [name for name in members if name in _OTHER_SPELLINGS and isinstance(members[name], dict)]
    return Form(misspelled, _misspelled_sets) if misspelled else None


def _form_of_type(members: Object, kind: str) -> Form | None:
    """The form of a set that names its type."""
    if kind in _PUSHED_SETS:
        return _form_of_pushed(members, *_PUSHED_SETS[kind])
    if kind in _SET_TYPES:
        return _form_of_flat(members, EXPORTED_SETS[_SET_TYPES[kind]], is_pushed=False)
    return None


def is_set_without(members: Object, lost: Collection[str]) -> bool:
    """Whether an object with these members is a set, of which the lost ones are part."""
    kind = text_of(members.get("sdeType")) or text_of(members.get("type"))
    if kind in _PUSHED_SETS or kind in _SET_TYPES:
        return True
    return not EXPORTED_SETS.keys().isdisjoint((*members, *lost)) or (
        "data" in lost and "timestamp" in members
    )


def around(members: Object, form: Form) -> Object:
    """The members beside the sets of an event, without those that are its context."""
    return {
        name: value
        for name, value in members.items()
        if name not in form.members and name not in surroundings.SUBJECTS
    }


def _exported_sets(path: Path, event: Object, beside: Object) -> Iterator[Finding]:
    """Sets under their own names, nested once, or twice with more members around the inner one."""
    set_name = _SET_TYPES.get(text_of(beside.get("sdeType")) or "")
    for name, field in EXPORTED_SETS.items():
        outer = event.get(name)
        if outer is None:
            continue
        levels: tuple[Object, ...] = (without(beside, "sdeType") if name == set_name else beside,)
        inner = outer.get(name, outer) if isinstance(outer, dict) else outer
        if inner is None:
            inner = {}
        if not isinstance(outer, dict) or not isinstance(inner, dict):
            yield _misshapen(path, event, field=field)
            continue
        if inner is not outer:
            levels = (without(outer, name), *levels)
        content = _only_content(inner)
        if content is None:
            yield FoundSet(path, event, field, (inner, *levels))
        else:
            yield _avro_set(path, event, field, (content, *levels))


def _only_content(members: Object) -> Object | None:
    """The object inside of another that only names its type, as Avro does."""
    if len(members) != 1:
        return None
    [(name, content)] = members.items()
    return content if "." in name and isinstance(content, dict) else None


def _own_event(path: Path, event: Object, _: Object) -> Iterator[Finding]:
    text = "is an event of this service among those of others: put such events into a file of their own"
    yield MisshapenSet(path, event, Violation("", "import.own_event", text))


def _form_of_pushed(members: Object, field: str, member: str) -> Form | None:
    inner = members.get(member)
    if inner is None:
        return _form_of_flat(members, field, is_pushed=True)

    def read(path: Path, event: Object, beside: Object) -> Iterator[Finding]:
        if isinstance(inner, dict):
            yield FoundSet(path, event, field, (inner, without(beside, "type")), is_pushed=True)
        else:
            yield _misshapen(path, event, field=field)

    return Form((member,), read)


def _form_of_flat(members: Object, field: str, *, is_pushed: bool) -> Form | None:
    """A set whose attributes stand beside its type."""

    def read(path: Path, event: Object, _: Object) -> Iterator[Finding]:
        own = {name: event[name] for name in event if name not in _NO_ATTRIBUTES}
        yield FoundSet(path, event, field, (own,), is_pushed=is_pushed)

    if not KNOWN_NAMES[field].isdisjoint(members):
        return Form(members.keys() - _NO_ATTRIBUTES, read)
    return Form((), _empty_set) if members.keys() <= _NO_ATTRIBUTES else None


_NO_ATTRIBUTES: Final = (
    surroundings.SUBJECTS
    | surroundings.TIMES.keys()
    | {"type", "sdeType", "info", "personal", "contexts", "isAuthenticated"}
)


def _empty_set(_path: Path, _event: Object, _beside: Object) -> Iterator[Finding]:
    yield EMPTY_SET


def _form_of_avro(members: Object) -> Form | None:
    """A set whose type is the name of its Avro record, such as `com.example.CustomerInfo`."""
    data = members["data"]
    if data is None and "timestamp" in members:
        return Form((), _empty_set)
    if not isinstance(data, dict) or not data:
        return None
    full_name = next(iter(data))
    kind = full_name.rpartition(".")[2]
    field = EXPORTED_SETS.get(f"{kind[:1].lower()}{kind[1:]}")
    if field is None:
        return None

    def read(path: Path, event: Object, beside: Object) -> Iterator[Finding]:
        inner = data[full_name]
        if rest := without(data, full_name):
            beside["data"] = rest
        if "timestamp" in beside:
            beside.setdefault("serverTimeStamp", beside.pop("timestamp"))
        if inner is None:
            yield EMPTY_SET
        elif isinstance(inner, dict):
            yield _avro_set(path, event, field, (inner, beside))
        else:
            yield _misshapen(path, event, field=field)

    return Form(("data",), read)


def _avro_set(path: Path, event: Object, field: str, levels: tuple[Object, ...]) -> Finding:
    try:
        return FoundSet(path, event, field, tuple(map(plain_members, levels)))
    except UnreadableError as error:
        return MisshapenSet(path, event, error.violation)


def _misspelled_sets(path: Path, event: Object, _: Object) -> Iterator[Finding]:
    """Members that look like sets, and are none."""
    for name, value in event.items():
        if name in _OTHER_SPELLINGS and isinstance(value, dict):
            text = f"looks like an attribute set; write it as {_OTHER_SPELLINGS[name]}"
            yield MisshapenSet(path, event, Violation(name, "import.name", text))


def _misshapen(path: Path, event: Json, *, field: str) -> MisshapenSet:
    return MisshapenSet(path, event, Violation(field, "import.object", "must be a JSON object"))


def skip(path: Path, item: Json) -> Finding:
    """Counts an item that is no set and holds none."""
    if item is None:
        return SkippedSet("null")
    if not isinstance(item, dict):
        return _misshapen(path, item, field="")
    listed, _ = path
    stranger = "" if surroundings.is_at_home(path) else show(path)
    if kind := text_of(item.get("sdeType")) or text_of(item.get("type")):
        return SkippedSet(f"set type {kind}", "" if kind in _OTHER_TYPES else stranger)
    if record := _avro_name(item.get("data")) or _avro_name(item.get("body")):
        return SkippedSet(f"set type {record}", stranger)
    named = (name for name, value in item.items() if isinstance(value, dict))
    name = next(named, None) if listed is not None and surroundings.is_of_sets(listed) else None
    return SkippedSet(f"set type {name}" if name else "no attribute set", stranger)


def _avro_name(value: Json) -> str:
    """The type of an Avro record, without the names before it."""
    if not isinstance(value, dict) or len(value) != 1:
        return ""
    return next(iter(value)).rpartition(".")[2]
