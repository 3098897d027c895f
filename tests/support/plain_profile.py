"""The meaning of a profile, as simple as possible: all events in order, each over the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from engagement import v1


def plain_profile(stored: Sequence[v1.StoredEvent], consumer_id: str, folding: v1.Folding) -> v1.Profile:
    """Folds events that are in the order of acceptance, without fields that the contract does not know."""
    profile = v1.Profile(consumer_id=consumer_id)
    for name in ("customer_info", "personal_info"):
        mine = [each for each in stored if each.event.HasField(name)]
        mine.sort(key=lambda each: (each.event.authenticated, getattr(each.event, name).server_time_stamp))
        for each in mine[-1:] if folding == v1.Folding.FOLDING_REPLACE else mine:
            attributes = getattr(each.event, name)
            for field, _ in attributes.ListFields():
                getattr(profile, name).ClearField(field.name)
                only = type(attributes)()
                only.CopyFrom(attributes)
                for other, _ in attributes.ListFields():
                    if other is not field:
                        only.ClearField(other.name)
                getattr(profile, name).MergeFrom(only)
                profile.sources[f"{name}.{field.name}"].CopyFrom(
                    v1.ValueSource(
                        cursor=each.cursor,
                        event_id=each.event.event_id,
                        server_time_stamp=attributes.server_time_stamp,
                        authenticated=each.event.authenticated,
                    )
                )
    profile.DiscardUnknownFields()
    return profile
