"""Encodes commits for a replicated log, and for the channels between the processes of a server.

The dataclasses of `operations.py` and `model.py` are the schema. From the first release on, a new field comes
last and has a default, so that older commits can still be read. A field that is renamed, removed or gets
another meaning raises the format number of the log (`nats/marks.py`), which then refuses older logs. Older
versions ignore a new field: if it decides state, it raises the number of the rules (`operations.py`).
"""

from __future__ import annotations

import msgspec

from engagement_server import operations
from engagement_server.errors import UnreadableCommitError
from engagement_server.operations import Commit, Operation

# These letters are in every log: a kind of operation keeps its letter.
_KINDS: dict[str, type[Operation]] = {
    "r": operations.RecordBatch,
    "o": operations.OpenUpload,
    "c": operations.CommitChunk,
    "f": operations.FinishUpload,
    "u": operations.ExpireUploads,
    "A": operations.AbandonUpload,
    "p": operations.PutEntities,
    "d": operations.DeleteEntity,
    "b": operations.BeginErasure,
    "e": operations.EraseEvents,
    "C": operations.CompleteErasure,
    "l": operations.LiftSuppression,
    "x": operations.ExpireEvents,
    "s": operations.SaveProfile,
    "n": operations.ChangeEpoch,
    "t": operations.SetRetention,
    "h": operations.HoldExpiry,
    "R": operations.ReleaseExpiry,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
# The indexes of a batch may be a range.
_encoder = msgspec.msgpack.Encoder(enc_hook=list)
_decoder = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, msgspec.Raw]]])
_operation_decoders = {letter: msgspec.msgpack.Decoder(kind) for letter, kind in _KINDS.items()}


def encode_commit(commit: Commit) -> bytes:
    """Encodes a commit."""
    lettered = [(_LETTERS[type(operation)], operation) for operation in commit.operations]
    return _encoder.encode((commit.time_ms, lettered))


def decode_commit(data: bytes) -> Commit:
    """Decodes a commit. Raises UnreadableCommitError."""
    try:
        time_ms, lettered = _decoder.decode(data)
        return Commit([_operation_decoders[letter].decode(raw) for letter, raw in lettered], time_ms)
    except (msgspec.MsgspecError, KeyError) as error:
        raise UnreadableCommitError(str(error)) from error
