"""An event of each attribute set that has a value of its own in every field, whatever the fields are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from google.protobuf.message import Message

from engagement import v1
from tests.support.contract import SETS

CONSUMER_ID = "consumer-1"
TIME_MS = 1_700_000_000_123


def filled_events() -> dict[str, v1.Event]:
    """The events by the names of their sets, which are their ids too. They break no rule."""
    numbers = itertools.count(1)
    events = {}
    for name, message_type in SETS.items():
        events[name] = v1.Event(
            event_id=name,
            consumer_id=CONSUMER_ID,
            conversation_id="conversation-1",
            authenticated=True,
            original_time_stamp=TIME_MS,
            source="crm",
            additional_attributes={"loyaltyTier": "gold"},
        )
        getattr(events[name], name).CopyFrom(_filled(message_type, numbers))
    return events


def _filled(message_type: type[Message], numbers: Iterator[int]) -> Message:
    message = message_type()
    for field in message.DESCRIPTOR.fields:
        number = next(numbers)
        if field.message_type is v1.Date.DESCRIPTOR:
            getattr(message, field.name).CopyFrom(v1.Date(year=1900 + number, month=2, day=3))
        elif field.message_type is v1.PersonalContact.DESCRIPTOR:
            getattr(message, field.name).append(_filled(v1.PersonalContact, numbers))
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, f"value{number}")
        else:
            assert field.name == "server_time_stamp", f"say here how to fill {field.full_name}"
            setattr(message, field.name, TIME_MS)
    return message
