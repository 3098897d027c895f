"""Counts calls by method, under the names that gRPC's own Prometheus libraries use."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

from engagement import v1
from engagement_server.api.grpc.call_lines import begin_facts
from engagement_server.api.grpc.status import CODES
from engagement_server.api.grpc.tracing import end_span
from engagement_server.errors import RequestError
from engagement_server.metrics import catalogue
from engagement_server.telemetry.correlation import correlation
from engagement_server.telemetry.spans import note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import MethodDescriptor

    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.call_lines import CallLines
    from engagement_server.api.grpc.tracing import MethodTracing
    from engagement_server.metrics.measures import Measures

_OK, _CANCELLED, _INTERNAL = "OK", "CANCELLED", "INTERNAL"
_REASON_PREFIX = "ERROR_REASON_"
GONE: Final = object()
"""What a call returns whose client has gone away."""


class MethodCounts:
    """The counts of one method."""

    def __init__(
        self,
        method: MethodDescriptor,
        measures: Measures,
        lines: CallLines,
        tracing: MethodTracing | None = None,
    ) -> None:
        """All of them begin at 0, for every status that the server gives.

        `lines` and `tracing` are told of each call.
        """
        self._lines = lines
        self._labels = (_type_of(method), method.containing_service.full_name, method.name)
        self._measures = measures
        self._tracing = tracing
        self._started = measures.count(catalogue.STARTED, *self._labels)
        self.received = measures.count(catalogue.RECEIVED, *self._labels)
        self.sent = measures.count(catalogue.SENT, *self._labels)
        self._seconds = None
        """A stream lasts as long as its client likes."""
        if not (method.client_streaming or method.server_streaming):
            self._seconds = measures.histogram(catalogue.HANDLING_SECONDS, *self._labels)
        codes = (_OK, _CANCELLED, _INTERNAL, *(code.name for code in CODES.values()))
        self._handled = {code: measures.count(catalogue.HANDLED, *self._labels, code) for code in codes}

    def note_error(self, error: Exception) -> None:
        """Counts the reason of an error that ends a call; one that has a status already is counted."""
        if isinstance(error, grpc.aio.AbortError):
            return
        reason = error.reason if isinstance(error, RequestError) else _INTERNAL
        self._measures.count(catalogue.REFUSED, reason).value += 1
        note("engagement.error.reason", reason)

    def counted(self, call: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Any]:
        """A call that is counted, from its headers to its status."""

        async def counting(messages: object, context: Context) -> Any:  # Any: calls of all types pass through
            self._started.value += 1
            began, facts = time.monotonic(), begin_facts()
            span = None if self._tracing is None else self._tracing.begin(context)
            code = _INTERNAL
            try:
                response = await call(messages, context)
                code = _CANCELLED if response is GONE else _OK
            except asyncio.CancelledError:  # the client has gone, or its time is up
                code = _CANCELLED
                raise
            except grpc.aio.AbortError:
                code = context.code().name
                raise
            except grpc.aio.InternalError:  # the library could not send the status: the client has gone
                code = _CANCELLED
                raise
            finally:
                seconds = time.monotonic() - began
                self._end(code, seconds=seconds)
                self._lines.note(code, context, facts, seconds=seconds)
                if span is not None:
                    end_span(span, code)
            return None if response is GONE else response

        return counting

    def _end(self, code: str, *, seconds: float) -> None:
        handled = self._handled.get(code)
        if handled is None:
            handled = self._handled[code] = self._measures.count(catalogue.HANDLED, *self._labels, code)
        handled.value += 1
        if self._seconds is not None:
            self.sent.value += code == _OK
            self._seconds.observe(seconds, trace_id=correlation.get().trace_id)


def count_reasons(measures: Measures) -> None:
    """Lets the counts of all reasons begin at 0."""
    for name in v1.ErrorReason.keys():  # noqa: SIM118  # it is no mapping
        if not name.endswith("_UNSPECIFIED"):
            measures.count(catalogue.REFUSED, name.removeprefix(_REASON_PREFIX))


def _type_of(method: MethodDescriptor) -> str:
    if method.client_streaming:
        return "bidi_stream" if method.server_streaming else "client_stream"
    return "server_stream" if method.server_streaming else "unary"
