"""Profiles: the latest values of one consumer, folded from the consumer's events."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from engagement import limits
from engagement_server.errors import ProfileNotFoundError
from engagement_server.jobs.hot_consumers import MIN_KEPT_EVENTS

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.cursor import Cursors
    from engagement_server.governor.turns import Caller
    from engagement_server.jobs.hot_consumers import HotConsumers
    from engagement_server.model import FoldedProfile, LogBounds
    from engagement_server.store.profile_rows import Folding, ProfileRows
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers


class Profiles:
    """Reads profiles."""

    def __init__(self, *, readers: Readers, hot_consumers: HotConsumers, cursors: Cursors) -> None:
        self._readers = readers
        self._hot_consumers = hot_consumers
        self._cursors = cursors

    async def read(self, request: v1.GetProfileRequest, *, caller: Caller) -> v1.Profile:
        """The profile of a consumer. Raises ProfileNotFoundError."""
        profile, kept = await self._readers.run(lambda reader: self._fold(reader, request), caller=caller)
        if kept is not None:
            self._hot_consumers.keep(request.account_id, kept)
        return profile

    def _fold(self, reader: Reader, request: v1.GetProfileRequest) -> tuple[v1.Profile, FoldedProfile | None]:
        """The profile, and its fold if that is worth keeping."""
        with reader.transaction():
            bounds = reader.bounds(request.account_id)
            folding = None if bounds is None else _begin(reader.profiles, bounds, request)
            if folding is not None:
                reader.profiles.advance(folding)
        if folding is None or folding.fold.is_empty:
            raise _not_found(request)
        profile = folding.fold.profile(
            # Most values come from few events.
            folding.consumer_id,
            folding=request.folding,
            encode=cache(self._cursors.encode),
        )
        _omit_largest(profile, max_bytes=limits.MAX_EVENT_BYTES)
        is_worth_keeping = folding.consumer_id and folding.events >= MIN_KEPT_EVENTS
        return profile, folding.folded_profile() if is_worth_keeping else None


def _begin(profiles: ProfileRows, bounds: LogBounds, request: v1.GetProfileRequest) -> Folding | None:
    if request.HasField("consumer_id"):
        return profiles.fold_consumer(bounds, request.consumer_id)
    consumer_id = profiles.find_consumer(bounds, request.customer_id)
    if consumer_id is None:
        return None
    if consumer_id:
        return profiles.fold_consumer(bounds, consumer_id)
    return profiles.fold_customer(bounds, request.customer_id)


def _omit_largest(profile: v1.Profile, *, max_bytes: int) -> None:
    """Leaves out the largest values of a profile until it fits; each one is in the event it came from."""
    excess_bytes = profile.ByteSize() - max_bytes
    if excess_bytes <= 0:
        return
    sizes = [
        (_value_bytes(value), set_name, field.name)
        for set_name in ("customer_info", "personal_info")
        for field, value in getattr(profile, set_name).ListFields()
    ]
    for size_bytes, set_name, name in sorted(sizes, reverse=True):
        if excess_bytes <= 0:
            return
        getattr(profile, set_name).ClearField(name)
        path = f"{set_name}.{name}"
        profile.omitted_fields.append(path)
        # Its path takes a byte for its tag and one for its length.
        excess_bytes += len(path) + 2 - size_bytes


def _value_bytes(value: Any) -> int:  # Any: each attribute has its own type
    """The bytes of a value; those around it do not count."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, int):
        return 0
    return value.ByteSize() if isinstance(value, Message) else sum(item.ByteSize() for item in value)


def _not_found(request: v1.GetProfileRequest) -> ProfileNotFoundError:
    if request.HasField("consumer_id"):
        return ProfileNotFoundError(consumerId=request.consumer_id)
    return ProfileNotFoundError(customerId=request.customer_id)
