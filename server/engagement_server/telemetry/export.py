"""Sends spans to a collector by OpenTelemetry's protocol, which only this module knows.

A thread sends what waits, in batches. What there is no room for, or what the collector does not take, is
dropped and counted: calls never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import SpanContext as ExportedContext

from engagement_server.telemetry.spans import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement_server.telemetry.context import SpanContext
    from engagement_server.telemetry.spans import Span

MAX_WAITING_SPANS: Final = 2_048
MAX_BATCH_SPANS: Final = 512
GATHER_SECONDS: Final = 1.0
"""How long the first span of a batch waits for others."""
EXPORT_SECONDS: Final = 5.0
"""How long one batch may take to be sent, with retries."""
STOP_SECONDS: Final = 1.0
"""How long a stopping server waits until the spans that wait are sent; then it gives up within a moment."""
REPORT_SECONDS: Final = 60.0
"""Between two log lines about a collector that does not take spans."""
CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions that names and attributes follow."""
_GIVE_UP_SECONDS: Final = 0.5
_MAX_REASON_CHARACTERS: Final = 300
_KINDS: Final = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.PRODUCER: SpanKind.PRODUCER,
}
_SCOPE: Final = InstrumentationScope("engagement_server", schema_url=CONVENTIONS)
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)

_log = logging.getLogger(__name__)
_library_log = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")


class Exporter:
    """Sends the spans of one process. It is made on the event loop that ends them."""

    def __init__(self, endpoint: str, *, name: str, version: str, on_dropped: Callable[[int], None]) -> None:
        """`endpoint` is a URL, `name` that of the process; `on_dropped` gets numbers of spans."""
        self._on_dropped = on_dropped
        self._loop = asyncio.get_running_loop()
        own = {"service.name": "engagement", "service.version": version, "engagement.process": name}
        # What the operator has set in the variables of OpenTelemetry comes first.
        self._resource = Resource(own).merge(OTELResourceDetector().detect())
        self._exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS)
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._has_given_up = False
        self._silent_until = 0.0
        self._reason = ""
        _library_log.addFilter(self._note_reason)
        self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)
        self._thread.start()

    def offer(self, span: Span) -> None:
        """Takes a span that has ended, to be sent soon."""
        with self._changed:
            waiting = len(self._waiting)
            if waiting < MAX_WAITING_SPANS and not self._is_closing:
                self._waiting.append(span)
                if waiting in {0, MAX_BATCH_SPANS - 1}:
                    self._changed.notify()
                return
        self._on_dropped(1)

    def close(self) -> None:
        """Sends what waits, or gives up soon; blocks meanwhile."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(STOP_SECONDS)
        self._has_given_up = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends the pause before a retry
        self._thread.join(_GIVE_UP_SECONDS)
        _library_log.removeFilter(self._note_reason)

    def _note_reason(self, record: logging.LogRecord) -> bool:
        """Keeps the library's first reason for a failure, and its many messages out of the log."""
        self._reason = self._reason or record.getMessage()[:_MAX_REASON_CHARACTERS]
        return False

    # The rest runs in the thread.

    def _run(self) -> None:
        while batch := self._next_batch():
            if self._send(batch):
                continue
            if self._is_closing:
                self._report(len(batch) + len(self._waiting))
                return
            self._report(len(batch))

    def _send(self, batch: Sequence[Span]) -> bool:
        """Whether the collector has taken a batch."""
        self._reason = ""
        try:
            return self._exporter.export(list(map(self._exported, batch))) is SpanExportResult.SUCCESS
        except Exception as error:  # the next batch may be sent
            self._reason = str(error)[:_MAX_REASON_CHARACTERS]
            return False

    def _next_batch(self) -> Sequence[Span]:
        """The spans to send next, once there are some; none once there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            self._changed.wait_for(
                lambda: len(self._waiting) >= MAX_BATCH_SPANS or self._is_closing, timeout=GATHER_SECONDS
            )
            return [self._waiting.popleft() for _ in range(min(MAX_BATCH_SPANS, len(self._waiting)))]

    def _report(self, count: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._on_dropped, count)
        now = time.monotonic()
        if now >= self._silent_until and not self._has_given_up:
            self._silent_until = now + REPORT_SECONDS
            _log.warning(
                "the collector of --trace-endpoint takes no spans, they are dropped: %s", self._reason
            )

    def _exported(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            context=_exported_context(span.context),
            parent=None if span.parent is None else _exported_context(span.parent),
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_exported_context(each)) for each in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR if span.is_failed else StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.start_ns + (span.duration_ns or 0),
            instrumentation_scope=_SCOPE,
        )


def _exported_context(context: SpanContext) -> ExportedContext:
    return ExportedContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=context.is_remote,
        trace_flags=_FLAGS,
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
