"""Decides whether an event matches an `EventFilter`, whichever way the event was found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import FilterInvalidError
from engagement_server.store.fold import caseless
from engagement_server.store.search import Phrase, attribute_values, contains_phrases, parse_text

if TYPE_CHECKING:
    from engagement_server.model import StoredRow

_SET_NUMBERS = {
    "customer_info": v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO,
    "personal_info": v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO,
}


@dataclass(frozen=True, slots=True)
class Predicate:
    """A filter, prepared for many events; its empty fields match every event."""

    attribute_sets: Collection[int]
    consumer_ids: Collection[str]
    conversation_ids: Collection[str]
    customer_ids: Collection[str]
    folded_statuses: Collection[str]
    folded_types: Collection[str]
    is_authenticated: bool | None
    start_ms: int | None
    end_ms: int | None
    phrases: Sequence[Phrase]

    @classmethod
    def of(cls, wanted: v1.EventFilter) -> Predicate:
        """Prepares a filter. Raises FilterInvalidError if it is malformed."""
        if wanted.HasField("start_time") and wanted.HasField("end_time"):
            _require_order(wanted.start_time.ToNanoseconds(), wanted.end_time.ToNanoseconds())
        return cls(
            attribute_sets=frozenset(wanted.attribute_sets),
            consumer_ids=frozenset(wanted.consumer_ids),
            conversation_ids=frozenset(wanted.conversation_ids),
            customer_ids=frozenset(wanted.customer_ids),
            folded_statuses=frozenset(map(caseless, wanted.customer_statuses)),
            folded_types=frozenset(map(caseless, wanted.customer_types)),
            is_authenticated=wanted.authenticated if wanted.HasField("authenticated") else None,
            start_ms=_ceil_ms(wanted.start_time.ToNanoseconds()) if wanted.HasField("start_time") else None,
            end_ms=_ceil_ms(wanted.end_time.ToNanoseconds()) if wanted.HasField("end_time") else None,
            phrases=parse_text(wanted.text),
        )

    @property
    def has_content(self) -> bool:
        """Whether it looks at values inside of an event."""
        return bool(
            self.consumer_ids
            or self.conversation_ids
            or self.customer_ids
            or self.folded_statuses
            or self.folded_types
            or self.phrases
        )

    def matches(self, row: StoredRow) -> bool:
        """Whether the event in a row matches."""
        return self.matches_event(v1.Event.FromString(row.payload), server_time_ms=row.server_time_ms)

    def matches_event(self, event: v1.Event, *, server_time_ms: int) -> bool:
        """Whether an event matches that is parsed already."""
        return self.matches_envelope(
            attribute_set=_SET_NUMBERS[event.WhichOneof("attributes")],
            authenticated=event.authenticated,
            server_time_ms=server_time_ms,
        ) and self.matches_content(event)

    def matches_envelope(self, *, attribute_set: int, authenticated: bool, server_time_ms: int) -> bool:
        """Whether the values match that are known without parsing the event."""
        return (
            (not self.attribute_sets or attribute_set in self.attribute_sets)
            and (self.is_authenticated is None or self.is_authenticated == authenticated)
            and (self.start_ms is None or server_time_ms >= self.start_ms)
            and (self.end_ms is None or server_time_ms < self.end_ms)
        )

    def matches_content(self, event: v1.Event) -> bool:
        """Whether the values inside of an event match."""
        customer = event.customer_info
        return (
            (not self.consumer_ids or event.consumer_id in self.consumer_ids)
            and (not self.conversation_ids or event.conversation_id in self.conversation_ids)
            and (
                not self.customer_ids
                or (customer.HasField("customer_id") and customer.customer_id in self.customer_ids)
            )
            and (
                not self.folded_statuses
                or (
                    customer.HasField("customer_status")
                    and caseless(customer.customer_status) in self.folded_statuses
                )
            )
            and (
                not self.folded_types
                or (
                    customer.HasField("customer_type")
                    and caseless(customer.customer_type) in self.folded_types
                )
            )
            and (not self.phrases or contains_phrases(attribute_values(event), self.phrases))
        )


def _require_order(start_ns: int, end_ns: int) -> None:
    if start_ns >= end_ns:
        description = "must be after filter.start_time"
        raise FilterInvalidError([Violation("filter.end_time", "server.filter.time_range", description)])


def _ceil_ms(nanoseconds: int) -> int:
    # Event times are whole milliseconds: a bound between two of them means the later one.
    return -(-nanoseconds // 1_000_000)
