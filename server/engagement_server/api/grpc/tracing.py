"""The span of a call, by OpenTelemetry's conventions for RPC; `telemetry/export.py` has their version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement_server.telemetry.context import TRACEPARENT, TRACESTATE, parse_context
from engagement_server.telemetry.spans import current_tracer

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

    from engagement_server.api.grpc.call import Context
    from engagement_server.telemetry.context import SpanContext
    from engagement_server.telemetry.spans import Span, Tracer

_FAULTS: Final = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Statuses that are errors of a server, as the conventions say; others are the caller's."""


class MethodTracing:
    """Begins and ends the spans of the calls of one method."""

    def __init__(self, method: MethodDescriptor, tracer: Tracer) -> None:
        self._tracer = tracer
        self._name = f"{method.containing_service.full_name}/{method.name}"
        self._is_stream = method.client_streaming or method.server_streaming

    def begin(self, context: Context) -> Span | None:
        """The span of a call, if it is traced. The task must be that of the call alone."""
        if self._is_stream:
            current_tracer.set(self._tracer)
        span = self._tracer.begin_call(self._name, _caller_of(context))
        if span is not None:
            span.attributes |= {"rpc.system.name": "grpc", "rpc.method": self._name}
        return span


def end_span(span: Span, code: str) -> None:
    """Ends the span of a call that has ended with the status of this name."""
    span.attributes["rpc.response.status_code"] = code
    if code in _FAULTS:
        span.fail(code)
    span.end()


def _caller_of(context: Context) -> SpanContext | None:
    """The span that a call comes from, if its caller says so; of several, the library hands over one."""
    parent, states = "", []
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT:
            parent = str(value)
        elif key == TRACESTATE:
            states.append(str(value))
    return parse_context(parent, ",".join(states)) if parent else None
