"""Decides whether an event matches an `EventFilter`, whichever way the event was found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement import v1
from engagement.rules import Violation
from engagement_server.clock import ceil_ms
from engagement_server.errors import FilterInvalidError
from engagement_server.store.fold import caseless, near_form
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
    subject_ids: Collection[str]
    folded_statuses: Collection[str]
    folded_types: Collection[str]
    is_authenticated: bool | None
    start_ms: int | None
    end_ms: int | None
    receive_start_ms: int | None
    receive_end_ms: int | None
    phrases: Sequence[Phrase]
    spelled: Callable[[str], str]
    """The form of an id that is compared."""

    @classmethod
    def of(cls, wanted: v1.EventFilter, *, in_any_spelling: bool = False) -> Predicate:
        """Prepares a filter, whose ids match in any spelling if that is wanted: see `near_form`.

        Raises FilterInvalidError if it is malformed.
        """
        start_ms, end_ms = _time_range(wanted, "start_time", "end_time")
        receive_start_ms, receive_end_ms = _time_range(wanted, "receive_start_time", "receive_end_time")
        spelled = near_form if in_any_spelling else str
        return cls(
            attribute_sets=frozenset(wanted.attribute_sets),
            consumer_ids=frozenset(map(spelled, wanted.consumer_ids)),
            conversation_ids=frozenset(map(spelled, wanted.conversation_ids)),
            customer_ids=frozenset(map(spelled, wanted.customer_ids)),
            subject_ids=frozenset(map(spelled, wanted.subject_ids)),
            folded_statuses=frozenset(map(caseless, wanted.customer_statuses)),
            folded_types=frozenset(map(caseless, wanted.customer_types)),
            is_authenticated=wanted.authenticated if wanted.HasField("authenticated") else None,
            start_ms=start_ms,
            end_ms=end_ms,
            receive_start_ms=receive_start_ms,
            receive_end_ms=receive_end_ms,
            phrases=parse_text(wanted.text),
            spelled=spelled,
        )

    @property
    def has_content(self) -> bool:
        """Whether it looks at values inside of an event."""
        return bool(
            self.consumer_ids
            or self.conversation_ids
            or self.customer_ids
            or self.subject_ids
            or self.folded_statuses
            or self.folded_types
            or self.phrases
        )

    def matches(self, row: StoredRow) -> bool:
        """Whether the event in a row matches."""
        return self.matches_event(
            v1.Event.FromString(row.payload),
            server_time_ms=row.server_time_ms,
            receive_time_ms=row.receive_time_ms,
        )

    def matches_event(self, event: v1.Event, *, server_time_ms: int, receive_time_ms: int) -> bool:
        """Whether an event matches that is parsed already."""
        return self.matches_envelope(
            attribute_set=_SET_NUMBERS[event.WhichOneof("attributes")],
            authenticated=event.authenticated,
            server_time_ms=server_time_ms,
            receive_time_ms=receive_time_ms,
        ) and self.matches_content(event)

    def matches_envelope(
        self, *, attribute_set: int, authenticated: bool, server_time_ms: int, receive_time_ms: int
    ) -> bool:
        """Whether the values match that are known without parsing the event."""
        return (
            (not self.attribute_sets or attribute_set in self.attribute_sets)
            and (self.is_authenticated is None or self.is_authenticated == authenticated)
            and (self.start_ms is None or server_time_ms >= self.start_ms)
            and (self.end_ms is None or server_time_ms < self.end_ms)
            and (self.receive_start_ms is None or receive_time_ms >= self.receive_start_ms)
            and (self.receive_end_ms is None or receive_time_ms < self.receive_end_ms)
        )

    def matches_content(self, event: v1.Event) -> bool:
        """Whether the values inside of an event match."""
        customer, spelled = event.customer_info, self.spelled
        return (
            (not self.consumer_ids or spelled(event.consumer_id) in self.consumer_ids)
            and (not self.conversation_ids or spelled(event.conversation_id) in self.conversation_ids)
            and (
                not self.customer_ids
                or (customer.HasField("customer_id") and spelled(customer.customer_id) in self.customer_ids)
            )
            and (
                not self.subject_ids
                or spelled(event.consumer_id) in self.subject_ids
                or (customer.HasField("customer_id") and spelled(customer.customer_id) in self.subject_ids)
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


def _time_range(wanted: v1.EventFilter, start: str, end: str) -> tuple[int | None, int | None]:
    """The bounds in two fields of a filter. Raises FilterInvalidError unless they are in order."""
    start_ns, end_ns = (
        getattr(wanted, name).ToNanoseconds() if wanted.HasField(name) else None for name in (start, end)
    )
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        description = f"must be after filter.{start}"
        raise FilterInvalidError([Violation(f"filter.{end}", "server.filter.time_range", description)])
    return _bound_ms(start_ns), _bound_ms(end_ns)


def _bound_ms(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else ceil_ms(nanoseconds)
