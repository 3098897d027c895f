"""Folds the events of one consumer into a profile: for each value, the event that it comes from.

A fold does not depend on the order in which events are added, so that parts of it can be kept and
brought together. It knows nothing of how events are stored or found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import maxsize
from typing import NamedTuple, TypeAlias

from google.protobuf.message import Message

from engagement import v1

_FIELDS = {
    "customer_info": v1.CustomerInfo.DESCRIPTOR.fields,
    "personal_info": v1.PersonalInfo.DESCRIPTOR.fields,
}
# The one value that every event has.
_TIME = "server_time_stamp"


class Source(NamedTuple):
    """The event that a value comes from; of two, the greater one wins."""

    authenticated: bool
    server_time_ms: int
    position: int
    event_id: str


Value: TypeAlias = tuple[Source, Message]
"""Where a value comes from, and the attribute set that holds it."""

_UNBEATEN = Source(authenticated=True, server_time_ms=maxsize, position=maxsize, event_id="")


class _SetFold:
    """The events of one attribute set, folded in either way."""

    __slots__ = ("_lists", "_singles", "_weakest", "latest", "values")

    def __init__(self, set_name: str) -> None:
        fields = _FIELDS[set_name]
        self.values: dict[str, Value] = {}
        """The winners by name of the attribute."""
        self.latest: Value | None = None
        self._singles = [field.name for field in fields if not field.is_repeated]
        """Attributes without a value so far."""
        self._lists = [field.name for field in fields if field.is_repeated]
        self._weakest = _UNBEATEN
        """The source that is the easiest to win over."""

    def add(self, source: Source, attributes: Message) -> None:
        if self.latest is None or source > self.latest[0]:
            self.latest = source, attributes
        # Newest first, an event only adds what is missing: no other look at what is there.
        if source > self._weakest:
            self._contest(source, attributes)
        has = attributes.HasField
        found = [name for name in self._singles if has(name)]
        if self._lists:
            found += [name for name in self._lists if getattr(attributes, name)]
        if found:
            self._settle(dict.fromkeys(found, (source, attributes)))

    def merge(self, other: _SetFold) -> None:
        """Adds what another fold has of the same set."""
        if other.latest is not None and (self.latest is None or other.latest[0] > self.latest[0]):
            self.latest = other.latest
        self._settle(
            {
                name: value
                for name, value in other.values.items()
                if name not in self.values or value[0] > self.values[name][0]
            }
        )

    def keep(self, name: str, value: Value) -> None:
        """Sets a value that won before."""
        self._settle({name: value})

    def kept(self) -> Iterator[Value]:
        """All that is kept, in either way of folding."""
        yield from self.values.values()
        if self.latest is not None:
            yield self.latest

    def replaced(self) -> dict[str, Value]:
        """The values of the latest event by name."""
        if self.latest is None:
            return {}
        return {field.name: self.latest for field, _ in self.latest[1].ListFields()}

    def _contest(self, source: Source, attributes: Message) -> None:
        present = {field.name for field, _ in attributes.ListFields()}
        self._settle(
            {
                name: (source, attributes)
                for name, (winner, _) in self.values.items()
                if source > winner and name in present
            }
        )

    def _settle(self, won: dict[str, Value]) -> None:
        if won:
            self.values.update(won)
            self._singles = [name for name in self._singles if name not in won]
            self._lists = [name for name in self._lists if name not in won]
            self._weakest = min(source for source, _ in self.values.values())


class ProfileFold:
    """Any number of events of one consumer."""

    def __init__(self) -> None:
        self._sets = {name: _SetFold(name) for name in _FIELDS}

    @classmethod
    def of_snapshot(cls, *, merged: bytes, replaced: bytes) -> ProfileFold:
        """The fold whose two profiles `snapshot` serialized."""
        fold = cls()
        for set_name, name, value in _read_snapshot(merged):
            fold._sets[set_name].keep(name, value)
        for set_name, name, value in _read_snapshot(replaced):
            if name == _TIME:
                fold._sets[set_name].latest = value
        return fold

    @property
    def is_empty(self) -> bool:
        """Whether no event was added."""
        return all(each.latest is None for each in self._sets.values())

    @property
    def oldest_position(self) -> int:
        """Lowest position that a value comes from."""
        return min(source.position for each in self._sets.values() for source, _ in each.kept())

    def add(self, source: Source, event: v1.Event) -> None:
        """Adds an event. The newer ones first is the fastest order; the event is the fold's from now on."""
        set_name = event.WhichOneof("attributes")
        attributes = event.customer_info if set_name == "customer_info" else event.personal_info
        # The time that the event was given where its source left it to the server.
        attributes.server_time_stamp = source.server_time_ms
        self._sets[set_name].add(source, attributes)

    def merge(self, other: ProfileFold) -> None:
        """Adds the events of another fold."""
        for set_name, each in self._sets.items():
            each.merge(other._sets[set_name])

    def profile(self, consumer_id: str, *, folding: v1.Folding, encode: Callable[[int], str]) -> v1.Profile:
        """The profile, with the cursors that `encode` makes of positions."""
        profile = v1.Profile(consumer_id=consumer_id)
        for set_name, each in self._sets.items():
            values = each.replaced() if folding == v1.Folding.FOLDING_REPLACE else each.values
            for name, (source, attributes) in values.items():
                _copy(name, attributes, getattr(profile, set_name))
                profile.sources[f"{set_name}.{name}"].MergeFrom(
                    v1.ValueSource(
                        cursor=encode(source.position),
                        event_id=source.event_id,
                        server_time_stamp=source.server_time_ms,
                        authenticated=source.authenticated,
                    )
                )
        # Fields that this contract does not know come along inside of dates and contacts.
        profile.DiscardUnknownFields()
        return profile

    def snapshot(self, folding: v1.Folding) -> bytes:
        """A serialized profile with positions in the place of cursors, which outlives the process."""
        return self.profile("", folding=folding, encode=str).SerializeToString()


def _read_snapshot(snapshot: bytes) -> Iterator[tuple[str, str, Value]]:
    """The attribute sets, attributes and values of a snapshot."""
    profile = v1.Profile.FromString(snapshot)
    for path, stored in profile.sources.items():
        set_name, _, name = path.partition(".")
        source = Source(stored.authenticated, stored.server_time_stamp, int(stored.cursor), stored.event_id)
        yield set_name, name, (source, getattr(profile, set_name))


def _copy(name: str, source: Message, target: Message) -> None:
    value = getattr(source, name)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    elif isinstance(value, int | str):
        setattr(target, name, value)
    else:
        getattr(target, name).extend(value)
