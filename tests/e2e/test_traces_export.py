"""Traces of a server arrive at a collector, and lead from a call to its commit in whichever process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from nats import connect as connect_to_nats

from engagement import v1
from engagement_server.telemetry.export import CONVENTIONS
from tests.support.collector import Collector, Received, collector
from tests.support.connection import ACCOUNT, Connection, connect, upload_messages
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.free_ports import free_ports
from tests.support.management import ask, example_traces, samples, value
from tests.support.missing_library import messages_without
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline, eventually
from tests.support.worker_processes import NEEDS_PROC, Workers

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = (("traceparent", f"00-{TRACE}-{CALLER}-01"), ("tracestate", "vendor=7"))
NOT_TRACED = (("traceparent", f"00-{'a' * 32}-{CALLER}-00"),)
INGEST = "engagement.v1.IngestService"
SECRET = "a value of a person"
_HTTP = {"ENGAGEMENT_HTTP": "127.0.0.1:0"}


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as running:
        yield running


def serving(folder: Path, collected: Collector, *options: str) -> ServerProcess:
    """A server that traces only what callers ask for, unless its options say more."""
    traces = ("--trace-endpoint", collected.url, "--trace-sampling", "0")
    return ServerProcess(folder / "data", environment=_HTTP, options=(*traces, *options))


def record(event: v1.Event) -> v1.RecordEventRequest:
    return v1.RecordEventRequest(account_id=ACCOUNT, event=event)


def named(spans: Sequence[Received], name: str, *, process: str = "") -> list[Received]:
    return [span for span in spans if span.name == name and process in span.process]


def only(spans: Sequence[Received], name: str, *, process: str = "") -> Received:
    (span,) = named(spans, name, process=process)
    return span


def until(collected: Collector, *names: str) -> list[Received]:
    """All spans once these have arrived."""
    return collected.wait(
        lambda spans: set(names) <= {span.name for span in spans}, f"spans {', '.join(names)} arrive"
    )


async def upload(connection: Connection, chunks: Sequence[Sequence[v1.Event]]) -> None:
    """A traced upload."""
    call = connection.ingest.UploadEvents(iter(upload_messages("upload", chunks)), metadata=TRACED)
    async with deadline("the upload ends"):
        assert [message async for message in call][-1].HasField("finished")


async def test_a_trace_leads_from_a_call_to_its_commit(tmp_path: Path, collected: Collector) -> None:
    with serving(tmp_path, collected).start() as server:
        async with connect(server.address) as connection:
            for metadata in (None, NOT_TRACED, (("traceparent", "nonsense"),), TRACED):
                await connection.ingest.RecordEvent(record(customer_event(SECRET)), metadata=metadata)
            spans = until(collected, f"{INGEST}/RecordEvent")
    call = only(spans, f"{INGEST}/RecordEvent")
    assert (call.trace_id, call.parent_id, call.state, call.is_server) == (TRACE, CALLER, "vendor=7", True)
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{INGEST}/RecordEvent",
        "rpc.response.status_code": "OK",
        "engagement.account_id": ACCOUNT,
    }
    waiting, commit = only(spans, "wait for commit"), only(spans, "commit")
    assert only(spans, "validate").parent_id == waiting.parent_id == call.span_id
    assert commit.links == {waiting.place}
    assert waiting.links == {commit.place}
    assert commit.attributes["engagement.commit.events"] == 1
    assert {span.trace_id for span in spans} == {TRACE}
    assert call.seconds >= waiting.seconds >= commit.seconds > 0
    assert collected.schemas == {CONVENTIONS}
    assert SECRET not in str(spans)


async def test_a_refused_call_has_its_reason_and_a_read_its_time(
    tmp_path: Path, collected: Collector
) -> None:
    with serving(tmp_path, collected).start() as server:
        async with connect(server.address) as connection:
            with pytest.raises(grpc.aio.AioRpcError):
                await connection.ingest.RecordEvent(record(bad_event(SECRET)), metadata=TRACED)
            await connection.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT), metadata=TRACED)
            listing = "engagement.v1.EventService/ListEvents"
            spans = until(collected, f"{INGEST}/RecordEvent", listing)
    refused = only(spans, f"{INGEST}/RecordEvent")
    assert refused.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert refused.attributes["engagement.error.reason"] == "FIELD_INVALID"
    assert not refused.is_failed, "it is the fault of the caller"
    assert only(spans, "read").parent_id == only(spans, listing).span_id
    assert SECRET not in str(spans)


async def test_a_chunk_names_its_commit_and_the_commit_its_chunks(
    tmp_path: Path, collected: Collector
) -> None:
    with serving(tmp_path, collected).start() as server:
        async with connect(server.address) as connection:
            await upload(connection, [customer_events(3), customer_events(2, start=3)])
            spans = until(collected, f"{INGEST}/UploadEvents")
    stream = only(spans, f"{INGEST}/UploadEvents")
    chunks = named(spans, "chunk")
    assert {chunk.parent_id for chunk in chunks} == {stream.span_id}
    commits = {commit.place: commit for commit in named(spans, "commit")}
    for chunk in chunks:
        (place,) = chunk.links
        assert chunk.place in commits[place].links
    described = {chunk.attributes["engagement.chunk.sequence"]: chunk.attributes for chunk in chunks}
    assert [described[number]["engagement.chunk.events"] for number in (1, 2)] == [3, 2]


async def test_chunks_are_traced_whether_their_stream_is_or_not(tmp_path: Path, collected: Collector) -> None:
    with serving(tmp_path, collected, "--trace-sampling", "1").start() as server:
        async with connect(server.address) as connection:
            call = connection.ingest.UploadEvents(
                iter(upload_messages("upload", [customer_events(1)])), metadata=NOT_TRACED
            )
            assert [message async for message in call][-1].HasField("finished")
            spans = until(collected, "chunk", "commit")
    chunk = only(spans, "chunk")
    assert chunk.parent_id == ""
    assert only(spans, "commit").trace_id == chunk.trace_id
    assert not named(spans, f"{INGEST}/UploadEvents")


@NEEDS_PROC
async def test_with_workers_a_trace_leads_to_the_commit_of_their_parent(
    tmp_path: Path, collected: Collector
) -> None:
    with serving(tmp_path, collected, "--workers", "2").start() as server:
        async with AsyncExitStack() as stack:
            for connection in (await Workers(server).connect_to_each(stack)).values():
                await connection.ingest.RecordEvent(record(customer_event("1")), metadata=TRACED)
            await upload(connection, [customer_events(2)])
            spans = collected.wait(
                lambda spans: (
                    len(named(spans, f"{INGEST}/RecordEvent")) == 2
                    and bool(named(spans, f"{INGEST}/UploadEvents"))
                    and len(named(spans, "commit", process="worker"))
                    == len(named(spans, "commit of a worker", process="server"))
                ),
                "both processes have sent their spans",
            )
    assert {span.process for span in spans} == {"server", "worker 1", "worker 2"}
    assert {span.trace_id for span in spans} == {TRACE}
    handed = {span.span_id: span for span in named(spans, "commit", process="worker")}
    made = {span.place: span for span in named(spans, "commit", process="server")}
    received = named(spans, "commit of a worker")
    assert {span.parent_id for span in received} == handed.keys()
    for span in received:
        (place,) = span.links
        assert span.place in made[place].links
    (chunk,) = named(spans, "chunk", process="worker")
    assert {place[1] for place in chunk.links} <= handed.keys()


async def test_a_trace_leads_through_a_replicated_log(tmp_path: Path, collected: Collector) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        options = ("--log", nats.url, "--log-replicas", "1")
        with serving(tmp_path, collected, *options).start() as server:
            server.wait_until_serving()
            async with connect(server.address) as connection:
                await connection.ingest.RecordEvent(record(customer_event("1")), metadata=TRACED)
                spans = until(collected, f"{INGEST}/RecordEvent")
        commit, publish = only(spans, "commit"), only(spans, "publish")
        client = await connect_to_nats(nats.url)
        message = await client.jetstream().get_msg(
            "engagement-0of1", int(publish.attributes["engagement.log.sequence"])
        )
        await client.close()
    assert message.headers is not None
    assert message.headers["traceparent"] == f"00-{TRACE}-{publish.span_id}-01"
    assert publish.parent_id == only(spans, "apply").parent_id == commit.span_id
    assert commit.seconds >= publish.seconds > 0


async def test_latencies_point_to_traces(tmp_path: Path, collected: Collector) -> None:
    def examples() -> set[tuple[str, str]]:
        text = ask(server.http_address, "/metrics", accept="application/openmetrics-text").text
        return {(name, trace) for (name, _), trace in example_traces(text).items()}

    for workers in ("1", "2"):
        with serving(tmp_path, collected, "--workers", workers).start() as server:
            async with connect(server.address) as connection:
                await connection.ingest.RecordEvent(record(customer_event("1")))
                assert examples() == set()
                await connection.ingest.RecordEvent(record(customer_event("1")), metadata=TRACED)
                await eventually(lambda: len(examples()) == 2, "the latencies of call and commit point to it")
            assert examples() == {
                ("grpc_server_handling_seconds", TRACE),
                ("engagement_commit_seconds", TRACE),
            }
            assert "trace_id" not in ask(server.http_address, "/metrics").text


async def test_a_collector_that_is_away_delays_nothing_and_is_reported_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    away = Collector(f"127.0.0.1:{port}")

    def dropped() -> float:
        return value(samples(ask(server.http_address, "/metrics").text), "engagement_spans_dropped_total")

    with serving(tmp_path, away, "--trace-sampling", "1").start() as server:
        assert dropped() == 0
        async with connect(server.address) as connection:
            for batch in range(2):
                before = dropped()
                await connection.record(customer_event(f"{batch}"))
                await eventually(lambda before=before: dropped() > before, "its spans are dropped")  # type: ignore[misc]
        assert server.stop() == 0
        warnings = [line for line in server.messages.splitlines() if "takes no spans" in line]
        assert len(warnings) == 1, server.messages
        assert "refused" in warnings[0]
        assert "opentelemetry" not in server.messages
        assert "Traceback" not in server.messages


async def test_what_waits_is_sent_as_the_server_stops(tmp_path: Path, collected: Collector) -> None:
    with serving(tmp_path, collected, "--workers", "2", "--trace-sampling", "1").start() as server:
        async with connect(server.address) as connection:
            await connection.record(customer_event("1"))
        assert server.stop() == 0
    until(collected, f"{INGEST}/RecordEvent", "commit of a worker")


def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path) -> None:
    options = ("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    message = messages_without(
        "opentelemetry", *options, "--trace-endpoint", "http://127.0.0.1:4318/v1/traces"
    )
    assert "pip install 'engagement-attributes[server,tracing]'" in message
    assert not (tmp_path / "data").exists()
