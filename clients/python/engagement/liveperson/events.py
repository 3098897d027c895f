"""Builds the contract's event from an attribute set of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engagement import limits, v1
from engagement.liveperson.attributes import Attributes, read_attributes, read_integer
from engagement.liveperson.identity import make_event_id
from engagement.liveperson.leaves import Leaves
from engagement.liveperson.shapes import Context, FoundSet
from engagement.liveperson.values import Json, Object, UnreadableError, text_of

_NO_CONTEXT: Final = Context()


@dataclass(frozen=True, slots=True)
class Content:
    """All that an event says: its attributes, and what the source says about it."""

    set_name: str
    context: Context
    is_authenticated: bool
    server_time_stamp: int | None
    original_time_stamp: int | None
    attributes: Attributes
    additional: dict[str, str]
    is_inbound: bool


def read_content(found: FoundSet) -> Content | None:
    """What a set says, or None where it has no attribute; a time alone is none.

    Raises UnreadableError where the contract cannot express it.
    """
    leaves = Leaves()
    levels = [dict(level) for level in found.levels]
    server_time = _take_time(levels, "serverTimeStamp", field=f"{found.name}.server_time_stamp", leaves=later)
    ...
