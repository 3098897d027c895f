"""Commits in logs of the present format are read as they were written.

If a commit cannot be read, keep what has changed readable, or raise the format of the log:
docs/decisions/0028-format-of-commits.md. If one is written in a new way, with another field or as another
operation, `python -m tests.unit.test_commit_format` records it beside the earlier ones.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from engagement_server import operations
from engagement_server.log.encoding import decode_commit, encode_commit
from engagement_server.log.nats.marks import FORMAT
from engagement_server.model import (
    Batch,
    EventRecord,
    FoldedProfile,
    Rejection,
    SourceDigest,
    Subject,
)
from engagement_server.operations import Commit, Operation

COMMITS = Path(__file__).parent / "commits" / f"format-{FORMAT}.json"
TIME_MS = 27
BATCH = Batch(
    [
        EventRecord(
            "e-1", 1, authenticated=True, server_time_ms=2, payload=b"3", indexed_texts=("4", "5", "6", "7")
        )
    ],
    [8],
    [Rejection(9, "e-2", b"10", [Subject(1, "s")])],
    "11",
)
SOURCE = SourceDigest(12, "13")
OPERATIONS: list[Operation] = [
    operations.RecordBatch("a", BATCH, is_atomic=True, principal="p"),
    operations.OpenUpload("a", "u", "o", "s", "n", "p", is_admin=True),
    operations.CommitChunk("a", "u", "o", 14, BATCH, b"15", SOURCE, "p"),
    operations.FinishUpload("a", "u", "o", 16, SOURCE, 46),
    operations.ExpireUploads(17, 18, 28, 29),
    operations.AbandonUpload("a", "u", "o"),
    operations.PutEntities("a", 1, ["n"], is_closed=True),
    operations.DeleteEntity("a", 1, "n"),
    operations.BeginErasure("a", "r", "e", [Subject(1, "s"), Subject(4, "i")], suppress=True),
    operations.EraseEvents("a", "e", 30, 31, 32, 45, 47, 48),
    operations.CompleteErasure("a", "e"),
    operations.LiftSuppression("a", Subject(1, "s")),
    operations.LiftSuppression("a", "e"),
    operations.ExpireEvents("a", 19, 33, 34, 41, 49),
    operations.SaveProfile("a", FoldedProfile("c", 20, 21, b"22", b"23", "24", "25", 46)),
    operations.ChangeEpoch(25, 26),
    operations.SetRetention(35, is_first=True),
    operations.HoldExpiry(36, 37, 38),
    operations.ReleaseExpiry(39, 40),
]
"""Every field of every operation has a value that is not its default."""


def name_of(operation: Operation) -> str:
    return f"{OPERATIONS.index(operation)} {type(operation).__name__}"


def recorded() -> dict[str, list[str]]:
    """The commits that servers have written, by operation: the oldest first."""
    return dict(json.loads(COMMITS.read_text())) if COMMITS.exists() else {}


def has_all(found: Any, wanted: Any) -> bool:  # Any: the contents of a commit
    """Whether a value has all that another has, in the same places; it may have more fields."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and has_all(found[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and all(map(has_all, found, wanted)) and len(found) >= len(wanted)
    return bool(found == wanted)


def test_every_operation_is_tried() -> None:
    assert {type(operation) for operation in OPERATIONS} == set(get_args(Operation))


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_a_commit_is_written_as_recorded(operation: Operation) -> None:
    assert encode_commit(Commit([operation], TIME_MS)).hex() in recorded().get(name_of(operation), [])[-1:]


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_nothing_of_a_recorded_commit_is_lost_when_it_is_read(operation: Operation) -> None:
    for each in recorded()[name_of(operation)]:
        written = bytes.fromhex(each)
        read = decode_commit(written)
        assert has_all(msgspec.msgpack.decode(encode_commit(read)), msgspec.msgpack.decode(written))


OLDER: list[tuple[Operation, Operation]] = [
    (
        operations.RecordBatch("a", BATCH, is_atomic=True, principal="p"),
        operations.RecordBatch("a", BATCH, is_atomic=True, principal=""),
    ),
    (operations.OpenUpload("a", "u", "o", "s"), operations.OpenUpload("a", "u", "o", "")),
    (
        operations.CommitChunk("a", "u", "o", 14, BATCH, b"15", SOURCE),
        operations.CommitChunk("a", "u", "o", 14, BATCH, b"", None),
    ),
    (
        operations.FinishUpload("a", "u", "o", 16, SOURCE),
        operations.FinishUpload("a", "u", "o", 16, None),
    ),
    (operations.ExpireUploads(17, 18, 28, 29), operations.ExpireUploads(17, 0, 100, 10_000)),
    (
        operations.EraseEvents("a", "e", 30, 31, 32),
        operations.EraseEvents("a", "e", 1_000, 16 << 20, 20_000),
    ),
    (
        operations.ExpireEvents("a", 19, 33, 34, 41),
        operations.ExpireEvents("a", 19, 500, 253_402_300_800_000, 4 << 20),
    ),
    (operations.ReleaseExpiry(39, 40), operations.ReleaseExpiry(39, 0)),
]
"""Operations, and how they are read from a commit that has none of the fields with defaults.

Views apply them with these values for good: another one would make views of different versions differ.
"""


def later_fields(operation: Operation) -> set[str]:
    """The names of the fields that an older commit may lack."""
    return {field.name for field in fields(operation) if field.default is not MISSING}


@pytest.mark.parametrize(("written", "read"), OLDER, ids=lambda operation: type(operation).__name__)
def test_a_field_that_an_older_commit_lacks_has_the_recorded_value(
    written: Operation, read: Operation
) -> None:
    time_ms, ((letter, values),) = msgspec.msgpack.decode(encode_commit(Commit([written], TIME_MS)))
    older = {name: value for name, value in values.items() if name not in later_fields(written)}
    assert older != values
    (found,) = decode_commit(msgspec.msgpack.encode((time_ms, [(letter, older)]))).operations
    assert encode_commit(Commit([found], TIME_MS)) == encode_commit(Commit([read], TIME_MS))


def test_every_operation_with_defaults_is_tried() -> None:
    assert {type(written) for written, _ in OLDER} == {
        type(each) for each in OPERATIONS if later_fields(each)
    }


if __name__ == "__main__":
    commits = recorded()
    for each in OPERATIONS:
        written = encode_commit(Commit([each], TIME_MS)).hex()
        versions = commits.setdefault(name_of(each), [])
        if written not in versions:
            versions.append(written)
    COMMITS.parent.mkdir(exist_ok=True)
    COMMITS.write_text(json.dumps(commits, indent=1) + "\n")
