"""Inputs of the command line: packed or not, whole or damaged, of any length."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import tempfile
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.cli.encodings import transcoded
from engagement.cli.event_lines import MAX_LINE_BYTES, EventLines
from engagement.cli.input_events import BATCH_BYTES, BATCH_EVENTS, Format, InputEvents, in_batches
from engagement.cli.input_file import open_input
from engagement.cli.outcomes import FoundEvent, Place, Rejection

ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be"]
GOOD = b'{"customerInfo":{"balance":"1"}}\n'


def read(data: bytes, *, source: str = "s") -> list[FoundEvent | Rejection]:
    return list(EventLines(io.BytesIO(data), source=source))


def places(found: list[FoundEvent | Rejection], *, kind: type[FoundEvent | Rejection]) -> list[Place]:
    return [each.place for each in found if isinstance(each, kind)]


def ids(found: list[FoundEvent | Rejection]) -> list[str]:
    return [each.event.event_id for each in found if isinstance(each, FoundEvent)]


def read_file(path: Path) -> tuple[list[FoundEvent | Rejection], str]:
    with open_input(str(path)) as file:
        events = InputEvents(file, format=Format.AUTO, source=None)
        return list(events), events.damage


def test_blank_lines_and_a_missing_last_newline_do_not_matter() -> None:
    found = read(b"\xef\xbb\xbf" + GOOD + b"\r\n  \n" + GOOD.strip())
    assert places(found, kind=FoundEvent) == [1, 4]


def test_a_bad_line_is_a_rejection_and_the_next_line_is_read() -> None:
    found = read(GOOD + b"nope\n\xff\n" + GOOD)
    assert places(found, kind=FoundEvent) == [1, 4]
    assert [(each.place, each.violations[0].rule) for each in found if isinstance(each, Rejection)] == [
        (2, "json.syntax"),
        (3, "json.utf8"),
    ]


def test_made_ids_depend_on_source_line_and_content_only() -> None:
    first = ids(read(GOOD + GOOD))
    assert ids(read(GOOD + GOOD)) == first
    assert len({*first, *ids(read(GOOD, source="t")), *ids(read(b'{"customerInfo":{"balance":"2"}}'))}) == 4
    assert all(uuid.UUID(each).version == 8 for each in first)
    assert first == sorted(first)


def test_an_event_with_an_id_stays_as_it_is() -> None:
    (found,) = read(b'{"eventId":"mine","customerInfo":{}}')
    assert isinstance(found, FoundEvent)
    assert found.event == v1.Event(event_id="mine", customer_info=v1.CustomerInfo())


def test_an_overlong_line_is_rejected_in_bounded_memory() -> None:
    class LongLine(io.RawIOBase):
        def __init__(self) -> None:
            self.left = 4 * MAX_LINE_BYTES
            self.tail = io.BytesIO(b"\n" + GOOD)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the base takes any buffer
            block = b"x" * min(self.left, len(buffer)) or self.tail.read(len(buffer))
            self.left -= min(self.left, len(buffer))
            buffer[: len(block)] = block
            return len(block)

    tracemalloc.start()
    found = list(EventLines(io.BufferedReader(LongLine()), source="s"))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert places(found, kind=Rejection) == [1]
    assert places(found, kind=FoundEvent) == [2]
    assert peak_bytes < 2.5 * MAX_LINE_BYTES


def test_batches_are_bounded_by_events_and_by_bytes() -> None:
    small = FoundEvent(v1.Event(), 1)
    large = FoundEvent(v1.Event(consumer_id="x" * BATCH_BYTES), 1)
    sizes = [len(batch) for batch in in_batches([small] * (BATCH_EVENTS + 1) + [large] * 2)]
    assert sizes == [BATCH_EVENTS, 2, 1]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A file of random lines, which gzip cannot make much smaller."""
    path = tmp_path / "events.ndjson.gz"
    # The same ones on every run, because damaged blocks may unpack to anything.
    texts = random.Random(5000)
    lines = (
        f'{{"customerInfo":{{"balance":"{texts.randbytes(40).hex()}"}}}}\n'.encode() for _ in range(5000)
    )
    path.write_bytes(gzip.compress(b"".join(lines), mtime=0))
    return path


def test_packed_and_plain_files_hold_the_same_events(packed: Path) -> None:
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    found, damage = read_file(packed)
    assert (ids(found), damage) == (ids(read_file(plain)[0]), "")
    assert len(found) == 5000


def test_a_file_of_several_gzip_members_is_read_whole(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes() + gzip.compress(GOOD))
    found, damage = read_file(packed)
    assert (len(found), damage) == (5001, "")


def test_what_stands_before_the_end_of_a_truncated_file_is_read(packed: Path) -> None:
    data = packed.read_bytes()
    packed.write_bytes(data[: len(data) // 2])
    found, damage = read_file(packed)
    assert 2300 < len(found) < 2700
    assert damage.startswith(f"after line {len(found)}: ")


def test_a_wrong_checksum_is_a_damage_behind_the_last_event(packed: Path) -> None:
    data = packed.read_bytes()
    packed.write_bytes(data[:-8] + bytes(4) + data[-4:])
    found, damage = read_file(packed)
    assert len(found) == 5000
    assert "CRC" in damage


def test_a_damaged_block_ends_the_events_before_it(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    packed.write_bytes(bytes(data))
    found, damage = read_file(packed)
    assert 0 < len(found) < 5000
    assert damage


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("lines", [GOOD, '{"customerInfo":{"balance":"é😀"}}\r\n'.encode() * 20_000, b""])
def test_a_file_of_a_windows_shell_holds_the_same_events(tmp_path: Path, encoding: str, lines: bytes) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines)
    plain = read_file(path)
    path.write_bytes(lines.decode().encode(encoding))
    found, damage = read_file(path)
    assert damage == ""
    assert [(each.place, each.event.customer_info) for each in found if isinstance(each, FoundEvent)] == [
        (each.place, each.event.customer_info) for each in plain[0] if isinstance(each, FoundEvent)
    ]


@given(
    text=st.text(st.characters(), max_size=50), size=st.integers(1, 9), encoding=st.sampled_from(ENCODINGS)
)
def test_text_is_transcoded_whatever_the_size_of_blocks(text: str, size: int, encoding: str) -> None:
    encoded = io.BytesIO(("{" + text).encode(encoding, "surrogatepass"))
    read = transcoded(encoded.getvalue()[:16], lambda _: encoded.read(size))
    assert read is not None
    whole = b"".join(iter(lambda: read(size), b""))
    assert whole == ("{" + text).encode(errors="surrogatepass")


def test_half_a_character_at_the_end_is_damage_behind_the_last_event(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes((GOOD + GOOD).decode().encode("utf-16") + b"{")
    found, damage = read_file(path)
    assert (len(found), damage) == (2, "after line 2: the file ends in the middle of a character")


def test_a_file_packed_with_zstd_is_read_up_to_its_damage(packed: Path) -> None:
    plain = gzip.decompress(packed.read_bytes())
    path = packed.with_name("events.ndjson.zst")
    path.write_bytes(zstd.compress(plain))
    found, damage = read_file(path)
    assert (ids(found), damage) == (ids(read_file(packed)[0]), "")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, damage = read_file(path)
    assert 0 < len(found) < 5000
    assert damage.startswith(f"after line {len(found)}: ")


@pytest.mark.parametrize(
    ("beginning", "explanation"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "a zip archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel workbook"),
        (b"Obj\x01\x04\x14avro", "an Avro container"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "an HTML page"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_of_another_kind_is_named_once(
    tmp_path: Path, beginning: bytes, explanation: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(pack(beginning + b"\n{}" * 100))
    found, damage = read_file(path)
    assert found == []
    assert damage.startswith(f"it is {explanation}")


@pytest.mark.parametrize(
    ("text", "damage"),
    [
        ('{"type":"identify","userId":"1","traits":{"email":"a"}}', "set type identify at document 1"),
        ('[{"a":{"b":1}}]', "no attribute set at [0]"),
        ('[{"type":"userprofile.SetUserProfile","body":{}},{"type":"cart"}]', ""),
        ('[{"type":"cart"}]', ""),
        ('{"conversationHistoryRecords":[{"info":{"conversationId":"1"}}]}', ""),
        ('[{"sdeType":"SURVEY"}]', ""),
        ('[{"type":"ctmrinfo","info":{}},{"type":"track"}]', ""),
        ("[]", ""),
    ],
)
def test_a_file_in_which_nothing_is_known_is_told_with_its_first_item(
    tmp_path: Path, text: str, damage: str
) -> None:
    path = tmp_path / "events.json"
    path.write_text(text)
    expected = damage and f"nothing in it is an event; the first item is {damage}"
    assert read_file(path) == ([], expected)


def test_an_empty_file_has_no_events(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert read_file(empty) == ([], "")


def test_the_bytes_read_of_a_file_reach_its_size(packed: Path) -> None:
    with open_input(str(packed)) as file:
        list(InputEvents(file, format=Format.AUTO, source=None))
        assert file.bytes_read == file.size_bytes == packed.stat().st_size


def test_an_export_is_told_from_events_by_its_beginning(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text('[{"type": "ctmrinfo", "info": {"cstatus": "vip"}}]')
    (found,), damage = read_file(export)
    assert isinstance(found, FoundEvent)
    assert (found.event.customer_info.customer_status, found.place, damage) == ("vip", "[0]", "")


def test_events_that_cannot_be_held_until_their_context_are_told_and_never_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    attributes = {"serverTimeStamp": 1_714_557_600_000, "customerInfo": {"customerStatus": "vip"}}
    events = [{"sdeType": "CUSTOMER_INFO", "customerInfo": attributes}] * 6000
    record = {"sdes": {"events": events}, "consumerParticipants": [{"participantId": "last"}]}
    export = tmp_path / "export.json"
    export.write_text(json.dumps({"conversationHistoryRecords": [record]}))
    found, damage = read_file(export)
    assert found == []
    assert damage.startswith("line 1, byte ")
    assert "events cannot be held until the context behind them is read" in damage
