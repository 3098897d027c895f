"""Events with a marker in every value that may identify a person, and another in every other text."""

from __future__ import annotations

from google.protobuf.message import Message

from engagement import v1
from tests.support.filled_events import filled_events

SECRET = "zqsecret"
OPEN = "zqopen"
# The field 30 of a later contract: nobody has said whether it identifies a person.
_UNKNOWN = b"\xf2\x01" + bytes([len(SECRET)]) + SECRET.encode()


def personal_events() -> dict[str, v1.Event]:
    """The events by the names of their sets, with values in all fields; they break no rule."""
    events = filled_events()
    for name, event in events.items():
        _mark(getattr(event, name))
        event.additional_attributes.clear()
        event.additional_attributes[f"{SECRET} key"] = f"{SECRET} value"
    return events


def with_unknown_fields(event: v1.Event) -> v1.Event:
    """The event with a secret in fields that this contract does not know, at every level."""
    grown = v1.Event.FromString(event.SerializeToString() + _UNKNOWN)
    set_name = grown.WhichOneof("attributes")
    assert set_name is not None
    attributes = getattr(grown, set_name)
    for _, value in [*attributes.ListFields()]:
        if isinstance(value, v1.Date):
            value.MergeFromString(_UNKNOWN)
    attributes.MergeFromString(_UNKNOWN)
    return grown


def secret_fields(event: v1.Event) -> list[str]:
    """The paths of what must be masked, as the options of the contract say it."""
    set_name = str(event.WhichOneof("attributes"))
    marked = [
        f"{set_name}.{field.name}"
        for field, _ in getattr(event, set_name).ListFields()
        if field.GetOptions().debug_redact
    ]
    return marked + ["additional_attributes"] * bool(event.additional_attributes)


def _mark(message: Message) -> None:
    for field, value in message.ListFields():
        if isinstance(value, str):
            marker = SECRET if field.GetOptions().debug_redact else OPEN
            setattr(message, field.name, f"{marker} {field.name}")
        elif field.is_repeated:
            for item in value:
                _mark(item)
