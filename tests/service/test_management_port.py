"""The management port: who is answered, with what, and for how long."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engagement_server.errors import ConfigurationError
from engagement_server.http import port as module
from engagement_server.http.checks import Check, Readiness
from engagement_server.http.config import HttpConfig
from engagement_server.http.port import ManagementPort
from engagement_server.http.stats import StatsDocument
from engagement_server.metrics.catalogue import EVENTS
from engagement_server.metrics.exposition import Exposition
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from engagement_server.store.database import FILE_NAME
from tests.support.management import Answer, ask
from tests.support.waiting import deadline, eventually

_LISTEN = "127.0.0.1:50051"


class Managed:
    """A management port over some checks."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.readiness = Readiness()
        self.measures = Measures()
        self.stats = StatsDocument()
        self.address = ""

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        return await asyncio.to_thread(ask, self.address, path, method=method, **headers)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def managed() -> AsyncIterator[Managed]:
    """A management port on a free port."""
    managed = Managed()
    async with AsyncExitStack() as ending:
        port = await ManagementPort.open(
            HttpConfig(http="127.0.0.1:0"),
            managed.readiness,
            Exposition(managed.measures),
            managed.stats,
            listen=_LISTEN,
        )
        assert port is not None
        ending.push_async_callback(port.close)
        managed.address = port.address
        yield managed


async def test_readiness_follows_the_server_from_its_start_to_its_end(managed: Managed) -> None:
    answer = await managed.ask("/readyz")
    assert (answer.status, answer.text) == (503, "[-] server: is starting\n")
    managed.readiness.begin(lambda: managed.checks)
    managed.checks = [Check("log"), Check("jobs", "stalled: expiry", is_required=False)]
    answer = await managed.ask("/readyz")
    assert (answer.status, answer.text) == (200, "ok\n")
    answer = await managed.ask("/readyz?verbose")
    assert (answer.status, answer.text) == (200, "[+] server\n[+] log\n[!] jobs: stalled: expiry\nok\n")
    managed.checks = [Check("log", "behind"), Check("jobs", "stalled", is_required=False)]
    answer = await managed.ask("/readyz")
    assert (answer.status, answer.text) == (503, "[-] log: behind\n")
    answer = await managed.ask("/readyz?verbose=1")
    assert (answer.status, answer.text) == (503, "[+] server\n[-] log: behind\n[!] jobs: stalled\n")
    managed.readiness.note_stopping()
    answer = await managed.ask("/readyz")
    assert (answer.status, answer.text) == (503, "[-] server: is stopping\n")
    assert (await managed.ask("/livez")).status == 200


async def test_metrics_come_in_the_format_that_is_asked_for(managed: Managed) -> None:
    managed.measures.count(EVENTS, "accepted").value += 3
    answer = await managed.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'engagement_events_total{outcome="accepted"} 3.0\n' in answer.text
    assert "\nprocess_cpu_seconds_total " in answer.text
    answer = await managed.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_metrics_are_packed_for_clients_that_ask_for_it(managed: Managed) -> None:
    plain = await managed.ask("/metrics", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for refused in ("", "br", "gzip;q=0", "x-gzip"):
        answer = await managed.ask("/metrics", **{"accept-encoding": refused})
        assert "content-encoding" not in answer.headers, refused
    for accepted in ("gzip", "br, GZIP;q=0.5", "deflate,gzip"):
        reader, writer = await managed.connect()
        writer.write(
            f"GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: {accepted}\r\n\r\n".encode()
        )
        async with deadline("the answer"):
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert b"content-encoding: gzip" in head.lower()
        assert b"vary: accept, accept-encoding" in head.lower()
        assert len(content) < len(plain.text)
        assert gzip.decompress(content).splitlines()[0] == plain.text.encode().splitlines()[0]


async def test_only_what_is_there_can_be_read_and_nothing_changed(managed: Managed) -> None:
    for path in ("/page", "/page.html", "/metrics/", "/metrics/x", "/docs", "/livez/../metrics", "//metrics"):
        assert (await managed.ask(path)).status == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        answer = await managed.ask("/livez", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    answer = await managed.ask("/metrics", method="HEAD")
    assert (answer.status, answer.text) == (200, "")
    assert int(answer.headers["content-length"]) > 1000


async def test_a_host_that_is_not_ours_is_not_answered(managed: Managed) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/"):
        answer = await managed.ask(path, host="evil.example")
        assert answer.status == 421
        assert "engagement" not in answer.text
    assert (await managed.ask("/livez", host="localhost")).status == 200


async def test_no_answer_may_be_kept_framed_or_taken_for_something_else(managed: Managed) -> None:
    for path, host in (("/livez", "localhost"), ("/metrics", "localhost"), ("/", "localhost"), ("/", "evil")):
        headers = (await managed.ask(path, host=host)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "server" not in headers


async def test_a_client_that_sends_no_request_is_cut_off(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.1)
    for sent in (b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "):
        reader, writer = await managed.connect()
        writer.write(sent)
        async with deadline("the connection ended"):
            assert await is_cut_off(reader), sent
        writer.close()


async def test_a_client_that_never_ends_is_cut_off(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.3)
    reader, writer = await managed.connect()
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n")
    async with deadline("the connection ended"):
        await reader.read()
    writer.close()


async def test_a_head_of_any_size_is_not_read(managed: Managed) -> None:
    reader, writer = await managed.connect()
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + bytes([97]) * 20_000)
    async with deadline("the request is refused"):
        assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()


async def test_connections_are_bounded_and_free_again_once_others_end(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    others = [await managed.connect() for _ in range(3)]
    reader, writer = await managed.connect()
    async with deadline("the connection beyond the limit ended"):
        assert await is_cut_off(reader)
    writer.close()
    for _, other in others:
        other.close()

    async def is_answered() -> bool:
        try:
            return (await managed.ask("/livez")).status == 200
        except OSError:
            return False

    await eventually(is_answered, "there is room again")


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends without an answer."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_port_that_is_taken_is_fatal_only_if_it_was_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = Readiness(), Exposition(Measures()), StatsDocument()
        with pytest.raises(ConfigurationError, match=f"{address}, for HTTP, is in use.*--http HOST:PORT"):
            await ManagementPort.open(HttpConfig(http=address), *arguments, listen=_LISTEN)
        monkeypatch.setattr(module, "DEFAULT_ADDRESS", address)
        assert await ManagementPort.open(HttpConfig(), *arguments, listen=_LISTEN) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        f"no health and no metrics over HTTP: {address}, for HTTP, is in use"
    )
    for host in ("no-such-host.invalid", "203.0.113.1"):
        with pytest.raises(ConfigurationError, match=f"{host}.*; choose another address with --http"):
            await ManagementPort.open(HttpConfig(http=f"{host}:9464"), *arguments, listen=_LISTEN)


async def test_a_server_names_what_keeps_it_from_taking_calls(server: Server, tmp_path: Path) -> None:
    names = [check.name for check in server.checks()]
    assert names == [
        "log of partition 0",
        "files of the store",
        "room on the disk",
        "background jobs",
        "memory",
    ]
    assert not [check for check in server.checks() if check.problem]
    store = tmp_path / "data" / FILE_NAME
    store.rename(tmp_path / "moved")

    def problems() -> list[str]:
        return [str(check) for check in server.checks() if check.prevents_calls]

    await eventually(lambda: bool(problems()), "the missing file is noticed")
    (problem,) = problems()
    assert problem.startswith("[-] files of the store: ")
    assert f"{FILE_NAME} was removed" in problem
    (tmp_path / "moved").rename(store)
    await eventually(lambda: not problems(), "the file is back")
