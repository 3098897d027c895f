"""The meaning of a profile, as simple as possible: all events in order, each over the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engagement import v1

END_MS = 1 << 62
Rule = v1.BeatenValue.Rule


class _Fact(NamedTuple):
    """What an event says about an attribute."""

    stored: v1.StoredEvent
    set_name: str
    place: int
    """In the order of acceptance."""

    @property
    def attributes(self) -> v1.CustomerInfo | v1.PersonalInfo:
        found = getattr(self.stored.event, self.set_name)
        assert isinstance(found, v1.CustomerInfo | v1.PersonalInfo)
        return found

    @property
    def rank(self) -> tuple[bool, int, int]:
        return self.stored.event.authenticated, self.attributes.server_time_stamp, self.place

    @property
    def source(self) -> v1.ValueSource:
        event = self.stored.event
        return v1.ValueSource(
            upload=self.stored.upload if self.stored.HasField("upload") else None,
            cursor=self.stored.cursor,
            event_id=event.event_id,
            server_time_stamp=self.attributes.server_time_stamp,
            authenticated=event.authenticated,
            source=event.source,
        )


def plain_profile(
    stored: Sequence[v1.StoredEvent], consumer_id: str, folding: v1.Folding, *, due_ms: int = END_MS
) -> v1.Profile:
    """Folds events that are in the order of acceptance, without fields that the contract does not know.

    Events after `due_ms` do not win, unless they were accepted at their time or later.
    """
    profile = v1.Profile(consumer_id=consumer_id)
    for set_name in ("customer_info", "personal_info"):
        facts = [
            _Fact(each, set_name, place)
            for place, each in enumerate(stored)
            if each.event.WhichOneof("attributes") == set_name
        ]
        due = sorted((fact for fact in facts if _is_due(fact, due_ms)), key=lambda fact: fact.rank)
        for name in getattr(profile, set_name).DESCRIPTOR.fields_by_name:
            with_name = [fact for fact in facts if _says(fact, name)]
            if folding == v1.Folding.FOLDING_REPLACE:
                winner = due[-1] if due else None
            else:
                winner = next((fact for fact in reversed(due) if _says(fact, name)), None)
            path = f"{set_name}.{name}"
            if winner is not None and _says(winner, name):
                _take(winner, name, profile)
                profile.sources[path].CopyFrom(winner.source)
            if with_name and (winner is None or with_name[-1].place > winner.place):
                last = with_name[-1]
                profile.beaten[path].CopyFrom(
                    v1.BeatenValue(source=last.source, rule=_rule(last, winner, due_ms))
                )
    profile.DiscardUnknownFields()
    return profile


def _is_due(fact: _Fact, due_ms: int) -> bool:
    time_ms = fact.attributes.server_time_stamp
    return time_ms <= due_ms or time_ms <= fact.stored.receive_time.ToMilliseconds()


def _says(fact: _Fact, name: str) -> bool:
    return any(field.name == name for field, _ in fact.attributes.ListFields())


def _rule(last: _Fact, winner: _Fact | None, due_ms: int) -> Rule:
    if winner is not None and winner.stored.event.authenticated and not last.stored.event.authenticated:
        return v1.BeatenValue.RULE_AUTHENTICATED
    if not _is_due(last, due_ms):
        return v1.BeatenValue.RULE_FUTURE
    return v1.BeatenValue.RULE_LATER


def _take(winner: _Fact, name: str, profile: v1.Profile) -> None:
    """Copies an attribute, and the name that it matched."""
    only = type(winner.attributes).FromString(winner.attributes.SerializeToString())
    for other, _ in winner.attributes.ListFields():
        if other.name != name:
            only.ClearField(other.name)
    getattr(profile, winner.set_name).MergeFrom(only)
    if name == "customer_status":
        profile.matched_customer_status = winner.stored.matched_customer_status
    if name == "customer_type":
        profile.matched_customer_type = winner.stored.matched_customer_type
