"""Finds the attribute sets in a record, whatever its shape, and the context of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from engagement.liveperson.avro import plain_members
from engagement.liveperson.documents import HUGE_LISTS, Record
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.values import Json, Object, text_of, without

_EXPORTED_SETS: Final = {"customerInfo": "customer_info", "personalInfo": "personal_info"}
_SET_TYPES: Final = {"customerInfo": "CUSTOMER_INFO", "personalInfo": "PERSONAL_INFO"}
_INBOUND_SETS: Final = {"ctmrinfo": ("customer_info", "info"), "personal": ("personal_info", "personal")}
_OTHER_INBOUND_SETS: Final = frozenset(
    {"cart", "error", "lead", "mrktInfo", "prodView", "purchase", "searchInfo", "service"}
)
_EVENT_LISTS: Final = {"sdes": True, "unAuthSdes": False, "events": False}
"""Lists of events inside a record, and whether the source vouches for their content."""


# The next three are tuples, not dataclasses: they are created for every event, at a third of the cost.


class Context(NamedTuple):
    """The subject of a conversation or session; empty if it is not given."""

    account_id: str = ""
    conversation_id: str = ""
    consumer_id: str = ""


class Origin(NamedTuple):
    """The origin of an event."""

    place: str
    event: Json
    """The whole event, as it is in the source."""
    context: Context | None = None
    """None if the event is not part of a conversation or session."""
    is_vouched: bool = False
    """Whether the source vouches for the customer if the event itself does not say."""


class FoundSet(NamedTuple):
    """An attribute set as the source nests it."""

    origin: Origin
    name: str
    """`customer_info` or `personal_info`."""
    levels: tuple[Object, ...]
    """The members of the set, then those of each enclosing object, up to the event."""
    is_inbound: bool = False
    """Whether a page or an app pushed it: it has no context, and cannot claim to be authenticated."""


@dataclass(frozen=True, slots=True)
class SkippedSet:
    """An item that is not an attribute set: of another type, or empty."""

    reason: str
    stranger: str = ""
    """The place of an item that nothing known of these platforms looks like."""


@dataclass(frozen=True, slots=True)
class MisshapenSet:
    """A value that cannot be a set, in the place of one."""

    origin: Origin
    error: UnreadableError


Finding = FoundSet | SkippedSet | MisshapenSet


def find_sets(record: Record) -> Iterator[Finding]:
    """The attribute sets of a record, in order."""
    members = record.value
    if isinstance(members, dict) and not members.keys().isdisjoint(_EVENT_LISTS):
        yield from _find_in_lists(record.place, members)
        return
    for finding in _find_in_event(Origin(record.place, members)):
        if not (record.is_remainder and isinstance(finding, SkippedSet)):
            yield finding


def _find_in_lists(place: str, record: Object) -> Iterator[Finding]:
    """The sets of a conversation or session: its own, then those in its lists."""
    context = _read_context(record)
    own: Object = {name: record[name] for name in _EXPORTED_SETS if record.get(name) is not None}
    if own:
        yield from _find_in_event(Origin(place, own, context))
    for name, is_vouched in _EVENT_LISTS.items():
        for event_place, event in _events(f"{place}.{name}", record.get(name)):
            yield from _find_in_event(Origin(event_place, event, context, is_vouched))


def _events(place: str, value: Json) -> Iterator[tuple[str, Json]]:
    """The events of a list, which may be wrapped in an object, or be a single event."""
    if isinstance(value, dict) and "events" in value:
        place, value = f"{place}.events", value["events"]
    if isinstance(value, list):
        for index, event in enumerate(value):
            yield f"{place}[{index}]", event
    elif value:
        yield place, value


def _read_context(record: Object) -> Context:
    info = record.get("info")
    owners = (info, record) if isinstance(info, dict) else (record,)
    return Context(
        account_id=_first_text(owners, "brandId", "accountId"),
        conversation_id=_first_text(owners, "conversationId", "engagementId", "sessionId"),
        consumer_id=_first_text(_participants(record), "participantId")
        or _first_text(owners, "visitorId", "consumerId"),
    )


def _participants(record: Object) -> tuple[Object, ...]:
    for name in ("consumerParticipants", "consumerParticipant"):
        participants = record.get(name)
        if isinstance(participants, dict):
            return (participants,)
        if isinstance(participants, list):
            return tuple(item for item in participants if isinstance(item, dict))
    return ()


def _first_text(owners: tuple[Object, ...], *names: str) -> str:
    texts = (text_of(owner.get(name)) for name in names for owner in owners)
    return next(filter(None, texts), "")


def _find_in_event(origin: Origin) -> Iterator[Finding]:
    """The sets of one event, which may have both."""
    event = origin.event
    if event is None:
        yield SkippedSet("null")
    elif not isinstance(event, dict):
        yield _misshapen(origin, field="")
    else:
        is_exported = False
        for name in _EXPORTED_SETS:
            if event.get(name) is not None:
                is_exported = True
                yield _exported_set(origin, event, name=name)
        if not is_exported:
            yield _other_set(origin, event)


def _exported_set(origin: Origin, event: Object, *, name: str) -> Finding:
    """A set under its own name, nested once, or twice with more members around the inner one."""
    wrapper = event[name]
    inner = wrapper.get(name, wrapper) if isinstance(wrapper, dict) else wrapper
    if inner is None:
        inner = {}
    if not isinstance(wrapper, dict) or not isinstance(inner, dict):
        return _misshapen(origin, field=_EXPORTED_SETS[name])
    around = without(event, *_EXPORTED_SETS)
    if around.get("sdeType") == _SET_TYPES[name]:
        del around["sdeType"]
    levels = (inner, around) if inner is wrapper else (inner, without(wrapper, name), around)
    return FoundSet(origin, _EXPORTED_SETS[name], levels)


def _other_set(origin: Origin, event: Object) -> Finding:
    """A set in one of the other shapes: pushed by a page, or from an Avro file."""
    kind = text_of(event.get("sdeType")) or text_of(event.get("type")) or ""
    if kind in _INBOUND_SETS:
        return _inbound_set(origin, event, kind=kind)
    if kind in _SET_TYPES.values():
        return SkippedSet("empty set")
    is_at_home = origin.context or "sdeType" in event or origin.place.partition("[")[0] in HUGE_LISTS
    stranger = "" if is_at_home else origin.place
    if kind:
        return SkippedSet(f"set type {kind}", "" if kind in _OTHER_INBOUND_SETS else stranger)
    if "data" in event:
        return _avro_set(origin, event)
    named = (name for name, value in event.items() if isinstance(value, dict))
    name = next(named, None) if origin.context else None
    return SkippedSet(f"set type {name}" if name else "no attribute set", stranger)


def _inbound_set(origin: Origin, event: Object, *, kind: str) -> Finding:
    name, member = _INBOUND_SETS[kind]
    inner = event.get(member)
    if inner is None:
        return SkippedSet("empty set")
    if not isinstance(inner, dict):
        return _misshapen(origin, field=name)
    levels = (inner, without(event, "type", member))
    return FoundSet(origin, name, levels, is_inbound=origin.context is None)


def _avro_set(origin: Origin, event: Object) -> Finding:
    """A set whose type is the name of its Avro record, such as `com.example.CustomerInfo`."""
    data = event["data"]
    if not data:
        return SkippedSet("empty set")
    if not isinstance(data, dict):
        return _misshapen(origin, field="")
    full_name = next(iter(data))
    kind = full_name.rpartition(".")[2]
    member = f"{kind[:1].lower()}{kind[1:]}"
    if member not in _EXPORTED_SETS:
        return SkippedSet(f"set type {kind}")
    if data[full_name] is None:
        return SkippedSet("empty set")
    try:
        wrapped = plain_members({**event, "data": without(data, full_name), member: data[full_name]})
    except UnreadableError as error:
        return MisshapenSet(origin, error)
    if "timestamp" in wrapped:
        wrapped.setdefault("serverTimeStamp", wrapped.pop("timestamp"))
    return _exported_set(origin, wrapped, name=member)


def _misshapen(origin: Origin, *, field: str) -> MisshapenSet:
    error = UnreadableError(field, rule="import.object", description="must be a JSON object")
    return MisshapenSet(origin, error)
