"""Spans: what is within what, and that nothing is made for what is not traced."""

from __future__ import annotations

import asyncio

import pytest

from engagement_server.telemetry.context import new_context
from engagement_server.telemetry.correlation import correlation
from engagement_server.telemetry.sampling import Sampler
from engagement_server.telemetry.spans import (
    MAX_CHILDREN,
    MAX_LINKS,
    Span,
    Tracer,
    child,
    current_span,
    note,
    note_account,
    within,
)


@pytest.fixture
def ended() -> list[Span]:
    """Spans that have ended."""
    return []


@pytest.fixture
def tracer(ended: list[Span]) -> Tracer:
    """It traces every call."""
    return Tracer(Sampler(1.0), ended.append)


async def test_parts_of_a_traced_call_are_children_in_its_trace(tracer: Tracer, ended: list[Span]) -> None:
    caller = new_context()._replace(is_remote=True)
    call = tracer.begin_call("call", caller)
    assert call is not None
    assert (correlation.get().trace_id, correlation.get().span_id) == (caller.trace_id, call.context.span_id)
    with child("outer") as outer, child("inner") as inner:
        note("number", 1)
        note_account("acme")
    assert outer is not None
    assert inner is not None
    call.end()
    call.end()
    assert [span.name for span in ended] == ["inner", "outer", "call"]
    assert [span.parent for span in ended] == [outer.context, call.context, caller]
    assert {span.context.trace_id for span in ended} == {caller.trace_id}
    assert inner.attributes == {"number": 1, "engagement.account_id": "acme"}
    assert outer.attributes == {}


async def test_nothing_is_made_for_what_is_not_traced(ended: list[Span]) -> None:
    assert Tracer(Sampler(0.0), ended.append).begin_call("call", None) is None
    with child("part") as part, within(None) as nothing:
        note("number", 1)
        note_account("acme")
    assert (part, nothing, current_span.get(), ended) == (None, None, None, [])
    assert correlation.get().trace_id == ""


async def test_an_error_is_known_by_its_kind_and_never_by_its_text(tracer: Tracer, ended: list[Span]) -> None:
    call = tracer.begin_call("call", None)
    assert call is not None
    with pytest.raises(ValueError, match="a value"), child("failing"):
        raise ValueError("a value")
    with pytest.raises(asyncio.CancelledError), child("cancelled"):
        raise asyncio.CancelledError
    failing, cancelled = ended
    assert (failing.is_failed, failing.attributes) == (True, {"error.type": "ValueError"})
    assert (cancelled.is_failed, cancelled.attributes) == (False, {})


async def test_a_span_that_does_not_end_with_its_block_ends_with_a_future(
    tracer: Tracer, ended: list[Span]
) -> None:
    for error in (None, LookupError("a value")):
        span = tracer.begin_chunk("chunk")
        assert span is not None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with within(span, ends=False):
            pass
        assert not span.is_ended
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        span.end_with(future)
    assert [span.attributes for span in ended] == [{}, {"error.type": "LookupError"}]


async def test_what_has_ended_changes_no_more_and_has_no_children(tracer: Tracer) -> None:
    one, other = tracer.begin_chunk("one"), tracer.begin_chunk("other")
    assert one is not None
    assert other is not None
    one.end()
    one.link(other)
    one.fail("late")
    assert one.child("late") is None
    with within(one):
        note("late", 1)
        with child("late") as late:
            pass
    assert (one.links, one.attributes, one.is_failed, late) == ([], {}, False, None)
    assert other.links == [one.context], "the other may name it"


async def test_children_and_links_of_a_span_are_bounded(tracer: Tracer, ended: list[Span]) -> None:
    stream = tracer.begin_call("stream", None)
    assert stream is not None
    for _ in range(MAX_CHILDREN + 5):
        with child("part") as part:
            if part is not None:
                stream.link(part)
    assert len(ended) == MAX_CHILDREN
    for _ in range(MAX_LINKS + 5):
        stream.link(ended[0])
    assert len(stream.links) == MAX_LINKS


async def test_a_long_account_id_is_cut(tracer: Tracer) -> None:
    call = tracer.begin_call("call", None)
    assert call is not None
    note_account("x" * 10_000)
    assert call.attributes == {"engagement.account_id": "x" * 64}
