"""Recognizes attribute sets among the members of one object, in all forms in which they are nested."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
    read: Callable[[Path, Object, Object], Sequence[Finding]]
    """Reads the sets of an object at a path; last, its members beside them."""


def form_of(members: Object) -> Form | None:
    """How this object holds attribute sets; None if it holds none itself."""
    if _MARKS.isdisjoint(members):
        return None
    if members.get("customerInfo") is not None or members.get("personalInfo") is not None:
        return _EXPORTED if _OWN_NAMES.isdisjoint(members) else _OWN
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
    own = form.members
    return {
        name: value
        for name, value in members.items()
        if name not in own and name not in surroundings.SUBJECTS
    }


def _exported_sets(path: Path, event: Object, beside: Object) -> Sequence[Finding]:
    """Sets under their own names, nested once, or twice with more members around the inner one."""
    found: list[Finding] = []
    set_name = _SET_TYPES.get(text_of(beside["sdeType"]) or "") if "sdeType" in beside else ""
    for name, field in EXPORTED_SETS.items():
        outer = event.get(name)
        if outer is None:
            continue
        inner = outer.get(name, outer) if isinstance(outer, dict) else outer
        if inner is None:
            inner = {}
        if not isinstance(outer, dict) or not isinstance(inner, dict):
            found.append(_misshapen(path, event, field=field))
            continue
        levels: tuple[Object, ...] = (without(beside, "sdeType") if name == set_name else beside,)
        if inner is not outer:
            levels = (without(outer, name), *levels)
        content = _only_content(inner) if len(inner) == 1 else None
        if content is None:
            found.append(FoundSet(path, event, field, (inner, *levels)))
        else:
            found.append(_avro_set(path, event, field, (content, *levels)))
    return found


def _only_content(members: Object) -> Object | None:
    """The object inside of another that only names its type, as Avro does."""
    [(name, content)] = members.items()
    return content if "." in name and isinstance(content, dict) else None


def _own_event(path: Path, event: Object, _: Object) -> Sequence[Finding]:
    text = "is an event of this service among those of others: put such events into a file of their own"
    return [MisshapenSet(path, event, Violation("", "import.own_event", text))]


_EXPORTED: Final = Form(EXPORTED_SETS.keys(), _exported_sets)
_OWN: Final = Form(EXPORTED_SETS.keys(), _own_event)


def _form_of_pushed(members: Object, field: str, member: str) -> Form | None:
    inner = members.get(member)
    if inner is None:
        return _form_of_flat(members, field, is_pushed=True)

    def read(path: Path, event: Object, beside: Object) -> Sequence[Finding]:
        if isinstance(inner, dict):
            return [FoundSet(path, event, field, (inner, without(beside, "type")), is_pushed=True)]
        return [_misshapen(path, event, field=field)]

    return Form((member,), read)


def _form_of_flat(members: Object, field: str, *, is_pushed: bool) -> Form | None:
    """A set whose attributes stand beside its type."""

    def read(path: Path, event: Object, _: Object) -> Sequence[Finding]:
        own = {name: event[name] for name in event if name not in _FLAT_REMARKS}
        return [FoundSet(path, event, field, (own,), is_pushed=is_pushed)]

    if not KNOWN_NAMES[field].isdisjoint(members):
        return Form(members.keys() - _FLAT_REMARKS, read)
    return Form((), _empty_set) if members.keys() <= _NO_ATTRIBUTES else None


_FLAT_REMARKS: Final = surroundings.SUBJECTS | {"type", "sdeType"}
_NO_ATTRIBUTES: Final = (
    _FLAT_REMARKS
    | surroundings.TIMES.keys()
    | {*EXPORTED_SETS, "info", "personal", "contexts", "isAuthenticated"}
)


def _empty_set(_path: Path, _event: Object, _beside: Object) -> Sequence[Finding]:
    return [EMPTY_SET]


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

    def read(path: Path, event: Object, beside: Object) -> Sequence[Finding]:
        inner = data[full_name]
        if rest := without(data, full_name):
            beside["data"] = rest
        if "timestamp" in beside:
            beside.setdefault("serverTimeStamp", beside.pop("timestamp"))
        if inner is None:
            return [EMPTY_SET]
        if isinstance(inner, dict):
            return [_avro_set(path, event, field, (inner, beside))]
        return [_misshapen(path, event, field=field)]

    return Form(("data",), read)


def _avro_set(path: Path, event: Object, field: str, levels: tuple[Object, ...]) -> Finding:
    try:
        return FoundSet(path, None, field, tuple(map(plain_members, levels)))
    except UnreadableError as error:
        return MisshapenSet(path, event, error.violation)


def _misspelled_sets(path: Path, event: Object, _: Object) -> Sequence[Finding]:
    """Members that look like sets, and are none."""
    return [
        MisshapenSet(path, event, Violation(name, "import.name", f"looks like a set; write it as {right}"))
        for name, right in _OTHER_SPELLINGS.items()
        if isinstance(event.get(name), dict)
    ]


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
        return SkippedSet(f"set type {kind}", "" if kind in _OTHER_TYPES or "sdeType" in item else stranger)
    is_in_sets = listed is not None and surroundings.is_of_sets(listed)
    if is_in_sets and isinstance(item.get("data"), str | list):
        return _misshapen(path, item, field="")
    if record := _avro_name(item.get("data")) or _avro_name(item.get("body")):
        return SkippedSet(f"set type {record}", stranger)
    named = (name for name, value in item.items() if isinstance(value, dict))
    name = next(named, None) if is_in_sets else None
    return SkippedSet(f"set type {name}" if name else "no attribute set", stranger)


def _avro_name(value: Json) -> str:
    """The type of an Avro record, without the names before it."""
    if not isinstance(value, dict) or len(value) != 1:
        return ""
    return next(iter(value)).rpartition(".")[2]
