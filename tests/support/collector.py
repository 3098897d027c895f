"""A collector of traces: takes spans by OTLP over HTTP, as servers send them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.waiting import DEADLINE_SECONDS

_PATH = "/v1/traces"


@dataclass(frozen=True)
class Received:
    """A span that a server has sent."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[tuple[str, str]]
    """Trace and span."""
    attributes: Mapping[str, str | int | bool]
    is_failed: bool
    is_server: bool
    seconds: float
    process: str
    state: str

    @property
    def place(self) -> tuple[str, str]:
        """What links to it hold."""
        return self.trace_id, self.span_id


class Collector:
    """What has arrived at a port."""

    def __init__(self, address: str) -> None:
        self.url = f"http://{address}{_PATH}"
        self.schemas: set[str] = set()
        self._spans: list[Received] = []
        self._arrived = threading.Condition()

    @property
    def spans(self) -> list[Received]:
        """All spans so far."""
        with self._arrived:
            return list(self._spans)

    def wait(self, condition: Callable[[list[Received]], bool], what: str) -> list[Received]:
        """Blocks until the spans meet a condition; returns all of them."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: condition(self._spans), timeout=DEADLINE_SECONDS):
                raise TimeoutError(f"{what}; got {[(span.name, span.process) for span in self._spans]}")
            return list(self._spans)

    def take(self, body: bytes) -> None:
        """Takes a request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            for resource in request.resource_spans:
                process = _attributes(resource.resource.attributes)["engagement.process"]
                for scope in resource.scope_spans:
                    self.schemas.add(scope.schema_url)
                    self._spans += [_received(span, str(process)) for span in scope.spans]
            self._arrived.notify_all()


def _received(span: Span, process: str) -> Received:
    return Received(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_attributes(span.attributes),
        is_failed=span.status.code == Status.STATUS_CODE_ERROR,
        is_server=span.kind == Span.SPAN_KIND_SERVER,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        process=process,
        state=span.trace_state,
    )


def _attributes(found: Iterable[KeyValue]) -> dict[str, str | int | bool]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in found}


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Collector(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
