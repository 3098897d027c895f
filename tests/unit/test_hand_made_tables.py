"""Tables that people make are read by the names of their columns, and nothing in them is lost in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagement import v1
from engagement.cli.event_columns import COLUMNS
from engagement.cli.input_events import Format
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.tables.csv_rows import MAX_ROW_BYTES
from engagement.cli.tables.header import find_target, folded
from engagement.cli.tables.style import sql_name
from tests.unit.test_tables import read, read_events

READ_AS_ONE = (
    "consumer_id,authenticated,server_time_stamp,customer_info.balance,customer_info.last_payment_date\n"
    "c,true,2023-11-14T22:13:20.123Z,00501,2024-05-31\n"
)
UNKNOWN = "nothing of it was read, because no event has these columns: "
REPEATED = "nothing of it was read, because these columns are there more than once: "
REMEDY = ". Rename them, remove them, or keep their values by calling them additional_attributes.NAME"
ONE = v1.Event(
    consumer_id="c",
    authenticated=True,
    customer_info=v1.CustomerInfo(
        server_time_stamp=1_700_000_000_123,
        balance="00501",
        last_payment_date=v1.Date(year=2024, month=5, day=31),
    ),
)


def written(tmp_path: Path, text: str, *, name: str = "e.csv", encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def without_ids(events: list[v1.Event]) -> list[v1.Event]:
    """The events without what is made for those that have no id."""
    for event in events:
        event.event_id = event.source = ""
    return events


def rejection_of(path: Path) -> Rejection:
    (found,), damage = read(path)
    assert isinstance(found, Rejection)
    assert damage == ""
    return found


@pytest.mark.parametrize(
    "text",
    [
        READ_AS_ONE,
        READ_AS_ONE.replace("info.", "info_"),
        READ_AS_ONE.replace("\n", "\r\n"),
        READ_AS_ONE.replace(",", ";"),
        READ_AS_ONE.replace(",", "\t"),
        READ_AS_ONE.replace(",", "|"),
        "sep=;\r\n" + READ_AS_ONE.replace(",", ";"),
        '"' + READ_AS_ONE.replace(",", '","').replace("\n", '"\n"')[:-1],
        READ_AS_ONE.replace("consumer_id", "consumerId")
        .replace("server_time_stamp", "customerInfo.serverTimeStamp")
        .replace("customer_info.last_payment_date", "customerInfo.lastPaymentDate"),
        READ_AS_ONE.upper().replace("\nC,TRUE", "\nc,TRUE"),
        READ_AS_ONE.replace("2023-11-14T22:13:20.123Z", "1700000000123"),
        READ_AS_ONE.replace("2023-11-14T22:13:20.123Z", "2023-11-14 23:13:20.123999+01:00"),
        READ_AS_ONE.replace("last_payment_date\n", "last_payment_date,,\n").replace("31\n", "31,,\n"),
        READ_AS_ONE + ",,,,\n\n",
        READ_AS_ONE.replace(
            "customer_info.last_payment_date",
            "customer_info.last_payment_date.year,customer_info.lastPaymentDate.month,"
            "CUSTOMER_INFO_LAST_PAYMENT_DATE_DAY",
        ).replace("2024-05-31", "2024,05,31"),
        READ_AS_ONE.replace("consumer_id", "set,consumer_id").replace("\nc,", "\nCustomerInfo,c,"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_in_every_spelling(text: str, encoding: str, tmp_path: Path) -> None:
    assert without_ids(read_events(written(tmp_path, text, encoding=encoding))) == [ONE]


def test_every_column_of_an_export_is_known_by_each_of_its_names() -> None:
    names = [column.name for column in COLUMNS]
    assert len({folded(name) for name in names}) == len(names)
    for name in names:
        first, *rest = name.split(".")
        camel = ".".join(
            part.split("_")[0] + "".join(word.title() for word in part.split("_")[1:])
            for part in (first, *rest)
        )
        assert find_target(name) == find_target(sql_name(name)) == find_target(camel) is not None, name


def test_an_empty_cell_is_absent_quoted_or_not(tmp_path: Path) -> None:
    path = written(tmp_path, 'event_id,customer_info.balance,customer_info.role\ne,"",\nf,1,""\n')
    assert read_events(path) == [
        v1.Event(event_id="e"),
        v1.Event(event_id="f", customer_info=v1.CustomerInfo(balance="1")),
    ]


def test_an_export_that_a_program_has_quoted_throughout_has_no_empty_texts(tmp_path: Path) -> None:
    text = (
        '"cursor","event_id","set","customer_info.balance","personal_info.name"\n"c","e","customer","1",""\n'
    )
    assert read_events(written(tmp_path, text)) == [
        v1.Event(event_id="e", customer_info=v1.CustomerInfo(balance="1"))
    ]


def test_a_row_with_values_of_both_sets_is_two_events(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "consumer_id,server_time_stamp,personal_info.name,customer_info.balance,additional_attributes.loyalty.Tier\n"
        "c,1700000000123,Ada,1,gold\nc,1700000000123,Ada,1,gold\n",
    )
    events = read_events(path)
    assert len({event.event_id for event in events}) == 4
    first, second, *_ = without_ids(events)
    assert first == v1.Event(
        consumer_id="c",
        customer_info=v1.CustomerInfo(server_time_stamp=1_700_000_000_123, balance="1"),
        additional_attributes={"loyalty.Tier": "gold"},
    )
    person = v1.PersonalInfo(server_time_stamp=1_700_000_000_123, name="Ada")
    assert second == v1.Event(consumer_id="c", personal_info=person)
    assert [each.place for each in read(path)[0]] == [2, 2, 3, 3]


@pytest.mark.parametrize(
    "text", ["1720000000000", "1720000000000.0", "1720000000000.", "1.72E+12", "1.72e12"]
)
def test_a_time_in_milliseconds_is_read_as_other_tools_write_it(tmp_path: Path, text: str) -> None:
    (event,) = read_events(written(tmp_path, f"server_time_stamp,customer_info.role\n{text},lead\n"))
    assert event.customer_info.server_time_stamp == 1_720_000_000_000


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            "event_id,customer_info.balance,personal_info.name",
            "e,1,Ada",
            "has values of customer_info and personal_info, which are two events, and one event_id",
        ),
        (
            "set,personal_info.name",
            "customer_info,Ada",
            "set: is customer_info, but personal_info.name has a value",
        ),
        ("set,customer_info.role", "lead,x", "set: must be customer_info or personal_info"),
        ("Authenticated,customer_info.role", "1,x", "Authenticated: must be true or false"),
        ("server_time_stamp,customer_info.role", "2024-05-31T12:00:00,x", "must name its zone, as in 2024"),
        ("server_time_stamp,customer_info.role", "1.7E12.5,x", "must be a time such as"),
        ("server_time_stamp,customer_info.role", "9" * 30 + ",x", "must be a time such as"),
        (
            "customerInfo.lastPaymentDate,source",
            "31.05.2024,x",
            "lastPaymentDate: must be a day such as 2024-05-31",
        ),
        ("customer_info.last_payment_date.year,source", "MMXX,x", "must be a whole number"),
        ("additional_attributes,customer_info.role", "gold,x", "additional_attributes: not JSON"),
        (
            "additional_attributes,customer_info.role",
            '"{""a"": 1}",x',
            'additional_attributes["a"]: must be text',
        ),
        (
            "additional_attributes,customer_info.role",
            '"{""a"":""\\ud800""}",x',
            "a value that no event can have",
        ),
        (
            "additional_attributes,additional_attributes.a",
            '"{""a"": ""1""}",2',
            "has this name in its JSON too",
        ),
        (
            "personal_info.other_contacts,source",
            '"[{""mail"":""x""}]",x',
            "other_contacts[0].mail: is none of email, phone",
        ),
        ("customer_info.role,source", "x", "has 1 cells, but the header has 2"),
        ("customer_info.role,", "x,y", "has 2 cells, but the header has 1"),
        ("customer_info.role,formulas", "x,yes", "formulas: must be marked, or nothing"),
    ],
)
def test_a_row_that_is_no_event_is_rejected_with_its_line_and_its_text(
    header: str, row: str, message: str, tmp_path: Path
) -> None:
    found = rejection_of(written(tmp_path, f"{header}\r\n{row}\r\n"))
    assert (found.place, found.text, found.reason) == (2, row, "UNREADABLE")
    assert message in found.message
    assert found.violations[0].rule


def test_a_day_that_is_not_in_the_calendar_is_left_to_the_rules(tmp_path: Path) -> None:
    (event,) = read_events(written(tmp_path, "customer_info.last_payment_date\n2014-13-01\n"))
    assert event.customer_info.last_payment_date == v1.Date(year=2014, month=13, day=1)


@pytest.mark.parametrize(
    ("header", "damage"),
    [
        (
            "consumer_id,balanse,email,customer_info.balanc",
            UNKNOWN + "'balanse' (perhaps customer_info.balance), 'email' (perhaps personal_info.email),"
            " 'customer_info.balanc' (perhaps customer_info.balance)" + REMEDY,
        ),
        (
            ",consumer_id",
            UNKNOWN
            + "'' (a column without a name; pandas writes its index so, unless with index=False)"
            + REMEDY,
        ),
        (
            "consumer_id,consumerId,source,source",
            REPEATED + "'consumerId' (which is 'consumer_id'), 'source'",
        ),
        (
            "server_time_stamp,customer_info.server_time_stamp",
            REPEATED + "'customer_info.server_time_stamp' (which is 'server_time_stamp')",
        ),
        (
            "customer_info.last_payment_date,customer_info.last_payment_date.day",
            REPEATED + "'customer_info.last_payment_date.day' (which is 'customer_info.last_payment_date')",
        ),
        ("id;total;date", "nothing in it is an event; its columns are 'id', 'total', 'date'"),
        (
            "consumer id;Customer Balance;n",
            "nothing in it is an event; its columns are 'consumer id' (perhaps consumer_id),"
            " 'Customer Balance' (perhaps customer_info.balance), 'n'" + REMEDY,
        ),
        (
            "id~total",
            "nothing in it is an event; its columns are 'id~total'. Cells may be separated by commas,"
            " semicolons, tabs and |",
        ),
        (
            "balance",
            "nothing in it is an event; its columns are 'balance' (perhaps customer_info.balance)"
            + REMEDY
            + ". Cells may be separated by commas, semicolons, tabs and |",
        ),
        ("id\rtotal", "line 1, the names of its columns: has a carriage return outside of quotation marks"),
        (
            'id,"consumer_id\n1,2\n',
            "line 1: the row that begins there has an open quotation mark, and the file ends",
        ),
    ],
)
def test_a_table_with_other_columns_is_refused_once(header: str, damage: str, tmp_path: Path) -> None:
    found, told = read(written(tmp_path, header + "\n1,2,3,4\n" * 3))
    assert found == []
    assert told.startswith(damage)
    assert damage.startswith("line") or told == damage


@pytest.mark.parametrize("name", ["e.txt", "stdin", "e.CSV", "e.tsv"])
def test_a_table_is_known_by_its_columns_whatever_its_name(name: str, tmp_path: Path) -> None:
    assert without_ids(read_events(written(tmp_path, READ_AS_ONE, name=name))) == [ONE]


def test_a_file_with_the_name_of_a_table_may_hold_json(tmp_path: Path) -> None:
    path = written(tmp_path, '{"eventId": "e", "customerInfo": {}}\n', name="e.csv")
    assert read_events(path) == [v1.Event(event_id="e", customer_info=v1.CustomerInfo())]
    found, damage = read(path, format_=Format.TABLE)
    assert found == []
    assert damage.startswith("line 1, the names of its columns: has a quotation mark inside of a cell")


def test_a_wide_table_of_unknown_columns_is_named_in_a_few_words(tmp_path: Path) -> None:
    names = ["consumer_id", *(f"{number}{'x' * 100}" for number in range(50_000))]
    found, damage = read(written(tmp_path, ",".join(names) + "\n"))
    assert found == []
    assert f"'{'0' + 'x' * 59}…', " in damage
    assert " and 49980 more. Rename them" in damage


def test_a_time_of_zero_is_left_to_the_rules(tmp_path: Path) -> None:
    (event,) = read_events(written(tmp_path, "event_id,server_time_stamp,customer_info.role\ne,0,x\n"))
    assert event.customer_info == v1.CustomerInfo(server_time_stamp=0, role="x")


def test_the_last_row_of_a_truncated_export_is_rejected(tmp_path: Path) -> None:
    found, damage = read(written(tmp_path, "cursor,event_id,customer_info.role\nc,e,broker\nd,f,bro"))
    assert [type(each) for each in found] == [FoundEvent, Rejection]
    assert isinstance(found[1], Rejection)
    assert (found[1].message, damage) == (
        "the line: has no line end, as every row of an export: the file is truncated",
        "",
    )


def test_an_overlong_row_is_reported_with_its_beginning(tmp_path: Path) -> None:
    found = rejection_of(written(tmp_path, "customer_info.role\n" + "x" * (MAX_ROW_BYTES + 1) + "\n"))
    assert (found.place, found.text) == (2, "x" * 200 + "…")


def test_marks_are_removed_only_from_rows_that_say_that_they_have_them(tmp_path: Path) -> None:
    text = "event_id,customer_info.balance,formulas\na,'=1,marked\nb,'=1,\nc,''=1,marked\nd,=1,marked\n"
    balances = [event.customer_info.balance for event in read_events(written(tmp_path, text))]
    assert balances == ["=1", "'=1", "'=1", "=1"]
