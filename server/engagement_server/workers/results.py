"""Encodes results and errors of operations for the channels between the processes of a server.

They never leave the machine or outlive the processes, so that the encoding may change freely. It is msgspec:
pickle takes three to twenty times as long, and would call the constructors of errors with other arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from engagement.rules import Violation
from engagement_server import errors
from engagement_server.errors import EntityUnknownError, InvalidRequestError, RequestError
from engagement_server.model import (
    EntityList,
    ErasureState,
    NewEvents,
    RetentionState,
    StoredRow,
    UploadState,
)
from engagement_server.operations import Applied, ChunkCommitted, Opening, Recorded, Result


class _Error(NamedTuple):
    """A RequestError."""

    kind: str
    message: str
    metadata: dict[str, str]
    violations: Sequence[Violation]
    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls


class _Changes(NamedTuple):
    """An Applied without its results."""

    tails: dict[str, int]
    has_removed: bool
    openings: list[Opening]
    erased: dict[str, list[int]]
    clock_ms: int
    retention: RetentionState
    new_events: dict[str, tuple[int, list[StoredRow]]]


_KINDS: dict[str, type] = {
    "r": Recorded,
    "u": UploadState,
    "c": ChunkCommitted,
    "l": EntityList,
    "e": ErasureState,
    "t": RetentionState,
    "i": int,
    "x": _Error,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, RequestError)
}
_encoder = msgspec.msgpack.Encoder(enc_hook=list)
_decoder = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])
_kind_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {  # Any: each has its own kind
    letter: msgspec.msgpack.Decoder(kind) for letter, kind in _KINDS.items()
}
_changes_decoder = msgspec.msgpack.Decoder(_Changes)


def encode_results(results: Sequence[Result | RequestError]) -> bytes:
    """Encodes results and errors."""
    packed = [_pack(result) if isinstance(result, RequestError) else result for result in results]
    return _encoder.encode([(_LETTERS[type(result)], result) for result in packed])


def decode_results(data: bytes) -> list[Result | RequestError]:
    """Decodes results and errors."""
    packed = [_kind_decoders[letter].decode(raw) for letter, raw in _decoder.decode(data)]
    return [_unpack(result) if isinstance(result, _Error) else result for result in packed]


def encode_applied(applied: Applied, *, accounts: Collection[str] = ()) -> bytes:
    """Encodes the changes of a commit, with the new events of some accounts.

    Its results are left out, as only its author gets them.
    """
    erased = {account_id: list(positions) for account_id, positions in applied.erased.items()}
    new_events = {
        account_id: (new.last_position, list(new.read()))
        for account_id, new in applied.new_events.items()
        if account_id in accounts
    }
    changes = _Changes(
        dict(applied.tails),
        applied.has_removed,
        list(applied.openings),
        erased,
        applied.clock_ms,
        applied.retention,
        new_events,
    )
    return _encoder.encode(changes)


def decode_applied(data: bytes) -> Applied:
    """Decodes the changes of a commit."""
    changes = _changes_decoder.decode(data)
    new_events = {
        account_id: NewEvents(last_position, partial(list, rows))
        for account_id, (last_position, rows) in changes.new_events.items()
    }
    return Applied([], *changes[:-1], new_events)


def _pack(error: RequestError) -> _Error:
    violations = error.violations if isinstance(error, InvalidRequestError) else ()
    index = error.index if isinstance(error, EntityUnknownError) else 0
    return _Error(type(error).__name__, error.message, error.metadata, violations, index)


def _unpack(packed: _Error) -> RequestError:
    """Restores an error without its own constructor, whose work is in the message and metadata already."""
    kind = _ERRORS[packed.kind]
    error = kind.__new__(kind)
    RequestError.__init__(error, packed.message)
    error.metadata = packed.metadata
    if isinstance(error, InvalidRequestError) and packed.violations:
        error.violations = packed.violations
    if isinstance(error, EntityUnknownError):
        error.index = packed.index
    return error
