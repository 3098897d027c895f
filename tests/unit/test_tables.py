"""Tables that export writes are read as the events that they were."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from engagement import v1
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_parquet import ParquetFormat
from engagement.cli.export_text import CsvFormat
from engagement.cli.failures import CommandError
from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import InputFile, open_input
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.tables.style import TableStyle
from tests.support.nasty_events import nasty_events

SQL = TableStyle(has_sql_names=True)
MARKED = TableStyle(marks_formulas=True)
EXCEL = TableStyle(marks_formulas=True, has_byte_order_mark=True, has_sql_names=True)
STYLES: dict[str, ExportFormat] = {
    "dotted.csv": CsvFormat(is_compressed=False),
    "sql.csv.gz": CsvFormat(is_compressed=True, style=SQL),
    "marked.csv": CsvFormat(is_compressed=False, style=MARKED),
    "excel.csv": CsvFormat(is_compressed=False, style=EXCEL),
    "dotted.parquet": ParquetFormat(),
    "sql.parquet": ParquetFormat(SQL),
}
RECEIVED = Timestamp(seconds=1_700_000_000, nanos=123_000_000)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def stored(events: list[v1.Event]) -> list[v1.StoredEvent]:
    """The events as a server gives them back, with the fields that a table drops."""
    return [
        v1.StoredEvent(event=event, cursor=f"-{number}", receive_time=RECEIVED, matched_customer_type="=VIP")
        for number, event in enumerate(events)
    ]


def write(path: Path, events: list[v1.Event], *blocks: list[v1.Event]) -> Path:
    """Exports the events to this path, in the format that its name says."""
    format_ = STYLES[path.name]
    part = path.with_suffix(".part")
    encoded = [format_.encode(stored(each)) for each in (events, *blocks) if each]
    part.write_bytes(format_.begin() + b"".join(encoded))
    return format_.finish(part).replace(path)


def read(path: Path, *, format_: Format = Format.AUTO) -> tuple[list[FoundEvent | Rejection], str]:
    """What a command finds in a file, and the damage."""
    with open_input(str(path)) as file:
        events = InputEvents(file, format=format_, source="s")
        return list(events), events.damage


def read_events(path: Path) -> list[v1.Event]:
    """The events of a file in which nothing is wrong."""
    found, damage = read(path)
    assert damage == ""
    assert [each for each in found if isinstance(each, Rejection)] == []
    return [each.event for each in found if isinstance(each, FoundEvent)]


@pytest.mark.parametrize("name", STYLES)
def test_every_event_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    events = nasty_events()
    path = write(tmp_path / name, events, events[:1])
    assert read_events(path) == [*events, events[0]]


@pytest.mark.parametrize("name", STYLES)
def test_a_table_without_rows_has_no_events(name: str, tmp_path: Path) -> None:
    assert read_events(write(tmp_path / name, [])) == []


@given(
    texts,
    st.none() | texts,
    st.dictionaries(texts, texts, max_size=3),
    st.lists(st.tuples(st.none() | texts, st.none() | texts), max_size=3),
    st.sampled_from(sorted(STYLES)),
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    surname: str | None,
    more: dict[str, str],
    contacts: list[tuple[str | None, str | None]],
    style: str,
) -> None:
    others = [v1.PersonalContact(email=email, phone=phone) for email, phone in contacts]
    person = v1.PersonalInfo(name=name, surname=surname, other_contacts=others)
    event = v1.Event(event_id="e", consumer_id=name, personal_info=person, additional_attributes=more)
    assert read_events(write(tmp_path_factory.mktemp("any") / style, [event])) == [event]


def test_texts_that_a_spreadsheet_would_compute_are_marked_where_the_file_says_so(tmp_path: Path) -> None:
    events = nasty_events()
    text = write(tmp_path / "excel.csv", events).read_bytes().decode()
    assert text.startswith("\ufeffcursor,receive_time,")
    header, *rows = text.split("\n")
    assert (header.endswith(",formulas"), rows[0].endswith(",marked")) == (True, True)
    assert ",'=1+1," in text
    assert ",=1+1," not in text
    plain = write(tmp_path / "dotted.csv", events).read_bytes().decode()
    assert ",=1+1," in plain


@pytest.mark.parametrize("name", ["marked.csv", "excel.csv", "sql.csv.gz", "sql.parquet"])
def test_a_resumed_table_keeps_its_style(name: str, tmp_path: Path) -> None:
    events = nasty_events()
    part = tmp_path / "part"
    part.write_bytes(STYLES[name].begin() + STYLES[name].encode(stored(events[:2])))
    plain = ParquetFormat() if name.endswith("parquet") else CsvFormat(is_compressed=name.endswith("gz"))
    assert plain.resume(part) == []
    part.write_bytes(part.read_bytes() + plain.encode(stored(events[2:])))
    assert list(plain.read_cursors(part)) == [f"-{number}" for number in (0, 1, *range(len(events) - 2))]
    assert read_events(plain.finish(part).replace(tmp_path / name)) == events


def test_a_table_keeps_the_ids_of_the_same_events_in_lines(tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_text(
        '{"consumerId": "1", "customerInfo": {"balance": "2"}}\n'
        '{"consumerId": "1", "personalInfo": {"name": "Ada"}}\n'
    )
    (tmp_path / "e.csv").write_text("consumer_id,customer_info.balance,personal_info.name\n1,2,Ada\n")
    assert read_events(tmp_path / "e.csv") == read_events(tmp_path / "e.ndjson")


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_the_rows_before_the_end_of_a_packed_file_are_read(cut: float, tmp_path: Path) -> None:
    path = write(tmp_path / "sql.csv.gz", nasty_events(), *[nasty_events()] * 20)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    found, damage = read(path)
    assert found
    assert damage.startswith("after line ")
    assert gzip.BadGzipFile.__name__ not in damage


def test_the_rows_before_a_damage_in_parquet_are_read(tmp_path: Path) -> None:
    events = nasty_events()
    path = write(tmp_path / "dotted.parquet", events)
    table = parquet.read_table(path)
    parquet.write_table(table, path, row_group_size=10, write_page_checksum=True)
    assert read_events(path) == events
    data = bytearray(path.read_bytes())
    # In the values of the sixth row group.
    (start,) = {parquet.read_metadata(path).row_group(5).column(2).data_page_offset}
    data[start + 30 : start + 60] = bytes(30)
    path.write_bytes(bytes(data))
    found, damage = read(path)
    assert [each.event for each in found if isinstance(each, FoundEvent)] == events[:50]
    assert damage.startswith("after row 50: ")
    path.write_bytes(bytes(data[:-100]))
    found, damage = read(path)
    assert (found, damage[:18]) == ([], "at its beginning: ")


def test_parquet_in_a_pipe_is_named_with_what_to_do(tmp_path: Path) -> None:
    data = write(tmp_path / "dotted.parquet", []).read_bytes()
    end, pipe = os.pipe()
    os.write(pipe, data)
    os.close(pipe)
    with open(end, "rb", buffering=0) as raw:
        events = InputEvents(InputFile(raw, name="stdin"), format=Format.AUTO, source="s")
        assert list(events) == []
    assert events.damage.startswith("it is a Parquet file in a pipe, or packed: ")


@pytest.mark.parametrize("format_", [Format.AUTO, Format.EVENTS, Format.TABLE])
def test_a_packed_parquet_file_is_named_with_what_to_do(format_: Format, tmp_path: Path) -> None:
    path = write(tmp_path / "dotted.parquet", nasty_events())
    packed = tmp_path / "e.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    expected = "it is a Parquet file in a pipe, or packed: unpack it first, and name the file itself"
    assert read(packed, format_=format_) == ([], expected)


def test_without_its_library_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "dotted.parquet", [])
    monkeypatch.delitem(sys.modules, "engagement.cli.tables.parquet_events", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CommandError, match=r"Parquet format needs pyarrow.* run pip install '.*\[parquet\]'"):
        read(path)
