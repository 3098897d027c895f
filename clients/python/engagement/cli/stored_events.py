"""Describes a stored event in text: as a row, or in full."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from engagement import v1
from engagement.cli.moment import write_epoch_ms
from engagement.cli.printing import visible

ROW_NAMES: Final = ("time", "set", "consumer", "customer", "status", "type", "attributes")
FULL_ROW_NAMES: Final = (*ROW_NAMES, "authenticated", "conversation", "event_id", "cursor")

_SETS: Final = {"customer_info": "customer", "personal_info": "personal"}
CUSTOMER_ID: Final = "customerId"
_IN_COLUMNS: Final = frozenset({"serverTimeStamp", CUSTOMER_ID, "customerStatus", "customerType"})
_BARE: Final = re.compile(r'[^\s"=]+')


def to_row(stored: v1.StoredEvent, *, max_value_characters: int) -> tuple[str, ...]:
    """The values for ROW_NAMES; each attribute is cut to a number of characters, unless that is negative."""
    event = stored.event
    customer = event.customer_info
    return (
        _time_of(event),
        _SETS.get(event.WhichOneof("attributes") or "", ""),
        visible(event.consumer_id),
        visible(customer.customer_id),
        customer.customer_status,
        customer.customer_type,
        " ".join(
            f"{name}={_quote(_cut(value, max_value_characters))}"
            for name, value in attributes_of(event)
            if name not in _IN_COLUMNS
        ),
    )


def to_full_row(stored: v1.StoredEvent) -> tuple[str, ...]:
    """The values for FULL_ROW_NAMES, uncut."""
    event = stored.event
    return (
        *to_row(stored, max_value_characters=-1),
        "true" if event.authenticated else "false",
        visible(event.conversation_id),
        visible(event.event_id),
        stored.cursor,
    )


def to_pairs(stored: v1.StoredEvent) -> Iterator[tuple[str, str]]:
    """All fields of an event, with their names."""
    event = stored.event
    yield "event id", visible(event.event_id)
    yield "cursor", stored.cursor
    yield "received", stored.receive_time.ToJsonString()
    yield "time", _time_of(event)
    if event.HasField("original_time_stamp"):
        yield "original time", write_epoch_ms(event.original_time_stamp)
    yield "set", _SETS.get(event.WhichOneof("attributes") or "", "")
    yield "authenticated", "yes" if event.authenticated else "no"
    named = {
        "consumer": visible(event.consumer_id),
        "conversation": visible(event.conversation_id),
        "source": event.source,
        "matched status": stored.matched_customer_status,
        "matched type": stored.matched_customer_type,
    }
    yield from ((name, value) for name, value in named.items() if value)
    if stored.HasField("upload"):
        yield "upload", stored.upload.upload_id
        yield "upload event", str(stored.upload.event_number)
    for name, value in attributes_of(event):
        yield name, visible(value) if name == CUSTOMER_ID else value


def attributes_of(event: v1.Event) -> Iterator[tuple[str, str]]:
    """The attributes of an event by their proto-JSON names, without its time stamp."""
    set_name = event.WhichOneof("attributes")
    if set_name is not None:
        yield from ((name, text) for _, name, text in values_of(getattr(event, set_name)))
    yield from sorted(event.additional_attributes.items())


def values_of(attributes: v1.CustomerInfo | v1.PersonalInfo) -> Iterator[tuple[str, str, str]]:
    """The field, name and text of each value of a set, without its time stamp."""
    for field, value in attributes.ListFields():
        if isinstance(value, v1.Date):
            yield field.name, field.json_name, f"{value.year:04}-{value.month:02}-{value.day:02}"
        elif field.is_repeated:
            for index, contact in enumerate(value):
                for way, text in contact.ListFields():
                    yield field.name, f"{field.json_name}[{index}].{way.json_name}", text
        elif field.name != "server_time_stamp":
            yield field.name, field.json_name, value


def _time_of(event: v1.Event) -> str:
    set_name = event.WhichOneof("attributes")
    return write_epoch_ms(getattr(event, set_name).server_time_stamp) if set_name is not None else ""


def _cut(text: str, max_characters: int) -> str:
    return text if max_characters < 0 or len(text) <= max_characters else f"{text[:max_characters]}…"


def _quote(text: str) -> str:
    """The text, in quotation marks if it would be ambiguous without."""
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
