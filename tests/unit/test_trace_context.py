"""The context of a trace as other processes send it: valid ones are read, others count as not sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.telemetry.context import SpanContext, new_context, parse_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
_HEX = "0123456789abcdef"


def ids(size: int) -> st.SearchStrategy[str]:
    return st.text(_HEX, min_size=size, max_size=size).filter(lambda text: set(text) != {"0"})


@given(ids(32), ids(16), st.integers(0, 255))
def test_a_valid_context_is_read_whatever_its_other_flags_are(trace: str, span: str, flags: int) -> None:
    context = parse_context(f"00-{trace}-{span}-{flags:02x}")
    assert context == SpanContext(trace, span, is_sampled=bool(flags % 2), is_remote=True)


@given(st.text() | st.text(f"{_HEX}-G \n", max_size=60))
def test_any_other_text_is_ignored_or_is_a_context(text: str) -> None:
    context = parse_context(text)
    assert context is None or text.startswith(f"{text[:2]}-{context.trace_id}-{context.span_id}-")


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        f" {PARENT}",
        f"{PARENT}\n",
        f"{PARENT}-",
        f"{PARENT}-more",
        PARENT[:-1],
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01x",
    ],
)
def test_an_invalid_context_is_ignored(text: str) -> None:
    assert parse_context(text) is None


@pytest.mark.parametrize("rest", ["", "-", "-what comes later"])
def test_of_a_later_version_the_known_fields_count(rest: str) -> None:
    context = parse_context(f"cc-{TRACE}-{SPAN}-01{rest}")
    assert context == SpanContext(TRACE, SPAN, is_remote=True)


def test_the_state_of_other_systems_is_passed_on_unless_it_is_too_long() -> None:
    for state in ("vendor=value", "a=1,b=2"):
        context = parse_context(PARENT, state)
        assert context is not None
        assert context.child().state == state
    for state in ("a=" + "x" * 511, "a=\n", "ä=1"):
        context = parse_context(PARENT, state)
        assert context is not None
        assert context.state == ""


def test_a_context_is_sent_as_it_is_read() -> None:
    first = new_context()
    assert parse_context(first.traceparent) == first._replace(is_remote=True)
    child = first.child()
    assert child.trace_id == first.trace_id
    assert child.span_id != first.span_id
