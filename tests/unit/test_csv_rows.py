"""Rows of CSV are read as they were written, and what cannot be read is named with its place."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.cli.tables.csv_rows import MAX_ROW_BYTES, Cells, CsvRows, Fault
from engagement.cli.tables.errors import TableDamageError

SEPARATORS = [",", ";", "\t"]
cell_texts = st.text(st.sampled_from('",;\t\r\na é'), max_size=6) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=10
)
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(st.none() | cell_texts, min_size=width, max_size=width), max_size=6)
)


def rows_of(
    data: bytes, *, separator: str = ",", empty_text: str | None = ""
) -> list[tuple[int, Cells | Fault]]:
    """All rows, with the lines on which they begin."""
    rows = CsvRows(io.BytesIO(data), separator=separator)
    rows.empty_text = empty_text
    return [(rows.line_number, row) for row in rows]


def write(cell: str | None, *, separator: str, always: bool) -> str:
    """A cell as RFC 4180 has it; absent is nothing at all."""
    if cell is None:
        return ""
    if always or not cell or any(each in cell for each in f'"\r\n{separator}'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@given(tables, st.sampled_from(SEPARATORS), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_any_table_of_cells_comes_back(
    table: list[Cells], separator: str, end: str, always: bool, ends: bool
) -> None:
    lines = [
        separator.join([write(cell, separator=separator, always=always) for cell in row]) for row in table
    ]
    text = end.join([*lines, ""] if ends else lines)
    # A byte order mark is no text of the first cell.
    data = text.encode("utf-8-sig")
    assert [row for _, row in rows_of(data, separator=separator)] == table


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        rows = rows_of(data)
    except TableDamageError:
        rows = []
    assert [line for line, _ in rows] == sorted({line for line, _ in rows})


def test_an_empty_text_is_absent_unless_it_is_said_to_be_a_value() -> None:
    assert rows_of(b'a,"",\n', empty_text=None) == [(1, ["a", None, None])]
    assert rows_of(b'a,"",\n', empty_text="") == [(1, ["a", "", None])]


def test_places_are_the_lines_on_which_rows_begin() -> None:
    data = b'a,b\n\n"1\n\n2",x\r\n3,"4\n"\n5,6'
    assert rows_of(data) == [(1, ["a", "b"]), (3, ["1\n\n2", "x"]), (6, ["3", "4\n"]), (8, ["5", "6"])]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'5" pipe,2', "csv.quotes"),
        (b' "a",2', "csv.quotes"),
        (b'"a"b,2', "csv.quotes"),
        (b'"a" "b",2', "csv.quotes"),
        (b'x"y,"open', "csv.quotes"),
        (b"a\rb,2", "csv.line_end"),
        (b'a\rb,"2"', "csv.line_end"),
        (b"a\xff,2", "csv.utf8"),
        (b'"a\xff",2', "csv.utf8"),
        (b'"a\n\xff",2', "csv.utf8"),
        (b"x" * (MAX_ROW_BYTES + 10_000), "csv.max_row_bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_row_that_cannot_be_read_is_a_fault_and_the_next_is_read(line: bytes, rule: str) -> None:
    first, second, third = rows_of(b"1,2\n" + line + b"\n3,4\n")
    assert (first, third[1]) == ((1, ["1", "2"]), ["3", "4"])
    assert isinstance(second[1], Fault)
    assert (second[0], second[1].rule) == (2, rule)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'"b,2\n3,4\n', "the file ends before it is closed"),
        (b'"b', "the file ends before it is closed"),
        (b'"b,2\n3,"4"\n5,6\n', "text behind a closing quotation mark"),
        (
            b'"b,2\n' + (b"3," * 5000 + b"4\n") * (MAX_ROW_BYTES // 10_000 + 1),
            "takes more than 16777216 bytes",
        ),
        (b'"' + b"b" * MAX_ROW_BYTES, "takes more than 16777216 bytes"),
        (b"b" * (MAX_ROW_BYTES + 9) + b'"\n5,6\n', "takes more than 16777216 bytes"),
    ],
    ids=["end", "end of line", "closed by another", "long", "long line", "late"],
)
def test_an_open_quotation_mark_is_damage_with_its_place(data: bytes, reason: str) -> None:
    rows = CsvRows(io.BytesIO(b"1,2\n" + data), separator=",")
    found = iter(rows)
    assert next(found) == ["1", "2"]
    with pytest.raises(
        TableDamageError, match="line 2: the row that begins there has an open quot"
    ) as caught:
        list(found)
    assert reason in str(caught.value)
