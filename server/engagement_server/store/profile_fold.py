"""Folds the events of one consumer into a profile with the source event of each value.

The result does not depend on the order of the events, so partial folds can be stored and merged. This
module does not know how events are stored or found.
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
# The only attribute that every event has.
_TIME = "server_time_stamp"


class Source(NamedTuple):
    """The event that a value comes from; the greater of two sources wins."""

    authenticated: bool
    server_time_ms: int
    position: int
    event_id: str


Value: TypeAlias = tuple[Source, Message]
"""The source of a value, and the attribute set that holds the value."""

_UNBEATEN = Source(authenticated=True, server_time_ms=maxsize, position=maxsize, event_id="")


class _SetFold:
    """The folded events of one attribute set, for both foldings."""

    __slots__ = ("_lists", "_singles", "_weakest", "latest", "values")

    def __init__(self, set_name: str) -> None:
        fields = _FIELDS[set_name]
        self.values: dict[str, Value] = {}
        """The winning values, by attribute."""
        self.latest: Value | None = None
        self._singles = [field.name for field in fields if not field.is_repeated]
        """Singular attributes without a value so far."""
        self._lists = [field.name for field in fields if field.is_repeated]
        self._weakest = _UNBEATEN
        """The lowest source of a winning value."""

    def add(self, source: Source, attributes: Message) -> None:
        if self.latest is None or source > self.latest[0]:
            self.latest = source, attributes
        # Newest first, an event only adds missing values and never gets here.
        if source > self._weakest:
            self._contest(source, attributes)
        has = attributes.HasField
        found = [name for name in self._singles if has(name)]
        if self._lists:
            found += [name for name in self._lists if getattr(attributes, name)]
        if found:
            self._set_winners(dict.fromkeys(found, (source, attributes)))

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

    def _contest(self, source: Source, attributes: Message) -> None:
        present = {field.name for field, _ in attributes.ListFields()}
        self._set_winners(
            {
                name: (source, attributes)
                for name, (winner, _) in self.values.items()
                if source > winner and name in present
            }
        )

    def _set_winners(self, won: dict[str, Value]) -> None:
        if won:
            self.values.update(won)
            self._singles = [name for name in self._singles if name not in won]
            self._lists = [name for name in self._lists if name not in won]
            self._weakest = min(source for source, _ in self.values.values())


class ProfileFold:
    """The folded events of one consumer."""

    def __init__(self) -> None:
        self._sets = {name: _SetFold(name) for name in _FIELDS}

    @classmethod
    def of_snapshot(cls, *, merged: bytes, replaced: bytes) -> ProfileFold:
        """The fold whose snapshots these are."""
        fold = cls()
        for set_name, name, value in _read_snapshot(merged):
            fold._sets[set_name].restore(name, value)
        for set_name, name, value in _read_snapshot(replaced):
            if name == _TIME:
                fold._sets[set_name].latest = value
        return fold

    @property
    def is_empty(self) -> bool:
        """Whether the fold has no events."""
        return all(each.latest is None for each in self._sets.values())

    @property
    def oldest_position(self) -> int:
        """The lowest position of a source."""
        return min(source.position for each in self._sets.values() for source, _ in each.winners())

    def add(self, source: Source, event: v1.Event) -> None:
        """Adds an event, which the fold keeps and changes. Newest first is the fastest order."""
        set_name = event.WhichOneof("attributes")
        attributes = event.customer_info if set_name == "customer_info" else event.personal_info
        # Producers may leave the time to the server.
        attributes.server_time_stamp = source.server_time_ms
        self._sets[set_name].add(source, attributes)

    def merge(self, other: ProfileFold) -> None:
        """Adds the events of another fold."""
        for set_name, each in self._sets.items():
            each.merge(other._sets[set_name])

    def profile(self, consumer_id: str, *, folding: v1.Folding, encode: Callable[[int], str]) -> v1.Profile:
        """The profile; `encode` turns positions into cursors."""
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
        # Dates and contacts may bring fields that this contract does not know.
        profile.DiscardUnknownFields()
        return profile

    def snapshot(self, folding: v1.Folding) -> bytes:
        """The profile for storage: serialized, with positions instead of cursors."""
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
