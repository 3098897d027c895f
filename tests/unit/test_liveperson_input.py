"""Damaged, cut, huge and unusual input: what is good before the damage is read, and the damage is named."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from engagement.liveperson import (
    CorruptInputError,
    ImportedEvent,
    Importer,
    UnreadableEvent,
    looks_like_import,
)
from tests.support.liveperson_input import (
    EXAMPLES,
    conversation,
    customer,
    export,
    open_importer,
    person,
    read,
    read_event,
    read_events,
)

EVENT = customer({"customerId": "1"})


def read_until_damage(importer: Importer) -> tuple[int, CorruptInputError]:
    """How many events came before the damage."""
    results = iter(importer)
    for count in itertools.count():
        try:
            next(results)
        except CorruptInputError as error:
            return count, error
    raise AssertionError


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 18])
def test_everything_before_the_damage_is_read(block_bytes: int) -> None:
    text = json.dumps({"sdes": [EVENT, EVENT, "damage", EVENT]}, indent=1).replace('"damage"', '{"ä": wrong}')
    count, error = read_until_damage(open_importer(text, block_bytes=block_bytes))
    assert count == 2
    assert error.byte_offset == text.encode().index(b"wrong")
    assert error.line == text[: text.index("wrong")].count("\n") + 1
    assert str(error.line) in str(error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"sdes": [', "ends in the middle"),
        ('{"sdes": [{}', "ends in the middle"),
        ('{"sdes": [{"a', "ends in the middle"),
        ('{"sdes', "ends in the middle"),
        ('{"sdes"', "ends in the middle"),
        ('{"sdes": []', "ends in the middle"),
        ('{"sdes": [1 2]}', "not JSON"),
        ('{"sdes": [,]}', "not JSON"),
        ('{"sdes": [1,,]}', "not JSON"),
        ("{,}", "not JSON"),
        ('{"sdes": [tru', "not JSON"),
        ("{'sdes': []}", "not JSON"),
        ('{"sdes": []]', "not JSON"),
        ("]", "not JSON"),
        ("\x00", "not JSON"),
        ("\ufeff\ufeff[]", "not JSON"),
    ],
)
def test_damage_is_named(text: str, reason: str) -> None:
    _, error = read_until_damage(open_importer(text))
    assert reason in str(error)


@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_nesting_without_end_is_damage(opening: str) -> None:
    _, error = read_until_damage(open_importer(f'{{"sdes": [{opening * 100_000}'))
    assert "nested too deeply" in str(error)


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 18])
def test_an_event_has_a_longest_length(block_bytes: int) -> None:
    long = customer({"customerId": "x" * 2000, "role": "y" * 2000})
    limit = len(json.dumps(long))
    document = conversation(EVENT, long, EVENT)
    options = {"block_bytes": block_bytes}
    assert len(read_events(document, max_event_characters=limit, **options)) == 3
    before, too_long, after = read(document, max_event_characters=limit // 2, **options)
    assert isinstance(before, ImportedEvent)
    assert isinstance(after, ImportedEvent)
    assert isinstance(too_long, UnreadableEvent)
    assert (too_long.place, too_long.rule) == ("sdes.events[1]", "import.max_characters")


def test_a_text_has_a_longest_length() -> None:
    importer = open_importer({"sdes": ["x" * 2000]}, max_event_characters=1000)
    assert "more than 1000 characters" in str(read_until_damage(importer)[1])


def test_an_array_of_any_length_in_an_unknown_place_does_not_fill_the_memory() -> None:
    events = read_events({"other": [EVENT] * 1000}, max_event_characters=10_000)
    assert len(events) == 1000
    importer = open_importer({f"member {n}": n for n in range(1000)}, max_event_characters=5_000)
    assert list(importer) == []
    assert importer.counts.first_stranger == "no attribute set at document 1"


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 18])
def test_a_comma_too_many_is_reported_and_loses_nothing(block_bytes: int) -> None:
    record = json.dumps(conversation(EVENT, person({"name": "A,]"}), EVENT))
    text = f'{{"conversationHistoryRecords": [\n{record.replace("}]", "} , ]")}\n,\n{record},\n],}}'
    importer = open_importer(text, block_bytes=block_bytes)
    assert len(list(importer)) == 6
    commas = record.count("}]")
    column = text.encode().index(b", ]")
    assert importer.trailing_comma == f"line 2, byte {column}, and {commas + 1} more"
    assert open_importer(record).trailing_comma == ""


def test_a_stream_that_fails_is_read_up_to_the_failure() -> None:
    document = json.dumps({"sdes": [customer({"customerId": str(number) * 99}) for number in range(2000)]})
    cut = gzip.compress(document.encode())[:-500]
    with gzip.open(io.BytesIO(cut)) as stream:
        count, error = read_until_damage(Importer(cast("BinaryIO", stream), source="file.json.gz"))
    assert count > 100
    assert "cannot be read further" in str(error)


def test_a_stream_that_fails_between_two_documents_is_damage() -> None:
    class Failing(io.RawIOBase):
        blocks: Iterator[bytes] = iter([json.dumps(export(EVENT)).encode()])

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            block = next(self.blocks, None)
            if block is None:
                raise OSError("disk gone")
            return block

    count, error = read_until_damage(Importer(cast("BinaryIO", Failing()), source="x"))
    assert (count, "disk gone" in str(error)) == (1, True)


@pytest.mark.parametrize("text", ["", " \n\t", "\ufeff", "[]", '{"sdes": []}', '{"sdes": null}\n\n', "[] []"])
def test_a_file_may_hold_nothing(text: str) -> None:
    assert [result for result in read(text) if isinstance(result, ImportedEvent)] == []


def test_a_byte_order_mark_is_skipped() -> None:
    data = b"\xef\xbb\xbf" + json.dumps(export(EVENT)).encode()
    for block_bytes in (1, 2, 3, 1 << 18):
        assert read_event(data, block_bytes=block_bytes).customer_info.customer_id == "1"


def test_importing_does_not_close_the_stream() -> None:
    stream = io.BytesIO(json.dumps(export(EVENT)).encode())
    assert len(list(Importer(stream, source="x"))) == 1
    assert not stream.closed


def test_counts_grow_while_the_file_is_read() -> None:
    broken = {"customerInfo": 1}
    importer = open_importer({"sdes": [EVENT, {"type": "cart"}, broken, EVENT]})
    seen = [(importer.counts.events_read, importer.counts.events_unreadable) for _ in importer]
    assert seen == [(1, 0), (1, 1), (2, 1)]
    assert importer.counts.skipped == {"set type cart": 1}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: str(path.name))
@pytest.mark.parametrize("size", [64, 4096])
def test_every_shape_is_recognized_by_its_beginning(path: Path, size: int) -> None:
    assert looks_like_import(path.read_bytes()[:size])


@pytest.mark.parametrize(
    "head",
    [
        "[]",
        "\ufeff\n [{",
        '{"type": "ctmrinfo", "info"',
        '{"_metadata": {"count"',
        '{"info": {"conversationId": "c"',
        '{"timestamp": {"long": 1}',
        '{"unknown": 1, "sdeType": "CUSTOMER_INFO"',
        json.dumps(EVENT),
        json.dumps(person({"name": "Ada"})),
        json.dumps({"customerInfo": {"customerInfo": {}}}),
        json.dumps({"conversationId": "1", "customerInfo": {"customerInfo": {}}}),
        json.dumps({"visitorId": "1", "customerInfo": {"customerId": "1"}}),
        json.dumps({"customerInfo": {"customerId": "1"}, "serverTimeStamp": 1}),
        json.dumps({"crm": "acme", "personalInfo": {"name": "Ada"}, "sessionId": "1"}),
        json.dumps({"originalTimeStamp": 1, "customerInfo": {}, "isAuthenticated": True}),
        json.dumps({"conversationId": "1", "messages": [{"customerInfo": {"customerId": "1"}}]}),
    ],
)
def test_import_shapes_are_recognized(head: str) -> None:
    assert looks_like_import(head.encode())


@pytest.mark.parametrize(
    "head",
    [
        "",
        "text",
        '{"eventId": "1", "customerInfo": {"customerId": "1"}}\n{"eventId"',
        '{"customerInfo": {"serverTimeStamp": "1500000000000", "customerId": "1"}}\n',
        '{"customer_info": {"customer_id": "1"}, "consumer_id": "2"}\n',
        '{"personalInfo": {"name": "Ada"}, "source": "crm"}\n',
        '{"additionalAttributes": {"type": "x"}, "customerInfo": {}}',
        '{"consumerId": "cut off he',
        '{"originalTimeStamp": "1", "consumerId": "1", "customerInfo": {}, "visitorId": "1"}\n',
        '{"conversationId": "1", "customerInfo": {"customerId": "1", "tier": "x"}}\n',
        "\x1f\x8b",
    ],
)
def test_our_own_events_are_no_import(head: str) -> None:
    assert not looks_like_import(head.encode())


def test_events_come_out_as_soon_as_they_are_read() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self) -> None:
            self.bytes_read = 0
            records = {"conversationHistoryRecords": [conversation(EVENT)] * 5000}
            self._text = io.BytesIO(json.dumps(records).encode())

        def read(self, size: int = -1) -> bytes:
            block = self._text.read(size)
            self.bytes_read += len(block)
            return block

    stream = Trickle()
    next(iter(Importer(cast("BinaryIO", stream), source="x", block_bytes=1000)))
    assert stream.bytes_read <= 2000


def test_text_over_many_blocks_is_read() -> None:
    long = "日本" * 50_000
    [event] = read_events(export(customer({"customerId": long})), block_bytes=1000)
    assert event.customer_info.customer_id == long


def test_a_value_over_many_blocks_costs_linear_time() -> None:
    document = json.dumps(export(customer({"customerId": "x" * 4_000_000})))
    start = time.process_time()
    read(document, block_bytes=100)
    assert time.process_time() - start < 10  # reading it again for every block would take minutes
