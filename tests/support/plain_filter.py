"""The meaning of `EventFilter` in plain Python: the reference for lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.message import Message

from engagement import v1

_WORD = re.compile("[^\\W_](?:[^\\W_]|[\u0300-\u036f])*")
_QUERY_PART = re.compile(r'"([^"]*)"|([^\s"]+)')


def takes(wanted: v1.EventFilter, stored: v1.StoredEvent) -> bool:
    """Whether an event matches."""
    event = stored.event
    customer = event.customer_info
    time_ms = (customer if event.HasField("customer_info") else event.personal_info).server_time_stamp
    set_number = 1 if event.HasField("customer_info") else 2
    return all(
        [
            not wanted.attribute_sets or set_number in wanted.attribute_sets,
            not wanted.consumer_ids or event.consumer_id in wanted.consumer_ids,
            not wanted.conversation_ids or event.conversation_id in wanted.conversation_ids,
            not wanted.customer_ids
            or (customer.HasField("customer_id") and customer.customer_id in wanted.customer_ids),
            not wanted.customer_statuses
            or (
                customer.HasField("customer_status")
                and customer.customer_status.casefold() in map(str.casefold, wanted.customer_statuses)
            ),
            not wanted.customer_types
            or (
                customer.HasField("customer_type")
                and customer.customer_type.casefold() in map(str.casefold, wanted.customer_types)
            ),
            not wanted.HasField("authenticated") or wanted.authenticated == event.authenticated,
            not wanted.HasField("start_time") or wanted.start_time.ToNanoseconds() <= time_ms * 1_000_000,
            not wanted.HasField("end_time") or time_ms * 1_000_000 < wanted.end_time.ToNanoseconds(),
            all(
                any(_occurs(phrase, words(value)) for value in _values(event))
                for phrase in phrases(wanted.text)
            ),
        ]
    )


def words(text: str) -> list[str]:
    """Runs of letters and digits, case-folded."""
    return _WORD.findall(text.casefold())


def phrases(text: str) -> list[list[str]]:
    """Words that must stand side by side: those of each quoted phrase, and those joined by punctuation."""
    return [words(quoted or plain) for quoted, plain in _QUERY_PART.findall(text)]


def _occurs(phrase: list[str], in_words: list[str]) -> bool:
    return any(
        in_words[start : start + len(phrase)] == phrase for start in range(len(in_words) - len(phrase) + 1)
    )


def _values(event: v1.Event) -> Iterator[str]:
    attributes = event.customer_info if event.HasField("customer_info") else event.personal_info
    yield from _texts(attributes)
    yield from event.additional_attributes.values()


def _texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            yield value
        elif isinstance(value, v1.Date):
            yield f"{value.year:04}-{value.month:02}-{value.day:02}"
        elif field.type == field.TYPE_MESSAGE:
            for part in value:
                yield from _texts(part)
