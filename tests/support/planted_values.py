"""Requests to every call with a planted text in each field that may hold a value of a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from engagement.uuid7 import uuid7
from tests.support.attack_ways import ways_of
from tests.support.contract import Method
from tests.support.filled_messages import fill
from tests.support.personal_events import SECRET, personal_events

IDENT = "zqident"
"""In ids and in other texts, which callers get back, and nobody else."""
KEY = "zqkey"
"""In keys of additional attributes: errors about an event name them to whoever has sent it."""


def planted_events() -> list[v1.Event]:
    """Good events, new at each call, with values of a person in every field that may hold one."""
    events = list(personal_events().values())
    for event in events:
        event.event_id = f"{IDENT} {uuid7()}"
        event.consumer_id = IDENT
        event.conversation_id = f"{IDENT} conversation"
        event.source = "crm"  # the name of a system, which operators see
        event.additional_attributes[f"{KEY} good"] = f"{SECRET} value"
    return events


def bad_events() -> list[v1.Event]:
    """Events that break rules with their values."""
    events = []
    for event in planted_events():
        event.additional_attributes[f"{KEY}@example.com"] = f"{SECRET}\0"
        set_name = str(event.WhichOneof("attributes"))
        attributes: Any = getattr(event, set_name)  # Any: of either set
        for field, value in [*attributes.ListFields()]:
            if isinstance(value, str):
                setattr(attributes, field.name, f"{value}\0")
        events.append(event)
    return events


def right_and_wrong_requests(method: Method, account_id: str) -> Iterator[list[Message]]:
    """Requests that a call takes, and others that it refuses; values of persons are planted in all."""
    for way in ways_of(method):
        value = SECRET if way.kind == "text" else IDENT
        requests = way.requests(account_id, value=value, fresh=f"{IDENT} {uuid7()}")
        yield from (_with_events(requests, event) for event in (*planted_events(), *bad_events()))
    for account in (account_id, f"{SECRET} is no account"):
        request = GetMessageClass(method.input_type)()
        fill(request, IDENT, account=account)
        _plant(request)
        if isinstance(request, v1.SubscribeEventsRequest):
            request.stop_at_tail = True
        yield [request]


def _with_events(requests: list[Message], event: v1.Event) -> list[Message]:
    """The requests with an event in place of theirs."""
    return [_replaced(request, event) for request in requests]


def _replaced(request: Message, event: v1.Event) -> Message:
    copy = type(request).FromString(request.SerializeToString())
    for field, value in copy.ListFields():
        if field.message_type is v1.Event.DESCRIPTOR:
            (value[0] if field.is_repeated else value).CopyFrom(event)
        elif field.message_type is v1.UploadEventsRequest.Chunk.DESCRIPTOR:
            value.CopyFrom(_replaced(value, event))
    return copy


def _plant(message: Message) -> None:
    """Puts the planted text into each field of events that may hold a value of a person."""
    for field, value in message.ListFields():
        if field.name == "additional_attributes":
            value.clear()
            value[f"{SECRET} key"] = f"{SECRET} value"
        elif field.name == "text" or field.GetOptions().debug_redact:
            if isinstance(value, str):
                setattr(message, field.name, SECRET)
            elif field.message_type is not None and field.is_repeated:
                for item in value:
                    _mark_all(item)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else (value,):
                _plant(item)


def _mark_all(message: Message) -> None:
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, SECRET)
