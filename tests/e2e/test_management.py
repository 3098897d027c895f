"""`engagement serve` with its management port: addresses, probes, and the metrics of all processes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.connection import connect
from tests.support.events import bad_event, customer_events
from tests.support.free_ports import free_ports
from tests.support.management import Sample, ask, samples, value
from tests.support.missing_library import messages_without
from tests.support.mixed_calls import has_ended, make_calls
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_upload import chunk, opening
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, eventually, wait_until
from tests.support.worker_processes import NEEDS_PROC

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
            assert addresses.keys() == {"listen", "http", "https", "mtls_listen"}
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
