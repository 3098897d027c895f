"""Spans: what took how long, within which trace. They are made only for what is sampled.

The running task knows its span; what it does within a call asks for a child, and gets none outside of traces.
Attributes never hold values or ids of people, nor texts of errors.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from engagement_server.telemetry.context import new_context
from engagement_server.telemetry.correlation import correlation

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from engagement_server.telemetry.context import SpanContext
    from engagement_server.telemetry.sampling import Sampler

MAX_LINKS: Final = 128
"""Links of a span; further ones are left out."""
MAX_CHILDREN: Final = 128
"""Children of a span; what comes later is not traced, since a stream may last for an hour."""
_MAX_ACCOUNT_CHARACTERS: Final = 64

Attribute: TypeAlias = str | int | bool


class Kind(IntEnum):
    """What a span is about."""

    INTERNAL = 0
    SERVER = 1
    """A call of a client."""
    PRODUCER = 2
    """A message for others."""


class Span:
    """Something that takes time, until it `end`s."""

    __slots__ = (
        "_began_ns",
        "_children",
        "_finish",
        "attributes",
        "context",
        "duration_ns",
        "is_failed",
        "kind",
        "links",
        "name",
        "parent",
        "start_ns",
    )

    def __init__(
        self,
        name: str,
        finish: Callable[[Span], None],
        *,
        parent: SpanContext | None = None,
        kind: Kind = Kind.INTERNAL,
    ) -> None:
        """`finish` gets the span as it ends."""
        self.name = name
        self.kind = kind
        self.parent = parent
        self.context = new_context() if parent is None else parent.child()
        self.attributes: dict[str, Attribute] = {}
        self.links: list[SpanContext] = []
        self.is_failed = False
        self.start_ns = time.time_ns()
        self.duration_ns: int | None = None
        """None until it ends."""
        self._began_ns = time.monotonic_ns()
        self._children = 0
        self._finish = finish

    @property
    def is_ended(self) -> bool:
        """Whether it has ended, and changes no more."""
        return self.duration_ns is not None

    def child(self, name: str, *, kind: Kind = Kind.INTERNAL) -> Span | None:
        """A span within this one; None if this one has ended or has too many."""
        if self.is_ended or self._children >= MAX_CHILDREN:
            return None
        self._children += 1
        return Span(name, self._finish, parent=self.context, kind=kind)

    def link(self, other: Span) -> None:
        """Lets both of them name each other."""
        for one, another in ((self, other), (other, self)):
            if not one.is_ended and len(one.links) < MAX_LINKS:
                one.links.append(another.context)

    def fail(self, kind: str) -> None:
        """Marks it as failed; `kind` of the failure must be one of few."""
        if not self.is_ended:
            self.is_failed = True
            self.attributes["error.type"] = kind

    def end(self) -> None:
        """Ends it; only the first call does anything."""
        if not self.is_ended:
            self.duration_ns = time.monotonic_ns() - self._began_ns
            self._finish(self)

    def end_with(self, future: asyncio.Future[Any]) -> None:  # Any: only whether it has failed
        """Ends it as a future did that is done."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self.fail(type(error).__name__)
        self.end()


current_span: ContextVar[Span | None] = ContextVar("current_span", default=None)
"""What the running task does, if that is traced."""
_NOTHING: Final = nullcontext(None)


class _Active(AbstractContextManager["Span | None"]):
    """Makes a span the current one; afterwards it has failed if an error was raised."""

    __slots__ = ("_ends", "_span", "_token")

    def __init__(self, span: Span, *, ends: bool) -> None:
        self._span = span
        self._ends = ends

    def __enter__(self) -> Span:
        self._token: Token[Span | None] = current_span.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current_span.reset(self._token)
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            self._span.fail(kind.__name__)
        if self._ends or kind is not None:
            self._span.end()


def within(span: Span | None, *, ends: bool = True) -> AbstractContextManager[Span | None]:
    """Makes a span the current one for a while. Unless it `ends` then, only an error ends it."""
    return _NOTHING if span is None else _Active(span, ends=ends)


def child(name: str, *, kind: Kind = Kind.INTERNAL) -> AbstractContextManager[Span | None]:
    """A span for a part of what the running task does; nothing if that is not traced."""
    span = current_span.get()
    return _NOTHING if span is None else within(span.child(name, kind=kind))


def note(attribute: str, value: Attribute) -> None:
    """Sets an attribute of the current span, if there is one."""
    span = current_span.get()
    if span is not None and not span.is_ended:
        span.attributes[attribute] = value


def note_account(account_id: str) -> None:
    """Sets the account of the current span, if there is one. Callers may send any text as its id."""
    if account_id and current_span.get() is not None:
        note("engagement.account_id", account_id[:_MAX_ACCOUNT_CHARACTERS])


class Tracer:
    """Begins the spans of one process."""

    def __init__(self, sampler: Sampler, finish: Callable[[Span], None]) -> None:
        """`finish` gets each span as it ends."""
        self._sampler = sampler
        self._finish = finish

    def begin_call(self, name: str, caller: SpanContext | None) -> Span | None:
        """The span of a call, which becomes the current one of the task; None if it is not traced."""
        if not self._sampler.wants_call(caller):
            return None
        span = Span(name, self._finish, parent=caller, kind=Kind.SERVER)
        current_span.set(span)
        ids = span.context
        correlation.set(correlation.get()._replace(trace_id=ids.trace_id, span_id=ids.span_id))
        return span

    def begin_chunk(self, name: str) -> Span | None:
        """A span for a chunk: within the span of the stream if there is one, else the first of a trace."""
        stream = current_span.get()
        if not self._sampler.wants_chunk(is_stream_traced=stream is not None):
            return None
        return Span(name, self._finish, parent=None if stream is None else stream.context)

    def follow(self, name: str, parent: SpanContext) -> Span:
        """A span for what another process of this server has decided to trace."""
        return Span(name, self._finish, parent=parent)


current_tracer: ContextVar[Tracer | None] = ContextVar("current_tracer", default=None)
"""Within streams, what decides on the parts of the stream."""
