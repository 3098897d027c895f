"""Events that tests send, good and bad, and as batches for a commit."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from engagement import v1
from engagement_server.model import Batch
from engagement_server.validation import admit_partly, examine

T = TypeVar("T")

_EMPTY_CHUNK = v1.UploadEventsRequest(chunk=v1.UploadEventsRequest.Chunk(sequence=1))


def customer_event(event_id: str = "event", /, **attributes: Any) -> v1.Event:  # Any: each has its own type
    """An event of the consumer "ada" with customer info; by default a status."""
    customer_info = v1.CustomerInfo(**(attributes or {"customer_status": "cancelled"}))
    return v1.Event(event_id=event_id, consumer_id="ada", customer_info=customer_info)


def personal_event(event_id: str = "event", /, **attributes: Any) -> v1.Event:  # Any: each has its own type
    """An event of the consumer "ada" with personal info; by default a name."""
    personal_info = v1.PersonalInfo(**(attributes or {"name": "Ada"}))
    return v1.Event(event_id=event_id, consumer_id="ada", personal_info=personal_info)


def text_fields(message: Message) -> list[str]:
    """Names of the text fields of a message."""
    return [field.name for field in message.DESCRIPTOR.fields if field.type == field.TYPE_STRING]


def with_texts(set_name: str, text: str) -> v1.Event:
    """An event with this text in all text fields of a set."""
    event = v1.Event(event_id=set_name)
    attributes = getattr(event, set_name)
    attributes.SetInParent()
    for name in text_fields(attributes):
        setattr(attributes, name, text)
    return event


def bad_event(event_id: str = "bad", /) -> v1.Event:
    """An event that breaks one rule: it has a month 13."""
    return customer_event(event_id, last_payment_date=v1.Date(year=2014, month=13, day=1))


def very_bad_event(event_id: str = "very bad", /) -> v1.Event:
    """An event that breaks more rules than its report may list."""
    event = customer_event(event_id)
    for number in range(40):
        event.additional_attributes[f"{number:02} " + "long key" * 30] = "\0"
    return event


def customer_events(count: int, *, start: int = 0) -> list[v1.Event]:
    """Good events with ids that sort by their numbers."""
    return [
        customer_event(f"event-{number:06}", balance=str(number)) for number in range(start, start + count)
    ]


def noise(characters: int, *, seed: str = "") -> str:
    """A text that hardly compresses."""
    return hashlib.shake_128(seed.encode()).hexdigest(characters // 2)


def batch_of(events: Sequence[v1.Event]) -> Batch:
    """Checked events, as a commit takes them."""
    return at_once(_admitted(events))


async def _admitted(events: Sequence[v1.Event]) -> Batch:
    return admit_partly(_EMPTY_CHUNK, events, await examine(events))


def at_once(coroutine: Coroutine[None, None, T]) -> T:
    """The result of a coroutine that waits for nothing but its next turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)  # a coroutine returns so
