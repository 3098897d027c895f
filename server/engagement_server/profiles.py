"""Profiles: the latest values of one consumer, folded from the consumer's events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from engagement import limits
from engagement_server.clock import now_ms
from engagement_server.errors import ProfileNotFoundError, ProfilePendingError
from engagement_server.jobs.hot_consumers import MIN_KEPT_EVENTS, Subject
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.profile_moment import ProfileMoment

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.cursor import Cursors
    from engagement_server.governor.turns import Caller
    from engagement_server.jobs.hot_consumers import HotConsumers
    from engagement_server.messages import Mask
    from engagement_server.model import FoldedProfile, LogBounds
    from engagement_server.store.profile_rows import Folding, ProfileRows
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers

MAX_READ_EVENTS = 20_000
"""Events that a read folds itself, more or less; with more left it is refused until they are folded."""
# Events that are removed during a read may be in what it has read.
_ATTEMPTS = 3


class Profiles:
    """Reads profiles."""

    def __init__(self, *, readers: Readers, hot_consumers: HotConsumers, cursors: Cursors) -> None:
        self._readers = readers
        self._hot_consumers = hot_consumers
        self._cursors = cursors

    async def read(self, request: v1.GetProfileRequest, *, mask: Mask | None, caller: Caller) -> v1.Profile:
        """The profile of a consumer, read step by step, so that other reads get their turn.

        Raises ProfileNotFoundError, and ProfilePendingError if its events are too many to be read at once;
        they are then folded in the background. A profile of the past is read to its end, however many they
        are: no fold of it could be kept.
        """
        for _ in range(_ATTEMPTS):
            reading = _Reading(request, ProfileMoment.of(request, now_ms=now_ms()), mask)
            answer = None
            while answer is None and not reading.has_lost_events:
                answer = await self._readers.run(partial(self._step, reading), caller=caller)
                self._require_few(reading)
            if answer is not None:
                profile, kept = answer
                if kept is not None:
                    self._hot_consumers.keep(request.account_id, kept)
                return profile
        raise ProfilePendingError

    def _require_few(self, reading: _Reading) -> None:
        """Raises ProfilePendingError if the events that are left should be folded in the background."""
        folding = reading.folding
        if folding is None or reading.is_complete or not reading.moment.is_now:
            return
        subject = Subject(reading.request.account_id, folding.consumer_id, folding.customer_id)
        stopped_at = self._hot_consumers.stopped_at(subject)
        if stopped_at is not None and folding.next_position > stopped_at:
            return
        if folding.matched > MAX_READ_EVENTS or self._hot_consumers.is_preparing(subject):
            self._hot_consumers.prepare(subject)
            raise ProfilePendingError

    def _step(self, reading: _Reading, reader: Reader) -> tuple[v1.Profile, FoldedProfile | None] | None:
        """Reads on; returns the profile once it is complete, and its fold if that is worth keeping."""
        with reader.transaction():
            reading.advance(reader)
        folding = reading.folding
        if folding is None or not reading.is_complete or reading.has_lost_events:
            return None
        if folding.fold.is_empty:
            raise _not_found(reading.request)
        profile = folding.fold.profile(
            folding.consumer_id,
            folding=reading.request.folding,
            encode=self._cursors.encode,
            name_upload=cache(reader.profiles.upload_id),
        )
        if reading.mask is not None:  # first: what is left out would tell how large the values are
            reading.mask.mask_profile(profile)
        _omit_largest(profile, max_bytes=limits.MAX_EVENT_BYTES)
        is_kept = folding.events >= MIN_KEPT_EVENTS and folding.is_worth_keeping
        return profile, folding.folded_profile() if is_kept else None


@dataclass(slots=True)
class _Reading:
    """The progress of reading one profile."""

    request: v1.GetProfileRequest
    moment: ProfileMoment
    mask: Mask | None
    start: LogBounds | None = None
    """How far the log reached when it began."""
    before: int | None = None
    """The customer id was not found in the events from here on."""
    folding: Folding | None = None
    is_complete: bool = False
    has_lost_events: bool = False
    """Whether events were removed meanwhile, which the fold may have."""

    def advance(self, reader: Reader) -> None:
        """Takes one step. Raises ProfileNotFoundError."""
        bounds = reader.bounds(self.request.account_id)
        if bounds is None:
            raise _not_found(self.request)
        if self.folding is None:
            self.start = self.start or bounds
            self._begin(reader.profiles, self.start)
        elif reader.profiles.has_removed_since(self.folding, bounds):
            self.has_lost_events = True
            return
        if self.folding is not None:
            self.is_complete = reader.profiles.advance(self.folding, max_seconds=STEP_SECONDS)

    def _begin(self, profiles: ProfileRows, bounds: LogBounds) -> None:
        request, moment = self.request, self.moment
        if request.HasField("consumer_id"):
            self.folding = profiles.fold_consumer(bounds, request.consumer_id, moment=moment)
            return
        consumer_id, self.before = profiles.find_consumer(
            bounds, request.customer_id, moment=moment, before=self.before, max_seconds=STEP_SECONDS
        )
        if consumer_id:
            self.folding = profiles.fold_consumer(bounds, consumer_id, moment=moment)
        elif consumer_id is not None:
            self.folding = profiles.fold_customer(bounds, request.customer_id, moment=moment)
        elif self.before is None:
            raise _not_found(request)


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
