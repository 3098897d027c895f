"""Commits as bytes: what stands in a replicated log, and what processes of a server send each other.

The dataclasses of `operations.py` and `model.py` are the schema: a field that is added needs a default, so
that commits from before can still be read, and none is ever renamed or removed.
"""

from __future__ import annotations

import msgspec

from engagement_server.faults import UnreadableCommitError
from engagement_server.operations import (
    BeginErasure,
    ChangeEpoch,
    Commit,
    CommitChunk,
    CompleteErasure,
    DeleteEntity,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    FinishUpload,
    LiftSuppression,
    OpenAccount,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
    SaveProfile,
)

# Stand in every log: a kind keeps its letter for good.
_KINDS: dict[str, type[Operation]] = {
    "r": RecordBatch,
    "o": OpenUpload,
    "c": CommitChunk,
    "f": FinishUpload,
    "u": ExpireUploads,
    "a": OpenAccount,
    "p": PutEntities,
    "d": DeleteEntity,
    "b": BeginErasure,
    "e": EraseEvents,
    "C": CompleteErasure,
    "l": LiftSuppression,
    "x": ExpireEvents,
    "s": SaveProfile,
    "n": ChangeEpoch,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
# The places of a batch may be a range.
_encoder = msgspec.msgpack.Encoder(enc_hook=list)
_decoder = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, msgspec.Raw]]])
_operation_decoders = {letter: msgspec.msgpack.Decoder(kind) for letter, kind in _KINDS.items()}


def encode_commit(commit: Commit) -> bytes:
    """A commit as bytes."""
    operations = [(_LETTERS[type(operation)], operation) for operation in commit.operations]
    return _encoder.encode((commit.time_ms, operations))


def decode_commit(data: bytes) -> Commit:
    """The commit that was encoded. Raises UnreadableCommitError."""
    try:
        time_ms, operations = _decoder.decode(data)
        return Commit([_operation_decoders[letter].decode(raw) for letter, raw in operations], time_ms)
    except (msgspec.MsgspecError, KeyError) as error:
        raise UnreadableCommitError(str(error)) from error
