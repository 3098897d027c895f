"""Parquet that other programs write is read in their types, row by row."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from engagement import v1
from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import open_input
from engagement.cli.outcomes import FoundEvent, Rejection
from tests.unit.test_hand_made_tables import ONE, without_ids
from tests.unit.test_tables import read, read_events

MOMENT = datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
DAY = date(2024, 5, 31)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
@pytest.mark.parametrize("day", [pa.date32(), pa.date64(), pa.string()], ids=str)
def test_parquet_is_read_in_the_types_of_other_programs(
    unit: str, text: Any, day: Any, tmp_path: Path
) -> None:
    path = tmp_path / "e.parquet"
    table = pa.table(
        {
            "consumerId": pa.array(["c"], text),
            "authenticated": pa.array([True]),
            "server_time_stamp": pa.array([MOMENT], pa.timestamp(unit, "Europe/Berlin")),
            "original_time_stamp": pa.nulls(1),
            "customer_info.balance": pa.array(["00501"], text),
            "customer_info.last_payment_date": pa.array([DAY if day != pa.string() else str(DAY)], day),
        }
    )
    parquet.write_table(table, path)
    assert without_ids(read_events(path)) == [ONE]


def test_parquet_with_other_columns_or_types_is_refused_once(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    parquet.write_table(pa.table({"consumer_id": ["c"], "__index_level_0__": [1]}), path)
    assert "no event has these columns: '__index_level_0__'" in read(path)[1]
    parquet.write_table(
        pa.table({"customer_info.balance": [1.5], "server_time_stamp": pa.array([0], pa.timestamp("us"))}),
        path,
    )
    assert read(path) == (
        [],
        "nothing of it was read, because these columns are of another type: "
        "'customer_info.balance' is double, not text, "
        "'server_time_stamp' is timestamp[us], not a timestamp with a zone, a whole number or text",
    )


def test_a_row_of_parquet_that_is_no_event_is_rejected_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    parquet.write_table(
        pa.table({"set": ["personal", "lead"], "personal_info.name": ["Ada", "Eve"], "source": [None, "é"]}),
        path,
    )
    first, second = read(path)[0]
    assert isinstance(first, FoundEvent)
    assert isinstance(second, Rejection)
    assert (first.place, second.place) == ("row 1", "row 2")
    assert json.loads(second.text) == {"set": "lead", "personal_info.name": "Eve", "source": "é"}


def test_columns_of_additional_attributes_are_read_from_parquet(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    columns = {
        "event_id": ["e"],
        "additional_attributes.b": ["2"],
        "additional_attributes": ['{"a": "1"}'],
        "additional_attributes.b.c": [""],
    }
    parquet.write_table(pa.table(columns), path)
    assert read_events(path) == [
        v1.Event(event_id="e", additional_attributes={"a": "1", "b": "2", "b.c": ""})
    ]


def test_parquet_with_long_texts_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path, rows, characters = tmp_path / "e.parquet", 512, 100_000
    texts = [random.Random(row).randbytes(characters // 2).hex() for row in range(rows)]
    table = pa.table({"customer_info.role": texts})
    parquet.write_table(table, path, use_dictionary=False, write_batch_size=8)
    del texts, table
    before = pa.total_allocated_bytes()
    most_bytes = 0
    with open_input(str(path)) as file:
        events = InputEvents(file, format=Format.AUTO, source="s")
        for _ in events:
            most_bytes = max(most_bytes, pa.total_allocated_bytes() - before)
    assert (events.events_read, events.damage) == (rows, "")
    assert 0 < most_bytes < rows * characters // 2
