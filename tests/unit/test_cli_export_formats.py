"""The formats of an export hold what the events hold, and nothing else."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from engagement import v1
from engagement.attribute_order import LATER
from engagement.cli import event_columns
from engagement.cli.event_columns import COLUMNS
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_parquet import ParquetFormat
from engagement.cli.export_text import CsvFormat, NdjsonFormat
from engagement.cli.failures import CommandError
from engagement_server.access.masking import PERSON_MASK
from tests.support.personal_events import personal_events

RECEIVED = Timestamp(seconds=1_700_000_000, nanos=123_000_000)
CUSTOMER = v1.StoredEvent(
    cursor="c-1",
    receive_time=RECEIVED,
    matched_customer_status="VIP",
    event=v1.Event(
        event_id="e-1",
        consumer_id="ada",
        authenticated=True,
        original_time_stamp=1_600_000_000_001,
        customer_info=v1.CustomerInfo(
            server_time_stamp=1_699_999_999_000,
            balance="",
            role='a "quoted"\nline, \r and é',
            registration_date=v1.Date(year=1, month=2, day=3),
        ),
        additional_attributes={"loyalty": "gold"},
    ),
)
PERSON = v1.StoredEvent(
    cursor="c-2",
    receive_time=RECEIVED,
    event=v1.Event(
        event_id="e-2",
        personal_info=v1.PersonalInfo(
            server_time_stamp=253_402_300_799_999,
            name="Zoë",
            other_contacts=[v1.PersonalContact(email="z@example.com"), v1.PersonalContact(phone="")],
        ),
    ),
)
FORMATS: dict[str, ExportFormat] = {
    "ndjson": NdjsonFormat(is_compressed=False),
    "ndjson.gz": NdjsonFormat(is_compressed=True),
    "csv": CsvFormat(is_compressed=False),
    "csv.gz": CsvFormat(is_compressed=True),
    "parquet": ParquetFormat(),
}
NEW_COLUMN = "customer_info.role"
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def write(format_: ExportFormat, part: Path, *blocks: list[v1.StoredEvent]) -> Path:
    """A finished file of these blocks."""
    part.write_bytes(format_.begin() + b"".join(map(format_.encode, blocks)))
    return format_.finish(part)


@pytest.mark.parametrize("name", FORMATS)
def test_cursors_are_found_again_in_the_order_of_the_events(name: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    write(FORMATS[name], part, [CUSTOMER], [PERSON, CUSTOMER])
    assert list(FORMATS[name].read_cursors(part)) == ["c-1", "c-2", "c-1"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_events_is_a_file(name: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    assert write(FORMATS[name], part).exists()
    assert list(FORMATS[name].read_cursors(part)) == []


@pytest.mark.parametrize("name", ["ndjson", "ndjson.gz"])
def test_each_line_is_a_stored_event_in_proto_json(name: str, tmp_path: Path) -> None:
    file = write(FORMATS[name], tmp_path / "part", [CUSTOMER], [PERSON])
    text = gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()
    lines = text.decode().splitlines()
    assert [json_format.Parse(line, v1.StoredEvent()) for line in lines] == [CUSTOMER, PERSON]


def test_csv_tells_absent_from_empty(tmp_path: Path) -> None:
    file = write(FORMATS["csv"], tmp_path / "part", [CUSTOMER], [PERSON])
    raw = file.read_bytes().decode()
    assert raw.startswith(",".join(column.name for column in COLUMNS) + "\n")
    with file.open(newline="") as lines:
        first, second = csv.DictReader(lines)
    assert first["customer_info.role"] == 'a "quoted"\nline, \r and é'
    assert first["customer_info.registration_date"] == "0001-02-03"
    assert first["receive_time"] == "2023-11-14T22:13:20.123Z"
    assert first["original_time_stamp"] == "2020-09-13T12:26:40.001Z"
    assert (first["authenticated"], second["authenticated"]) == ("true", "false")
    assert (first["set"], second["set"]) == ("customer_info", "personal_info")
    assert json.loads(first["additional_attributes"]) == {"loyalty": "gold"}
    assert json.loads(second["personal_info.other_contacts"]) == [{"email": "z@example.com"}, {"phone": ""}]
    # The empty balance stands between an absent type and an absent id.
    assert ',,"",,' in raw


def masked_events() -> list[v1.StoredEvent]:
    """The events as a caller who may not see persons has them."""
    events = [v1.StoredEvent(cursor=f"m-{name}", event=event) for name, event in personal_events().items()]
    for stored in events:
        stored.masked_fields.extend(PERSON_MASK.mask_event(stored.event))
    return events


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_what_is_masked_is_absent_in_a_table_and_named(name: str, tmp_path: Path) -> None:
    events = masked_events()
    file = write(FORMATS[name], tmp_path / "part", [*events, PERSON])
    if name == "csv":
        with file.open(newline="") as lines:
            rows: list[dict[str, Any]] = [*csv.DictReader(lines)]
    else:
        rows = parquet.read_table(file).to_pylist()
    for stored, row in zip(events, rows[:-1], strict=True):
        assert row["masked_fields"] == ",".join(stored.masked_fields)
        assert not any(row[path] for path in stored.masked_fields)
        assert row["set"]
    assert rows[0]["customer_info.balance"]
    assert not rows[-1]["masked_fields"]
    assert rows[-1]["personal_info.name"] == "Zoë"


def test_what_is_masked_is_named_in_a_line(tmp_path: Path) -> None:
    events = masked_events()
    lines = write(FORMATS["ndjson"], tmp_path / "part", events).read_text().splitlines()
    assert [json_format.Parse(line, v1.StoredEvent()) for line in lines] == events


@given(texts, st.none() | texts)
def test_any_text_comes_back_from_csv(balance: str, role: str | None) -> None:
    event = v1.Event(customer_info=v1.CustomerInfo(balance=balance, role=role))
    block = FORMATS["csv"].encode([v1.StoredEvent(event=event)]).decode()
    (row,) = csv.reader(StringIO(block, newline=""))
    cells = dict(zip((column.name for column in COLUMNS), row, strict=True))
    assert cells["customer_info.balance"] == balance
    assert cells["customer_info.role"] == (role or "")


def test_parquet_has_types_and_nulls(tmp_path: Path) -> None:
    table = parquet.read_table(write(FORMATS["parquet"], tmp_path / "part", [CUSTOMER], [PERSON]))
    assert table.column_names == [column.name for column in COLUMNS]
    kinds: dict[str, Any] = {field.name: str(field.type) for field in table.schema}
    assert kinds["receive_time"] == "timestamp[ms, tz=UTC]"
    assert kinds["customer_info.last_payment_date"] == "date32[day]"
    assert kinds["authenticated"] == "bool"
    first, second = table.to_pylist()
    assert first["server_time_stamp"] == datetime(2023, 11, 14, 22, 13, 19, tzinfo=UTC)
    assert first["receive_time"].microsecond == 123_000
    assert first["customer_info.registration_date"] == date(1, 2, 3)
    assert (first["customer_info.balance"], first["customer_info.customer_id"]) == ("", None)
    assert second["server_time_stamp"].year == 9999
    assert (second["consumer_id"], second["original_time_stamp"]) == (None, None)


def as_begun_earlier(name: str, part: Path) -> None:
    """Takes a column out of a part, as if the contract had not had its attribute yet."""
    if name == "parquet":
        with part.open("rb") as file, pa.ipc.open_stream(file) as stream:
            table = stream.read_all().drop_columns([NEW_COLUMN])
        with pa.ipc.new_stream(part, table.schema) as stream:
            stream.write_table(table)
        return
    is_compressed = name.endswith("gz")
    data = gzip.decompress(part.read_bytes()) if is_compressed else part.read_bytes()
    header, first = data.decode().splitlines()
    index = header.split(",").index(NEW_COLUMN)
    lines = [",".join(cells[:index] + cells[index + 1 :]) for cells in (header.split(","), first.split(","))]
    data = "\n".join([*lines, ""]).encode()
    part.write_bytes(gzip.compress(data) if is_compressed else data)


def read_table(name: str, file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and the rows of a finished file."""
    if name == "parquet":
        table = parquet.read_table(file)
        return table.column_names, table.to_pylist()
    data = gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()
    reader = csv.DictReader(StringIO(data.decode(), newline=""))
    return list(reader.fieldnames or ()), list(reader)


@pytest.mark.parametrize("name", ["csv", "csv.gz", "parquet"])
def test_a_resumed_file_keeps_the_columns_with_which_it_was_begun(name: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    plain = v1.Event(event_id="e-0", customer_info=v1.CustomerInfo(balance="1"))
    write(FORMATS[name], part, [v1.StoredEvent(cursor="c-0", event=plain)])
    as_begun_earlier(name, part)
    format_ = type(FORMATS[name])(**({"is_compressed": name.endswith("gz")} if name != "parquet" else {}))
    assert format_.resume(part) == [NEW_COLUMN]
    part.write_bytes(part.read_bytes() + format_.encode([PERSON]) + format_.encode([CUSTOMER]))
    assert list(format_.read_cursors(part)) == ["c-0", "c-2", "c-1"]
    columns, (first, second, third) = read_table(name, format_.finish(part))
    assert columns == [column.name for column in COLUMNS if column.name != NEW_COLUMN]
    assert (first["customer_info.balance"], second["personal_info.name"]) == ("1", "Zoë")
    assert json.loads(third["additional_attributes"]) == {"loyalty": "gold"}


@pytest.mark.parametrize("name", ["csv", "csv.gz", "parquet"])
def test_a_file_that_a_later_version_began_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    write(FORMATS[name], part, [PERSON])
    monkeypatch.setattr(event_columns, "COLUMNS", [each for each in COLUMNS if each.name != NEW_COLUMN])
    with pytest.raises(
        CommandError, match=f"part has the column '{NEW_COLUMN}', which this version does not"
    ):
        FORMATS[name].resume(part)


def test_columns_of_later_attributes_are_the_last() -> None:
    names = [column.name for column in COLUMNS]
    later = [f"{set_name}.{name}" for set_name, name in LATER]
    assert names[names.index("additional_attributes") + 1 :] == later, "LATER lists them in their order"


def test_every_field_of_an_event_has_its_column() -> None:
    names = {column.name for column in COLUMNS}
    for message, prefix in ((v1.CustomerInfo, "customer_info."), (v1.PersonalInfo, "personal_info.")):
        for field in message.DESCRIPTOR.fields:
            assert field.name == "server_time_stamp" or prefix + field.name in names
    # Tables hold events, not how they came.
    for field in (*v1.Event.DESCRIPTOR.fields, *v1.StoredEvent.DESCRIPTOR.fields):
        assert field.name in {*names, "event", "customer_info", "personal_info", "upload"}
