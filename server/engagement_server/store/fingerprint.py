"""Identifies how this server reads events into the search index and into kept profiles.

A store, or a commit in a replicated log, may come from a server with another contract or other rules for
text. What such a server derived from events must not be mixed with what this one derives.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from engagement import v1
from engagement_server.store.fold import fold_version
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    from google.protobuf.message import Message

_DIGEST_BYTES = 8
# Raised whenever the same events fold to another profile.
_FOLDING_RULES = 2

INDEX_DECLARATION: Final = resources.files(__package__).joinpath("search_index.sql").read_text()
"""Creates the search index."""

# Any, below: the stubs have two types for descriptors, of which each lacks something.


def _described(message: Any) -> list[object]:
    """The fields of a message type and of those below it, in the order of their numbers."""
    return [
        (
            *(field.number, field.name, field.type, field.is_repeated, field.has_presence),
            _described(field.message_type) if field.message_type is not None else None,
        )
        for field in sorted(message.fields, key=lambda field: field.number)
    ]


def _fill(message: Message) -> None:
    """Sets each text to the name of its field: indexing the message then shows what is indexed, and how."""
    descriptor: Any = message.DESCRIPTOR
    for field in descriptor.fields:
        if field.message_type is not None:
            value = getattr(message, field.name)
            _fill(value.add() if field.is_repeated else value)
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, field.full_name)
        else:
            setattr(message, field.name, 1)


def _samples() -> list[v1.Event]:
    """A filled event of each attribute set."""
    event_type: Any = v1.Event.DESCRIPTOR
    samples = []
    for attributes in event_type.oneofs_by_name["attributes"].fields:
        sample = v1.Event(consumer_id="1", conversation_id="2", additional_attributes={"3": "4", "1": "5"})
        _fill(getattr(sample, attributes.name))
        samples.append(sample)
    return samples


def _digest(parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _fingerprint() -> str:
    declared, _, _ = INDEX_DECLARATION.partition(";")
    parts = fold_version(), declared, _described(v1.Event.DESCRIPTOR), list(map(indexed_texts, _samples()))
    return _digest(parts)


FINGERPRINT: Final = _fingerprint()
"""Differs between servers that index some event differently."""

FOLD_FINGERPRINT: Final = _digest((FINGERPRINT, _FOLDING_RULES, _described(v1.Profile.DESCRIPTOR)))
"""Differs between servers that keep another fold of some events."""
