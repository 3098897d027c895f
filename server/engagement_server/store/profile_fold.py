"""Folds the events of one consumer into a profile with the source event of each value.

The result does not depend on the order of the events, so partial folds can be stored and merged. This
module does not know how events are stored or found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import maxsize
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.message import Message

from engagement import v1

_FIELDS = {
    "customer_info": v1.CustomerInfo.DESCRIPTOR.fields,
    "personal_info": v1.PersonalInfo.DESCRIPTOR.fields,
}
# The only attribute that every event has.
_TIME = "server_time_stamp"
_STATUS, _TYPE = "customer_status", "customer_type"
_SINGLES = {
    set_name: [field.name for field in fields if not field.is_repeated and field.name != _TIME]
    for set_name, fields in _FIELDS.items()
}
_LISTS = {
    set_name: [field.name for field in fields if field.is_repeated] for set_name, fields in _FIELDS.items()
}


class Source(NamedTuple):
    """The event that a value comes from; the greater of two sources wins."""

    authenticated: bool
    server_time_ms: int
    position: int
    event_id: str
    matched_status: str | None = None
    """The entity that the event's customer status matched on acceptance."""
    matched_type: str | None = None
    upload: int | None = None
    """Number of the upload that brought the event; None: a single call did."""
    upload_event: int | None = None
    """Number of the event in the upload."""
    name: str = ""
    """Of the producing system."""


Key: TypeAlias = tuple[Any, ...]  # Any: the fields have types of their own
"""The fields of a Source up to `upload_event`; more are ignored."""
Value: TypeAlias = tuple[Source, Message]
"""The source of a value, and the attribute set that holds the value."""

_UNBEATEN = Source(authenticated=True, server_time_ms=maxsize, position=maxsize, event_id="")


class _SetFold:
    """The folded events of one attribute set, for both foldings."""

    __slots__ = ("_lists", "_lowest", "_singles", "_weakest", "beaten", "latest", "values")

    def __init__(self, set_name: str) -> None:
        self.values: dict[str, Value] = {}
        """The winning values, by attribute."""
        self.beaten: dict[str, Source] = {}
        """The event accepted last with an attribute, by attribute, unless it has won."""
        self.latest: Value | None = None
        self._singles = _SINGLES[set_name]
        """Singular attributes without a value so far."""
        self._lists = _LISTS[set_name]
        self._weakest = _UNBEATEN
        """The lowest source of a winning value."""
        self._lowest = maxsize
        """The lowest position of a winning value: no event before it has been beaten."""

    def add(self, key: Key, event: v1.Event, attributes: Message) -> None:
        # Newest first, an event only adds missing values: it is neither stronger nor accepted later.
        is_stronger, is_later = key > self._weakest, key[2] > self._lowest
        has = attributes.HasField
        found = [name for name in self._singles if has(name)]
        if self._lists:
            found += [name for name in self._lists if getattr(attributes, name)]
        if self.latest is None:
            found.append(_TIME)
        if not (found or is_stronger or is_later):
            return
        source = _complete(key, event, attributes)
        value = source, attributes
        if is_later:
            self._note({field.name: source for field, _ in attributes.ListFields()})
        if is_stronger:
            self._contest(value)
        if found:
            self._set_winners(dict.fromkeys(found, value))
        if self.latest is None or source > self.latest[0]:
            self.latest = value

    def add_ahead(self, key: Key, event: v1.Event, attributes: Message) -> None:
        """Adds an event that does not win."""
        source = _complete(key, event, attributes)
        self._note({field.name: source for field, _ in attributes.ListFields()})

    def merge(self, other: _SetFold) -> None:
        """Adds the values of another fold of the same set."""
        if other.latest is not None and (self.latest is None or other.latest[0] > self.latest[0]):
            self.latest = other.latest
        self._set_winners(
            {
                name: value
                for name, value in other.values.items()
                if name not in self.values or value[0] > self.values[name][0]
            }
        )
        self._note(other.last())

    def restore(self, name: str, value: Value) -> None:
        """Sets the winning value of an attribute."""
        self._set_winners({name: value})

    def winners(self) -> Iterator[Value]:
        """The winning values of both foldings."""
        yield from self.values.values()
        if self.latest is not None:
            yield self.latest

    def replaced(self) -> dict[str, Value]:
        """The values of the latest event, by attribute."""
        if self.latest is None:
            return {}
        return {field.name: self.latest for field, _ in self.latest[1].ListFields()}

    def last(self) -> dict[str, Source]:
        """The event accepted last with an attribute, by attribute."""
        return {name: source for name, (source, _) in self.values.items()} | self.beaten

    def merge_beaten(self) -> Iterator[tuple[str, Source, v1.BeatenValue.Rule]]:
        """The attributes with an event accepted after the winning one, that event, and why it lost."""
        for name, last in self.beaten.items():
            value = self.values.get(name)
            yield name, last, _rule(last, None if value is None else value[0])

    def replace_beaten(self) -> Iterator[tuple[str, Source, v1.BeatenValue.Rule]]:
        """As `merge_beaten`, of the latest event, which wins for all attributes of the set."""
        winner = None if self.latest is None else self.latest[0]
        for name, last in self.last().items():
            if winner is None or last.position > winner.position:
                yield name, last, _rule(last, winner)

    def note_beaten(self, name: str, source: Source) -> None:
        """Adds an event that has an attribute and does not win."""
        self._note({name: source})

    def _contest(self, value: Value) -> None:
        source, attributes = value
        present = {field.name for field, _ in attributes.ListFields()}
        self._set_winners(
            {name: value for name, (winner, _) in self.values.items() if source > winner and name in present}
        )

    def _set_winners(self, won: dict[str, Value]) -> None:
        if won:
            for name, (source, _) in won.items():
                last = self._last(name)
                if last is not None and last.position > source.position:
                    self.beaten[name] = last
                elif last is not None:
                    self.beaten.pop(name, None)
            self.values.update(won)
            self._singles = [name for name in self._singles if name not in won]
            self._lists = [name for name in self._lists if name not in won]
            self._weakest = min(source for source, _ in self.values.values())
            self._lowest = min(self._lowest, *[source.position for source, _ in won.values()])

    def _note(self, sources: dict[str, Source]) -> None:
        """Notes events with an attribute that do not win now, by attribute."""
        for name, source in sources.items():
            last = self._last(name)
            if last is None or source.position > last.position:
                self.beaten[name] = source

    def _last(self, name: str) -> Source | None:
        last = self.beaten.get(name)
        if last is None and name in self.values:
            return self.values[name][0]
        return last


class ProfileFold:
    """The folded events of one consumer."""

    def __init__(self) -> None:
        self._sets = {name: _SetFold(name) for name in _FIELDS}

    @classmethod
    def of_snapshot(cls, *, merged: bytes, replaced: bytes) -> ProfileFold:
        """The fold whose snapshots these are."""
        fold = cls()
        profile = v1.Profile.FromString(merged)
        for set_name, name, value in _read_values(profile):
            fold._sets[set_name].restore(name, value)
        for path, beaten in profile.beaten.items():
            set_name, _, name = path.partition(".")
            fold._sets[set_name].note_beaten(name, _read_source(beaten.source))
        for set_name, name, value in _read_values(v1.Profile.FromString(replaced)):
            if name == _TIME:
                fold._sets[set_name].latest = value
        return fold

    @property
    def is_empty(self) -> bool:
        """Whether the fold has no events."""
        return not any(each.values or each.beaten for each in self._sets.values())

    @property
    def oldest_position(self) -> int:
        """The lowest position of a source; some value has won."""
        return min(source.position for each in self._sets.values() for source, _ in each.winners())

    def add(self, key: Key, event: v1.Event) -> None:
        """Adds an event, which the fold keeps and changes. Newest first is the fastest order."""
        set_name = event.WhichOneof("attributes")
        attributes = event.customer_info if set_name == "customer_info" else event.personal_info
        self._sets[set_name].add(key, event, attributes)

    def add_ahead(self, key: Key, event: v1.Event) -> None:
        """Adds an event that does not win, because its time has not come yet."""
        set_name = event.WhichOneof("attributes")
        attributes = event.customer_info if set_name == "customer_info" else event.personal_info
        self._sets[set_name].add_ahead(key, event, attributes)

    def merge(self, other: ProfileFold) -> None:
        """Adds the events of another fold."""
        for set_name, each in self._sets.items():
            each.merge(other._sets[set_name])

    def profile(
        self,
        consumer_id: str,
        *,
        folding: v1.Folding,
        encode: Callable[[int], str],
        name_upload: Callable[[int], str],
    ) -> v1.Profile:
        """The profile; `encode` turns positions into cursors, `name_upload` numbers of uploads into ids.

        An upload without an id has no record any more.
        """
        profile = v1.Profile(consumer_id=consumer_id)
        is_replaced = folding == v1.Folding.FOLDING_REPLACE
        messages: dict[int, v1.ValueSource] = {}

        def message(source: Source) -> v1.ValueSource:
            # Most values come from few events.
            found = messages.get(source.position)
            if found is None:
                found = messages[source.position] = _value_source(source, encode, name_upload)
            return found

        for set_name, each in self._sets.items():
            values = each.replaced() if is_replaced else each.values
            for name, (source, attributes) in values.items():
                _copy(name, attributes, getattr(profile, set_name))
                profile.sources[f"{set_name}.{name}"].MergeFrom(message(source))
            if _STATUS in values:
                profile.matched_customer_status = values[_STATUS][0].matched_status or ""
            if _TYPE in values:
                profile.matched_customer_type = values[_TYPE][0].matched_type or ""
            for name, source, rule in each.replace_beaten() if is_replaced else each.merge_beaten():
                beaten = profile.beaten[f"{set_name}.{name}"]
                beaten.source.MergeFrom(message(source))
                beaten.rule = rule
        # Dates and contacts may bring fields that this contract does not know.
        profile.DiscardUnknownFields()
        return profile

    def snapshot(self, folding: v1.Folding) -> bytes:
        """The profile for storage: serialized, with positions and numbers instead of cursors and ids."""
        return self.profile("", folding=folding, encode=str, name_upload=str).SerializeToString()


def _complete(key: Key, event: v1.Event, attributes: Any) -> Source:  # Any: both have a time
    """The source with this key. Gives the attributes the time that producers may leave to the server."""
    source = Source(bool(key[0]), key[1], key[2], key[3], key[4], key[5], key[6], key[7], event.source)
    attributes.server_time_stamp = source.server_time_ms
    return source


def _rule(last: Source, winner: Source | None) -> v1.BeatenValue.Rule:
    """Why an event lost against one that was accepted before it."""
    # By its rank it would win.
    if winner is None or last > winner:
        return v1.BeatenValue.RULE_FUTURE
    if winner.authenticated and not last.authenticated:
        return v1.BeatenValue.RULE_AUTHENTICATED
    return v1.BeatenValue.RULE_LATER


def _value_source(
    source: Source, encode: Callable[[int], str], name_upload: Callable[[int], str]
) -> v1.ValueSource:
    message = v1.ValueSource(
        cursor=encode(source.position),
        event_id=source.event_id,
        server_time_stamp=source.server_time_ms,
        authenticated=source.authenticated,
        source=source.name,
    )
    if source.upload is not None and (upload_id := name_upload(source.upload)):
        message.upload.upload_id = upload_id
        message.upload.event_number = source.upload_event or 0
    return message


def _read_source(stored: v1.ValueSource) -> Source:
    return Source(
        stored.authenticated,
        stored.server_time_stamp,
        int(stored.cursor),
        stored.event_id,
        upload=int(stored.upload.upload_id) if stored.HasField("upload") else None,
        upload_event=stored.upload.event_number,
        name=stored.source,
    )


def _read_values(profile: v1.Profile) -> Iterator[tuple[str, str, Value]]:
    """The attribute sets, attributes and values of a snapshot."""
    for path, stored in profile.sources.items():
        set_name, _, name = path.partition(".")
        # The names belong to the values that matched them; where others have them they mean nothing.
        source = _read_source(stored)._replace(
            matched_status=profile.matched_customer_status, matched_type=profile.matched_customer_type
        )
        yield set_name, name, (source, getattr(profile, set_name))


def _copy(name: str, source: Message, target: Message) -> None:
    value = getattr(source, name)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    elif isinstance(value, int | str):
        setattr(target, name, value)
    else:
        getattr(target, name).extend(value)
