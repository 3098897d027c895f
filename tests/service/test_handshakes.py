"""Connections that do not get as far as a call are ended, and are bounded in number."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.api.grpc import connections
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from engagement_server.http import encrypting
from engagement_server.http.checks import Readiness
from engagement_server.http.config import HttpConfig
from engagement_server.http.port import ManagementPort
from engagement_server.http.stats import StatsDocument
from engagement_server.metrics import catalogue
from engagement_server.metrics.exposition import Exposition
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from engagement_server.transport.certificate_files import CertificateFiles
from tests.support.raw_http2 import HEADERS, Frame, RawHttp2, header_fields
from tests.support.scoped_callers import ScopeTokens
from tests.support.tls_files import TlsFiles
from tests.support.waiting import deadline, eventually

_MAX_CONNECTIONS = 10
_SILENT = 200


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """The certificate of the server."""
    return TlsFiles(tmp_path / "secret")


@pytest.fixture
async def server(tmp_path: Path, files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that encrypts and takes few connections; its clients have a second to begin."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 1.0)
    chain, key, _ = files.paths
    config = Config(
        listen="127.0.0.1:0",
        data=tmp_path / "data",
        tls_cert=chain,
        tls_key=key,
        max_connections=_MAX_CONNECTIONS,
    )
    running = await Server.start(config)
    yield running
    await running.stop()


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection."""
    try:
        return connection.recv(1024) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def connect_silently(address: str, count: int, stack: ExitStack) -> list[socket.socket]:
    """Connections that say nothing."""
    host, _, port = address.rpartition(":")
    opened = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection((host, int(port))))
        connection.setblocking(False)  # as the library calls it
        opened.append(connection)
    return opened


async def test_a_client_that_connects_and_says_nothing_is_disconnected(server: Server) -> None:
    with ExitStack() as stack:
        (silent,) = connect_silently(server.address, 1, stack)
        await eventually(lambda: is_closed(silent), "the connection is ended")


async def test_half_open_connections_are_bounded_and_give_way(server: Server, files: TlsFiles) -> None:
    with ExitStack() as stack:
        silent = connect_silently(server.address, _SILENT, stack)
        await eventually(lambda: sum(map(is_closed, silent)) >= _SILENT - _MAX_CONNECTIONS, "most are ended")
        await eventually(lambda: all(map(is_closed, silent)), "the others are ended, too")
        async with deadline("a client is served"), files.connect(server.address) as connection:
            info = await v1.ServerServiceStub(connection.channel).GetServerInfo(
                v1.GetServerInfoRequest(), wait_for_ready=True
            )
        assert info.encrypted


async def test_a_stranger_who_goes_away_before_the_answer_is_no_failure_of_the_server(
    tmp_path: Path, new_store: Path
) -> None:
    measures, calls = Measures(), 50
    shutil.copytree(new_store, tmp_path / "data")
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    running = await Server.start(config, observers=Observers(measures), credentials=ScopeTokens())
    headers = header_fields("/engagement.v1.EventService/ListEvents")
    for _ in range(calls):
        with RawHttp2(running.address) as rude:
            rude.send(Frame(HEADERS, 0, 1, headers))  # more of them would have to come
    call = "unary", "engagement.v1.EventService", "ListEvents"

    def ended(*codes: str) -> float:
        return sum(measures.count(catalogue.HANDLED, *call, code).value for code in codes)

    def have_ended() -> bool:
        # The library may drop some before they are calls.
        started = measures.count(catalogue.STARTED, *call).value
        return calls / 2 < started == ended("CANCELLED", "UNAUTHENTICATED", "INTERNAL")

    try:
        await eventually(have_ended, "the calls have ended")
        assert ended("INTERNAL") == 0
    finally:
        await running.stop()


async def test_half_open_connections_of_the_management_port_are_bounded(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypting, "HANDSHAKE_SECONDS", 1.0)
    monkeypatch.setattr(encrypting, "MAX_HANDSHAKES", _MAX_CONNECTIONS)
    certificate = CertificateFiles.open(files.paths)
    port = await ManagementPort.open(
        HttpConfig(http="0.0.0.0:0"),
        Readiness(),
        Exposition(Measures()),
        StatsDocument(),
        listen="127.0.0.1:1",
        context=lambda: certificate.context,
    )
    assert port is not None
    assert port.is_encrypted
    with ExitStack() as stack:
        address = port.address.replace("0.0.0.0", "127.0.0.1")
        silent = await asyncio.to_thread(connect_silently, address, _SILENT, stack)
        await eventually(lambda: sum(map(is_closed, silent)) >= _SILENT - _MAX_CONNECTIONS, "most are ended")
        await eventually(lambda: all(map(is_closed, silent)), "the others are ended, too")
        waiting = connect_silently(address, 1, stack)
        await port.close()
        await eventually(lambda: all(map(is_closed, waiting)), "a port that closes ends them")
