"""The lines of the audit log: what each says, and how it looks."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec


class Event(StrEnum):
    """What a line is about."""

    CALL = "call"
    """A call that has ended well."""
    FAILED = "failed"
    """A call that has ended with an error; equal ones are summed."""
    BEGIN = "begin"
    """A stream or an erasure that begins."""
    END = "end"
    """The end of what has begun, by the same request id."""
    DENIED = "denied"
    """A call that was refused because of who made it; equal ones are summed."""
    LOST = "lost"
    """`count` lines of this kind are missing before this one."""
    START = "start"
    STOP = "stop"
    PRINCIPALS_ADDED = "principals-added"
    PRINCIPALS_REMOVED = "principals-removed"
    PRINCIPAL_CHANGED = "principal-changed"
    """The `keys` of its grant are other ones."""
    TOKENS_ADDED = "tokens-added"
    TOKENS_REMOVED = "tokens-removed"
    TOKENS_CHANGED = "tokens-changed"
    """Their ids have other secrets."""
    TOKENS_EXPIRED = "tokens-expired"
    """A secret of each of their ids has expired."""
    JWT_KEYS_CHANGED = "jwt-keys-changed"


SUMMED: Final = frozenset((Event.FAILED, Event.DENIED))
"""What callers can cause at any rate."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line. What it does not say, it leaves out."""

    time: str
    kind: str
    event: str
    principal: str = ""
    """The name of the grant; empty if the server does not ask, or does not know it."""
    credential: str = ""
    """`token`, `jwt` or `certificate`."""
    address: str = ""
    """Of a caller without a name."""
    method: str = ""
    account: str = ""
    subjects: tuple[str, ...] = ()
    """The ids that the request names, as keyed hashes."""
    more_subjects: int = 0
    """How many ids there was no room for."""
    is_export: bool = msgspec.field(default=False, name="export")
    """Whether the stream ends at the tail."""
    is_preview: bool = msgspec.field(default=False, name="preview")
    """Whether it only counts what it would do."""
    events: int | None = None
    """How many events the answer holds, or the erasure matches."""
    erasure_id: str = ""
    """Of the erasure, as ListErasures has it."""
    is_masked: bool | None = msgspec.field(default=None, name="masked")
    request_id: str = ""
    outcome: str = ""
    """`OK`, `CANCELLED` or the reason of the error."""
    count: int = 1
    """How many equal lines it stands for, or how many were lost."""
    names: tuple[str, ...] = ()
    """The principals or ids of tokens that it is about."""
    keys: tuple[str, ...] = ()
    """What has changed in the grant of a principal."""
    files: dict[str, str] = msgspec.field(default_factory=dict)
    """SHA-256 of files of access."""
    version: str = ""
    """Of the server."""
    key_id: str = ""
    """Of the key of the hashes."""


_encoder = msgspec.json.Encoder()


def encode_line(line: Line) -> bytes:
    """The line as it stands in the file; it holds one line end, its last byte."""
    return _encoder.encode(line) + b"\n"


def now_text() -> str:
    """The time, as lines have it."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"
