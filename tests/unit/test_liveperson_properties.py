"""What holds for any input: nothing is lost, blocks do not matter, damage is named, memory is bounded."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.liveperson import (
    CorruptInputError,
    ImportedEvent,
    Importer,
    UnreadableEvent,
    looks_like_import,
)
from tests.support.liveperson_input import EXAMPLES, conversation, customer, open_importer, person, read

EXAMPLE_BYTES = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.json"))]

# Machines may be slow.
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = (
    "customerStatus cstatus ctype customerId balance Currency currency lastPaymentDate registrationDate "
    "name firstname lastname age customerAge year customerYearOfBirth contacts personalContact email phone "
    "phoneType contexts customerInfo personalInfo info personal type sdes events unAuthSdes data array "
    "string long sdeType isAuthenticated engagementAttributes timestamp conversationHistoryRecords"
)
names = st.one_of(
    st.sampled_from(NAMES.split()),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
times = {"serverTimeStamp", "originalTimeStamp", "isAuthenticated"}
free_names = names.filter(lambda name: name not in {*times, "lastPaymentDate", "registrationDate"})
sets = st.dictionaries(
    free_names.filter(lambda name: name not in {"customerInfo", "personalInfo"}), values, max_size=6
)


def leaf_texts(value: object) -> Iterator[str]:
    """The text of every leaf, as JSON writes it."""
    if isinstance(value, dict):
        for child in value.values():
            yield from leaf_texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from leaf_texts(child)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def is_strict_json(value: object) -> bool:
    """Whether all numbers are those of JSON, which has no NaN."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def count_texts(texts: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return counts


def attribute_texts(event: v1.Event) -> Iterator[str]:
    shown: dict[str, Any] = MessageToDict(event)
    for name in ("customerInfo", "personalInfo"):
        shown.get(name, {}).pop("serverTimeStamp", None)
        yield from leaf_texts(shown.get(name))
    yield from leaf_texts(shown.get("additionalAttributes"))


@tolerant
@given(sets, st.sampled_from([customer, person]), st.booleans())
def test_every_value_is_somewhere_in_the_event_and_none_twice(
    members: Any, make: Any, is_wrapped: bool
) -> None:
    document = make(members)
    if not is_wrapped:
        name = "customerInfo" if make is customer else "personalInfo"
        document[name] = members
    for result in read({"sdes": [document]}):
        if not is_strict_json(members):
            assert isinstance(result, UnreadableEvent)
            assert result.rule == "import.number"
            continue
        assert isinstance(result, ImportedEvent)
        assert count_texts(attribute_texts(result.event)) == count_texts(leaf_texts(members))


@tolerant
@given(st.lists(values, max_size=3), st.integers(1, 40))
def test_blocks_do_not_matter(documents: Any, block_bytes: int) -> None:
    text = "\n".join(json.dumps(document, ensure_ascii=False) for document in documents)
    assert read(text, block_bytes=block_bytes) == read(text)


def read_all(data: bytes, *, block_bytes: int = 1 << 18) -> tuple[list[ImportedEvent | UnreadableEvent], str]:
    """What is read of the data, and the damage that ends it."""
    results = []
    try:
        for result in open_importer(data, block_bytes=block_bytes):
            results.append(result)
    except CorruptInputError as error:
        return results, str(error)
    return results, ""


@tolerant
@given(st.sampled_from(EXAMPLE_BYTES), st.data())
def test_what_was_cut_off_is_read_up_to_there(example: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(example.rstrip()) - 1))
    whole, _ = read_all(example)
    results, damage = read_all(example[:cut])
    assert damage
    for result, expected in zip(results, whole, strict=False):
        # Without a conversation or consumer, both may stand behind the damage.
        is_unknown = isinstance(result, UnreadableEvent) and result.rule == "import.context"
        assert result == expected or (is_unknown and result.place == expected.place)


@tolerant
@given(st.sampled_from(EXAMPLE_BYTES), st.data())
def test_damaged_bytes_never_cause_another_error(example: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(example) - 1))
    damaged = example[:at] + data.draw(st.binary(min_size=1, max_size=4)) + example[at + 1 :]
    assert read_all(damaged) == read_all(damaged, block_bytes=data.draw(st.integers(1, 50)))


@tolerant
@given(st.binary(max_size=60), st.integers(1, 8))
def test_any_bytes_are_read_or_named_damaged(data: bytes, block_bytes: int) -> None:
    assert read_all(data) == read_all(data, block_bytes=block_bytes)
    looks_like_import(data)


@tolerant
@given(values)
def test_any_json_is_read_to_its_end(document: Any) -> None:
    for result in read(json.dumps(document)):
        if isinstance(result, UnreadableEvent):
            assert result.rule.startswith("import.")
        else:
            assert result.event.WhichOneof("attributes")
            v1.Event.FromString(result.event.SerializeToString())


class Generated(io.RawIOBase):
    """A stream that makes its bytes when they are asked for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        block = next(self._blocks, b"")
        self.bytes_read += len(block)
        return block


def test_memory_is_bounded_however_long_the_export() -> None:
    talk = {"messageRecords": [{"messageData": {"msg": {"text": "word " * 40}}} for _ in range(60)]}
    record = json.dumps({**talk, **conversation(customer({"role": "broker"}))}).encode() + b","

    def blocks() -> Iterator[bytes]:
        yield b'{"conversationHistoryRecords": ['
        yield from (record for _ in range(10_000_000 // len(record)))
        yield record[:-1] + b"]}"

    stream = Generated(blocks())
    tracemalloc.start()
    try:
        count = sum(1 for _ in Importer(cast("BinaryIO", stream), source="x"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.bytes_read > 9_900_000
    assert count > 600
    assert peak < 4_000_000
