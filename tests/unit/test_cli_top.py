"""The page of `engagement top`: what it says, and that nothing in an answer can break it."""

from __future__ import annotations

import re
from typing import cast

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.cli.top import quantities
from engagement.cli.top.charset import charset_of
from engagement.cli.top.page import Notice, Page
from engagement.cli.top.rejected_rules import Order
from engagement.cli.top.sparkline import MAX_SAMPLES, sparkline

UNICODE = charset_of("utf-8")
NOW = 1_800_000_000
BARS = "_123"
SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
# All that a terminal may obey, and what reorders a line.
HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
HOSTILE_TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "\x1b[31mred\x1b]0;title\x07",
            "[bold]x[/bold] [/]",
            "\x9b2J",
            "a\nb\r\tc",
            "\u202egnp.exe",
            "e" + "\u0301" * 300,
            "東京" * 60,
            "👩‍👩‍👧" * 20,
            "x" * 1024,
            ":smile:",
        ]
    ),
)
NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 99),
    FieldDescriptor.CPPTYPE_STRING: HOSTILE_TEXTS,
}


def values(field: FieldDescriptor) -> st.SearchStrategy[object]:
    """Any value of a field, as its message's constructor takes it."""
    one = arguments(GetMessageClass(field.message_type)) if field.message_type else NUMBERS[field.cpp_type]
    return st.lists(one, max_size=4) if field.is_repeated else one


def arguments(message: type[Message]) -> st.SearchStrategy[dict[str, object]]:
    """The arguments of any message."""
    # The stubs also allow the C implementation.
    fields = cast("list[FieldDescriptor]", message.DESCRIPTOR.fields)
    return st.fixed_dictionaries({}, optional={each.name: values(each) for each in fields})


ANSWERS = st.builds(lambda fields: v1.GetServerStatsResponse(**fields), arguments(v1.GetServerStatsResponse))


def busy(rules: int = 30) -> v1.GetServerStatsResponse:
    """The answer of a server that has much to say."""
    stats = v1.GetServerStatsResponse(version="1.2.3", rejected_events=12_345, open_subscriptions=7)
    stats.start_time.FromSeconds(NOW - 93_784)
    stats.sample_time.FromSeconds(NOW)
    stats.memory_bytes, stats.memory_limit_bytes = 220 << 20, 1 << 30
    for age in range(MAX_SAMPLES, 0, -1):
        sample = stats.samples.add(accepted_events=5 * age, rejected_events=40)
        sample.duration.FromSeconds(5)
        sample.end_time.FromSeconds(NOW - 5 * age)
    for number in range(rules):
        rule = stats.rejected_rules.add(
            account_id="brand",
            source=f"crm-{number}",
            field="customer_info.last_payment_date.month",
            rule="int32.gte_lte",
            events=1000 - number,
            value_shape="99",
            description="must be 1 to 12",
        )
        rule.last_reject_time.FromSeconds(NOW - rules + number)
    stats.failed_calls.add(reason="FIELD_INVALID", calls=742)
    slow = stats.subscriptions.add(account_id="brand", lag_events=4000)
    slow.lag.FromSeconds(90)
    stats.files.add(kind="wal", bytes=3 << 20)
    stats.partitions.add(number=0, current=True, stored_events=1234)
    return stats


def fitted(
    stats: v1.GetServerStatsResponse,
    width: int = 80,
    height: int = 24,
    *,
    outage: str = "",
    order: Order = Order.EVENTS,
) -> list[str]:
    page = Page(stats, server="localhost:50051", charset=UNICODE)
    notice = Notice(text=outage, keys="q quits")
    return [line.plain for line in page.fitted(width, height, notice=notice, order=order)]


@settings(max_examples=50)
@given(
    ANSWERS,
    HOSTILE_TEXTS,
    st.integers(1, 220),
    st.integers(1, 70),
    st.sampled_from(Order),
    st.sampled_from(["utf-8", "ascii", "latin-1", "no-such-encoding"]),
)
def test_no_answer_leaves_the_terminal_or_controls_it(
    stats: v1.GetServerStatsResponse, outage: str, width: int, height: int, order: Order, encoding: str
) -> None:
    charset = charset_of(encoding)
    page = Page(stats, server="localhost:50051", charset=charset)
    notice = Notice(text=outage, keys="q quits")
    lines = page.fitted(width, height, notice=notice, order=order)
    assert len(lines) == height
    for line in lines:
        assert line.cell_len <= width
        assert HARMFUL.search(line.plain) is None
        line.plain.encode(charset.encoding)
    for line in page.whole(width=None):
        assert HARMFUL.search(line.plain) is None
        line.plain.encode(charset.encoding)
    assert all(line.cell_len <= width for line in page.whole(width=width))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_matters_is_there_in_every_size(width: int, height: int) -> None:
    shown = fitted(busy(), width, height)
    text = "\n".join(shown)
    assert len(shown) == height
    assert shown[0] == "engagement 1.2.3 at localhost:50051, up 1 d 2 h, ready"
    assert shown[-1] == "q quits"
    for expected in (
        r"accepted +1.0/s +120/s",
        r"rejected +8.0/s +8.0/s",
        "FIELD_INVALID 742",
        "Partitions|partition",
    ):
        assert re.search(expected, text), expected
    assert re.search(r"\n +1,000 +crm-0 .*\bmonth +int32.gte_lte +99", text)
    assert "4,000" in text
    assert "memory 220 MiB of 1.0 GiB" in text


def test_rules_that_do_not_fit_are_counted() -> None:
    lines = fitted(busy(rules=30), 80, 24)
    shown = sum(re.search(r"^ +[\d,]+ crm-", line) is not None for line in lines)
    (hidden,) = (line for line in lines if line.startswith("…"))
    assert hidden == f"… {30 - shown} more"


def test_a_whole_page_cuts_nothing() -> None:
    stats = busy(rules=50)
    stats.rejected_rules[0].description = "d" * 1024
    text = "\n".join(line.plain for line in Page(stats, server="h:1", charset=UNICODE).whole(width=None))
    assert text.count("customer_info.last_payment_date.month") == 50
    assert "d" * 1024 in text
    assert "…" not in text


def test_the_latest_rule_comes_first_when_asked() -> None:
    stats = busy(rules=3)

    def sources(order: Order) -> list[str]:
        return re.findall(r"crm-\d", "\n".join(fitted(stats, order=order)))

    assert sources(Order.EVENTS) == ["crm-0", "crm-1", "crm-2"]
    assert sources(Order.TIME) == ["crm-2", "crm-1", "crm-0"]


def test_problems_and_outages_stand_at_the_top() -> None:
    stats = busy()
    stats.checks.add(name="clock", problem="runs ahead")
    assert fitted(stats)[0].endswith(", ready")
    stats.checks.add(name="disk", problem="is full", required=True)
    first, second, third, *_ = fitted(stats)
    assert (first.endswith(", not ready"), second, third) == (True, "clock: runs ahead", "disk: is full")
    first, second, *_ = fitted(stats, outage="connection lost")
    assert (first.endswith("up 1 d 2 h"), second) == (True, "connection lost")


def test_a_new_server_has_a_page_too() -> None:
    stats = v1.GetServerStatsResponse(version="1.2.3")
    text = "\n".join(fitted(stats))
    assert "no samples yet" in text
    assert "Rejected events of this hour and the last: 0" in text


def test_a_path_keeps_its_end_and_other_texts_their_beginning() -> None:
    assert UNICODE.fit("customer_info.balance", 8, keeps_end=True) == "…balance"
    assert UNICODE.fit("producer-of-events", 8) == "produce…"
    assert UNICODE.fit("東京東京", 6) == "東京…"
    assert charset_of("ascii").fit("producer", 4) == "pro~"
    assert UNICODE.fit("producer", 0) == ""


def test_a_sparkline_tells_nothing_from_few_and_from_no_value() -> None:
    assert sparkline([None, 0, 1, 60, 100], width=MAX_SAMPLES, bars=BARS)[-5:] == " _123"
    assert sparkline([], width=10, bars=BARS) == " " * 10
    assert sparkline([0.0] * MAX_SAMPLES, width=3, bars=BARS) == "___"
    assert sparkline([*[0.0] * (MAX_SAMPLES - 1), 9.0], width=3, bars=BARS) == "__3"
    assert sparkline([1.0], width=0, bars=BARS) == ""


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (quantities.count_text(1234), "1,234"),
        (quantities.count_text(2**63), "9.2 E"),
        (quantities.rate_text(0.25), "0.2/s"),
        (quantities.rate_text(0), "0/s"),
        (quantities.rate_text(1234.4), "1,234/s"),
        (quantities.bytes_text(1023), "1,023 B"),
        (quantities.bytes_text(3 << 20), "3.0 MiB"),
        (quantities.latency_text(0.00042), "0.42 ms"),
        (quantities.latency_text(0.0123), "12 ms"),
        (quantities.latency_text(2.5), "2.5 s"),
        (quantities.latency_text(600), "10 min"),
        (quantities.length_text(-5), "0 s"),
        (quantities.length_text(3661), "1 h 1 min"),
        (quantities.length_text(86_400 * 1000), "1,000 d"),
    ],
)
def test_quantities_are_short(shown: str, expected: str) -> None:
    assert shown == expected
