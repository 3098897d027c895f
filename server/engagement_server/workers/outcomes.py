"""What became of operations, as bytes: results and refusals that processes of a server send each other.

They never leave the machine or outlive the processes, so that nothing here must stay readable. With msgspec,
because pickle takes three to twenty times as long, and knows errors by the arguments of their constructors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from engagement.rules import Violation
from engagement_server import errors
from engagement_server.errors import EntityUnknownError, InvalidRequestError, RequestError
from engagement_server.model import EntityList, ErasureState, UploadState
from engagement_server.operations import Applied, ChunkCommitted, Opening, Recorded, Result


class _Refusal(NamedTuple):
    """A RequestError."""

    kind: str
    message: str
    metadata: dict[str, str]
    violations: Sequence[Violation]
    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls


class _Change(NamedTuple):
    """What readers see of a commit, without its results."""

    tails: dict[str, int]
    has_removed: bool
    openings: list[Opening]


_KINDS: dict[str, type] = {
    "r": Recorded,
    "u": UploadState,
    "c": ChunkCommitted,
    "l": EntityList,
    "e": ErasureState,
    "i": int,
    "x": _Refusal,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_REFUSALS: dict[str, type[RequestError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, RequestError)
}
_encoder = msgspec.msgpack.Encoder(enc_hook=list)
_decoder = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])
_kind_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {  # Any: each has its own kind
    letter: msgspec.msgpack.Decoder(kind) for letter, kind in _KINDS.items()
}
_change_decoder = msgspec.msgpack.Decoder(_Change)


def encode_outcomes(outcomes: Sequence[Result | RequestError]) -> bytes:
    """Results and refusals as bytes."""
    packed = [_pack(outcome) if isinstance(outcome, RequestError) else outcome for outcome in outcomes]
    return _encoder.encode([(_LETTERS[type(outcome)], outcome) for outcome in packed])


def decode_outcomes(data: bytes) -> list[Result | RequestError]:
    """The results and refusals that were encoded."""
    unpacked = [_kind_decoders[letter].decode(raw) for letter, raw in _decoder.decode(data)]
    return [_unpack(outcome) if isinstance(outcome, _Refusal) else outcome for outcome in unpacked]


def encode_applied(applied: Applied) -> bytes:
    """What readers see of a commit as bytes."""
    return _encoder.encode(_Change(dict(applied.tails), applied.has_removed, list(applied.openings)))


def decode_applied(data: bytes) -> Applied:
    """What was encoded; the results are those of another process, and stay there."""
    change = _change_decoder.decode(data)
    return Applied([], change.tails, change.has_removed, change.openings)


def _pack(error: RequestError) -> _Refusal:
    violations = error.violations if isinstance(error, InvalidRequestError) else ()
    index = error.index if isinstance(error, EntityUnknownError) else 0
    return _Refusal(type(error).__name__, error.message, error.metadata, violations, index)


def _unpack(refusal: _Refusal) -> RequestError:
    """The error as it was: what its constructor makes of its arguments is there already."""
    kind = _REFUSALS[refusal.kind]
    error = kind.__new__(kind)
    RequestError.__init__(error, refusal.message)
    error.metadata = refusal.metadata
    if isinstance(error, InvalidRequestError) and refusal.violations:
        error.violations = refusal.violations
    if isinstance(error, EntityUnknownError):
        error.index = refusal.index
    return error
