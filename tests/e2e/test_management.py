"""`engagement serve` with its management port: addresses, probes, and the metrics of all processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.workers.counts import SEND_SECONDS
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.free_ports import free_ports
from tests.support.management import Sample, ask, samples, value
from tests.support.missing_library import messages_without
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_upload import chunk, opening
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, eventually, wait_until
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

# Ports of their own, since servers take free ports, and warnings are errors.
_ON = {"ENGAGEMENT_HTTP": "", "PYTHONWARNINGS": "error"}


@contextmanager
def serving(folder: Path, *, workers: int = 1) -> Iterator[ServerProcess]:
    """A server with its management port."""
    environment = {**_ON, "ENGAGEMENT_WORKERS": str(workers)}
    with ServerProcess(folder / f"data-{workers}", environment=environment).start() as process:
        yield process


def metrics(server: ServerProcess) -> dict[Sample, float]:
    return samples(ask(server.http_address, "/metrics").text)


async def make_calls(connections: Sequence[Connection]) -> None:
    """Calls of each kind, spread over connections."""
    one, other = connections[0], connections[-1]
    for number, event in enumerate(customer_events(5)):
        await connections[number % len(connections)].record(event)
    await other.record(customer_event("0"))
    await expect_refused(one.record(bad_event()))
    await expect_refused(other.record_batch([customer_event("kept out"), bad_event("bad in a batch")]))
    partial = v1.RecordEventsRequest(
        account_id=ACCOUNT, events=[customer_event("kept"), bad_event("bad")], allow_partial=True
    )
    await one.ingest.RecordEvents(partial)
    await other.upload([customer_events(3, start=10), [bad_event("bad in an upload"), customer_event("0")]])
    await expect_refused(one.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id="none")))
    await other.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT))
    stream = one.events.SubscribeEvents(v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True))
    await stream.read()
    stream.cancel()


def has_ended(found: dict[Sample, float]) -> bool:
    """Whether all calls that have begun have ended, and are counted."""
    return value(found, "grpc_server_handled_total") == value(found, "grpc_server_started_total") == 13


@NEEDS_PROC
async def test_one_and_two_workers_give_the_same_series_with_the_same_sums(tmp_path: Path) -> None:
    found: list[dict[Sample, float]] = []
    for count in (1, 2):
        async with AsyncExitStack() as stack:
            server = stack.enter_context(serving(tmp_path, workers=count))
            if count == 1:
                connections = [await stack.enter_async_context(connect(server.address))]
            else:
                connections = list((await Workers(server).connect_to_each(stack)).values())
            before = metrics(server)
            await make_calls(connections)
            await eventually(lambda server=server: has_ended(metrics(server)), "all calls are counted")  # type: ignore[misc]
            found.append(metrics(server))
            assert before.keys() <= found[-1].keys()
            new = {name for name, _ in found[-1].keys() - before.keys()}
            assert new == {"engagement_rejections_total"}, "all others are there from the start"
    one, two = found
    assert one.keys() == two.keys()
    counters = {
        key
        for key in one
        if key[0].startswith(("grpc_server_", "engagement_")) and key[0].endswith(("_total", "_count"))
    }
    assert len(counters) > 300
    # How many commits there are is up to chance, and so is how many acks and events share a message.
    counters -= {
        key
        for key in counters
        if key[0].startswith("engagement_commit_")
        or (key[0].endswith("sent_total") and "_stream" in str(key))
    }
    assert {key: one[key] for key in counters} == {key: two[key] for key in counters}
    assert value(one, "engagement_commit_events_sum") == value(two, "engagement_commit_events_sum")


async def test_calls_and_events_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with connect(server.address) as connection:
            await make_calls([connection])
            await eventually(lambda: has_ended(metrics(server)), "all calls are counted")
        found = metrics(server)

    def handled(method: str) -> dict[str, float]:
        return {
            dict(labels)["grpc_code"]: number
            for (name, labels), number in found.items()
            if name == "grpc_server_handled_total" and ("grpc_method", method) in labels and number
        }

    assert handled("RecordEvent") == {"OK": 6, "INVALID_ARGUMENT": 1}
    assert handled("RecordEvents") == {"OK": 1, "INVALID_ARGUMENT": 1}
    assert handled("GetEvent") == {"NOT_FOUND": 1}
    assert handled("SubscribeEvents") == {"CANCELLED": 1}
    assert handled("UploadEvents") == {"OK": 1}
    upload = {"grpc_type": "bidi_stream", "grpc_service": "engagement.v1.IngestService"}
    assert value(found, "grpc_server_started_total", **upload) == 1
    assert value(found, "grpc_server_msg_received_total", **upload) == 4  # opening, two chunks, the end
    assert value(found, "grpc_server_msg_sent_total", **upload) >= 3
    assert value(found, "grpc_server_msg_sent_total", grpc_method="SubscribeEvents") >= 1
    assert value(found, "grpc_server_msg_received_total", grpc_method="RecordEvent") == 7
    assert value(found, "grpc_server_msg_sent_total", grpc_method="RecordEvent") == 6
    assert value(found, "grpc_server_handling_seconds_count", grpc_method="RecordEvent") == 7
    assert value(found, "grpc_server_handling_seconds_sum", grpc_method="RecordEvent") > 0
    streams = {key for key in found if key[0].startswith("grpc_server_handling") and "stream" in str(key)}
    assert not streams
    outcomes = {
        dict(labels)["outcome"]: number
        for (name, labels), number in found.items()
        if name == "engagement_events_total"
    }
    assert outcomes == {"accepted": 10, "duplicate": 1, "rejected": 4, "suppressed": 0}
    assert value(found, "engagement_rejections_total", reason="FIELD_INVALID") == 4
    assert value(found, "engagement_refused_total", reason="FIELD_INVALID") == 2
    assert value(found, "engagement_refused_total", reason="EVENT_NOT_FOUND") == 1
    assert value(found, "engagement_commit_seconds_count") >= 9
    assert value(found, "engagement_store_bytes", file="database") > 4096
    assert value(found, "engagement_disk_free_bytes") > 0
    used = value(found, "engagement_memory_bytes", kind="used")
    assert 10_000_000 < used < value(found, "engagement_memory_bytes", kind="limit")
    assert value(found, "engagement_erasures_pending") == 0
    assert value(found, "engagement_build_info") == 1
    assert value(found, "process_cpu_seconds_total") > 0


async def test_a_chunk_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with connect(server.address) as connection:
            for _ in range(3):
                upload = connection.ingest.UploadEvents()
                await upload.write(opening())
                await upload.write(chunk(1, *customer_events(4), bad_event()))
                async for message in upload:
                    if message.HasField("ack"):
                        break
                upload.cancel()
        found = metrics(server)
    assert value(found, "engagement_events_total", outcome="accepted") == 4
    assert value(found, "engagement_events_total", outcome="rejected") == 1


@NEEDS_PROC
async def test_counts_of_a_worker_that_is_killed_stay(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, workers=2))
        (victim, here), (_, there) = (await Workers(server).connect_to_each(stack)).items()
        for number in range(4):
            await here.record(customer_event(f"here-{number}"))
            await there.record(customer_event(f"there-{number}"))

        def are_counted() -> bool:
            return value(metrics(server), "grpc_server_handled_total", grpc_method="RecordEvent") == 8

        await eventually(are_counted, f"both have sent their counts, {SEND_SECONDS} s after the calls")
        os.kill(victim, signal.SIGKILL)
        await until_gone(victim)
        await there.record(customer_event("last"))
        await eventually(
            lambda: value(metrics(server), "grpc_server_handled_total", grpc_method="RecordEvent") == 9,
            "the counts of the killed worker are kept, and those of the other go on",
        )
        assert value(metrics(server), "engagement_events_total", outcome="accepted") == 9


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=NEEDS_PROC)])
async def test_a_stopping_server_is_not_ready_but_answers_until_its_end(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers) as server:
        address = server.http_address
        assert ask(address, "/readyz").text == "ok\n"
        assert ask(address, "/livez").text == "ok\n"
        async with connect(server.address) as connection:
            upload = connection.ingest.UploadEvents()
            for message in (opening(), chunk(1, *customer_events(1))):
                await upload.write(message)
            async for answer in upload:
                if answer.HasField("ack"):
                    break
            server.send(signal.SIGTERM)  # the stream gets its grace
            await eventually(lambda: ask(address, "/readyz").status == 503, "the server is not ready")
            assert ask(address, "/readyz").text == "[-] server: is stopping\n"
            assert ask(address, "/livez").status == 200
            assert value(samples(ask(address, "/metrics").text), "engagement_events_total") == 1
            upload.cancel()
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            ask(address, "/livez")


async def test_a_node_is_alive_while_it_waits_for_its_log(tmp_path: Path) -> None:
    (address,) = (f"127.0.0.1:{port}" for port in free_ports(1))
    options = ("--log", "nats://127.0.0.1:1", "--http", address)
    with ServerProcess(tmp_path / "data", options=options) as server:
        server.launch()

        def is_alive() -> bool:
            assert not server.has_ended, server.last_messages
            try:
                return ask(address, "/livez").status == 200
            except ConnectionRefusedError:
                return False

        await eventually(is_alive, "the node answers")
        answer = ask(address, "/readyz?verbose")
        assert (answer.status, answer.text) == (503, "[-] server: is starting\n")
        assert "process_cpu_seconds_total" in ask(address, "/metrics").text
        assert server.stop() == 0


async def test_a_node_that_loses_its_log_is_not_ready_and_says_why(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        options = (
            "--log",
            nats.url,
            "--log-replicas",
            "1",
            "--partitions",
            "2",
            "--max-view-age-seconds",
            "1",
        )
        with ServerProcess(tmp_path / "data", environment=_ON, options=options).start() as server:
            address = server.http_address
            await eventually(lambda: ask(address, "/readyz").status == 200, "the node is ready")
            assert "[+] log of partition 0\n[+] log of partition 1\n" in ask(address, "/readyz?verbose").text
            found = metrics(server)
            for partition in (0, 1):
                log = f"engagement-{partition}of2"
                assert ("engagement_log_view_age_seconds", (("log", log),)) in found
                assert value(found, "engagement_log_publish_seconds_count", log=log) >= 1
            nats.kill()
            await eventually(lambda: ask(address, "/readyz").status == 503, "the node is not ready")
            report = "".join(f"[-] log of partition {number}: behind, or cut off\n" for number in (0, 1))
            await eventually(lambda: ask(address, "/readyz").text == report, "both partitions say why")
            assert ask(address, "/livez").status == 200
            nats.start()
            await eventually(lambda: ask(address, "/readyz").status == 200, "the node is ready again")


def _serve(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engagement.cli", "serve", "--data", folder, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


def test_a_port_that_was_named_and_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = _serve(tmp_path / "data", "--listen", "127.0.0.1:0", "--http", address)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"engagement: {address}, for HTTP, is in use; stop the program that listens there, or choose another"
        " address with --http HOST:PORT, or --http off\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_server_serves_without_its_default_port(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = {"ENGAGEMENT_HTTP": ""}
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 9464))
        except OSError:
            pass  # another program has it, which is as good
        else:
            holder.listen()
        with ServerProcess(tmp_path / "data", f"127.0.0.1:{port}", environment=environment).start() as server:
            server.wait_until_serving()
            assert server.output.decode().splitlines() == [f"listening on 127.0.0.1:{port}"]
            (warning,) = [line for line in server.messages.splitlines() if "WARNING" in line]
            assert "no health and no metrics over HTTP: 127.0.0.1:9464, for HTTP, is in use" in warning


def test_both_addresses_are_printed_for_programs(tmp_path: Path) -> None:
    for http in ("127.0.0.1:0", "off"):
        with ServerProcess(tmp_path / "data", options=("--json", "--http", http)) as server:
            server.launch()
            wait_until(lambda server=server: b"\n" in server.output, "the server prints where it listens")  # type: ignore[misc]
            addresses = json.loads(server.output)
            assert addresses.keys() == {"listen", "http"}
            assert addresses["listen"].startswith("127.0.0.1:")
            if http == "off":
                assert addresses["http"] is None
            else:
                assert ask(addresses["http"], "/readyz").status == 200


def test_a_server_without_the_libraries_for_http_says_what_to_install(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    for missing in ("uvicorn", "starlette"):
        options = ("--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
        messages = messages_without(missing, "serve", *options)
        assert "pip install 'engagement-attributes[server]', or give --http off" in messages
