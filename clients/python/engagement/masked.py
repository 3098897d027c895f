"""Masked values: what a server shows to callers that may not see what may identify a person.

Servers mask with them, and refuse them as data, so that what a caller has read masked does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from engagement import v1

if TYPE_CHECKING:
    from google.protobuf.message import Message

MASKED_TEXT: Final = "[masked]"
"""In place of a text."""
MASKED_KEY: Final = "masked"
"""Key of the one entry in place of all additional attributes."""
ADDITIONAL_ATTRIBUTES: Final = "additional_attributes"
"""Masked as a whole: its keys are the source's, and may name a person."""
SCOPE: Final = "read.pii"
"""The scope of callers that see everything."""


def marked_fields(message: type[Message]) -> Sequence[str]:
    """The fields of a message that may identify a person: the contract marks them `debug_redact`."""
    return [field.name for field in message.DESCRIPTOR.fields if field.GetOptions().debug_redact]


MARKED: Final[Mapping[str, Sequence[str]]] = {
    "customer_info": marked_fields(v1.CustomerInfo),
    "personal_info": marked_fields(v1.PersonalInfo),
}
"""By the name of the attribute set."""


def masked_paths(event: v1.Event) -> Iterator[str]:
    """The paths of the fields that hold what a masked answer has in place of their values."""
    set_name = event.WhichOneof("attributes")
    if set_name is not None:
        attributes = getattr(event, set_name)
        for name in MARKED[set_name]:
            value = getattr(attributes, name)
            if value == MASKED_TEXT or (not isinstance(value, str) and _holds_masked(value)):
                yield f"{set_name}.{name}"
    if event.additional_attributes.get(MASKED_KEY) == MASKED_TEXT:
        yield ADDITIONAL_ATTRIBUTES


def _holds_masked(value: Any) -> bool:  # Any: each attribute has its own type
    return isinstance(value, Sequence) and any(
        text == MASKED_TEXT for item in value for _, text in item.ListFields()
    )
