"""Messages of any type with a text in each field that can hold one."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.support.contract import Field

_DEPTH = 4


def fill(message: Message, text: str, *, account: str, depth: int = _DEPTH) -> None:
    """Puts a text into each field of a message and of the messages in it, but for the account.

    Of a oneof, the last field stays.
    """
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
                value[text] = text
        elif field.type == FieldDescriptor.TYPE_STRING:
            _put(message, field, account if field.name == "account_id" else text)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            _put(message, field, text.encode())
        elif field.message_type is not None and depth:
            inner = value.add() if field.is_repeated else value
            if not field.is_repeated:
                inner.SetInParent()
            fill(inner, text, account=account, depth=depth - 1)


def _put(message: Message, field: Field, value: str | bytes) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)
