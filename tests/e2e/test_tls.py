"""Calls come over TLS, with certificates that are replaced while the server runs."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from engagement import v1
from tests.support.connection import Connection, connect
from tests.support.events import customer_event
from tests.support.management import Answer, ask, ask_over_tls, samples, value
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles, served_serial
from tests.support.waiting import eventually, wait_until
from tests.support.worker_processes import NEEDS_PROC, Workers

Start = Callable[..., ServerProcess]
_REPLACEMENTS = 5
_WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """The certificate of the server."""
    return TlsFiles(tmp_path / "secret")


@pytest.fixture
def start(tmp_path: Path, files: TlsFiles) -> Iterator[Start]:
    """Starts a server with all kinds of listeners, and with further options."""
    with ExitStack() as ending:

        def started(*options: str) -> ServerProcess:
            own = (*files.mutual_options, "--http", "0.0.0.0:0", "--insecure-no-auth")
            server = ServerProcess(tmp_path / "data", options=(*own, *options))
            ending.enter_context(server)
            return server.start()

        yield started


async def info(connection: Connection) -> v1.GetServerInfoResponse:
    """What the server says of itself."""
    return await v1.ServerServiceStub(connection.channel).GetServerInfo(v1.GetServerInfoRequest())


async def expect_unavailable(connection: Connection) -> str:
    """What the library says of a connection that could not be made."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await info(connection)
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    return str(failure.value.details())


@_WORKERS
async def test_both_listeners_take_calls_over_tls(start: Start, files: TlsFiles, workers: str) -> None:
    server = start("--workers", workers)
    client = files.issue("client@brand.test")
    async with (
        files.connect(server.address) as usual,
        files.connect(server.mtls_address, client) as mutual,
    ):
        await usual.record(customer_event("one"))
        await mutual.record(customer_event("two"))
        assert await usual.stored_ids() == await mutual.stored_ids() == ["one", "two"]
        for connection in (usual, mutual):
            assert (await info(connection)).encrypted
            assert not (await info(connection)).identity_required
    async with connect(server.address) as plain:
        await expect_unavailable(plain)
    async with TlsFiles(server.data_dir / "others").connect(server.address) as stranger:
        assert "CERTIFICATE_VERIFY_FAILED" in await expect_unavailable(stranger)
    assert server.stop() == 0
    assert "ssl_transport_security" not in server.messages


@_WORKERS
async def test_the_second_listener_takes_only_clients_with_certificates_of_its_authority(
    start: Start, files: TlsFiles, workers: str, tmp_path: Path
) -> None:
    server = start("--workers", workers)
    client = files.issue("client@brand.test")
    others = TlsFiles(tmp_path / "others")
    async with files.connect(server.mtls_address) as nobody:
        await expect_unavailable(nobody)
    async with files.connect(server.mtls_address, others.issue("client@brand.test")) as stranger:
        await expect_unavailable(stranger)

    files.put(files.issue(), clients=others.authority.cert_pem.bytes())
    await eventually(lambda: served_serial(server.address) == files.identity.serial, "the files are taken")
    async with files.connect(server.mtls_address, client) as former:
        await expect_unavailable(former)
    async with files.connect(server.mtls_address, others.issue("client@brand.test")) as now_known:
        assert (await info(now_known)).encrypted


@_WORKERS
async def test_no_call_fails_while_the_certificate_is_replaced(
    start: Start, files: TlsFiles, workers: str
) -> None:
    server = start("--workers", workers)
    is_over = False
    calls = 0

    async def call_on_new_connections() -> None:
        nonlocal calls
        while not is_over:
            async with files.connect(server.address) as connection:
                assert (await info(connection)).encrypted
            calls += 1

    async def call_on_one_connection() -> None:
        async with files.connect(server.address) as connection:
            while not is_over:
                assert (await info(connection)).encrypted

    async with asyncio.TaskGroup() as load:
        for _ in range(3):
            load.create_task(call_on_new_connections())
        load.create_task(call_on_one_connection())
        for _ in range(_REPLACEMENTS):
            files.put(files.issue())
            server.send(signal.SIGHUP)  # or it would look two seconds later
            await eventually(lambda: served_by_all(server, files, int(workers)), "the new one is served")
            enough = calls + 3
            await eventually(lambda enough=enough: calls >= enough, "calls go on")  # type: ignore[misc]
        is_over = True
    assert server.messages.count("new connections get another certificate") == _REPLACEMENTS


def served_by_all(server: ServerProcess, files: TlsFiles, workers: int) -> bool:
    """Whether new connections, which any worker may take, get the present certificate."""
    return all(served_serial(server.address) == files.identity.serial for _ in range(4 * workers))


async def test_a_certificate_without_its_key_is_not_served(start: Start, files: TlsFiles) -> None:
    server = start()
    good, bad = files.identity, files.issue()
    files.put(bad._replace(key=good.key))
    wait_until(lambda: "does not belong to the certificate" in server.messages, "the server says so")
    assert served_serial(server.address) == good.serial
    async with files.connect(server.address) as connection:
        assert (await info(connection)).encrypted
    answer = ask_encrypted(server, files, "/readyz?verbose")
    assert answer.status == 200
    assert "[!] certificate: the key in --tls-key" in answer.text
    assert "the last good certificate is served" in answer.text

    files.put(bad)
    await eventually(lambda: served_serial(server.address) == bad.serial, "the pair is served")
    assert "[+] certificate\n" in ask_encrypted(server, files, "/readyz?verbose").text
    assert server.messages.count("does not belong to the certificate") == 1


def ask_encrypted(server: ServerProcess, files: TlsFiles, path: str) -> Answer:
    """Asks the management port as a client that trusts the authority."""
    context = ssl.create_default_context(cadata=files.authority.cert_pem.bytes().decode())
    return ask_over_tls(server.http_address.replace("0.0.0.0", "127.0.0.1"), path, context)


async def test_the_management_port_has_the_same_certificate(start: Start, files: TlsFiles) -> None:
    server = start()
    assert ask_encrypted(server, files, "/livez").text == "ok\n"
    found = samples(ask_encrypted(server, files, "/metrics").text)
    assert value(found, "engagement_insecure", switch="no-auth") == 1
    assert value(found, "engagement_insecure", switch="no-tls") == 0
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    files.put(files.issue(expires=soon))

    def is_taken() -> bool:
        found = samples(ask_encrypted(server, files, "/metrics").text)
        return value(found, "engagement_tls_certificate_expiry_seconds") == soon.timestamp()

    await eventually(is_taken, "the metrics have the new expiry")
    assert served_serial(server.http_address.replace("0.0.0.0", "127.0.0.1")) == files.identity.serial
    with pytest.raises(ConnectionError):
        ask(server.http_address.replace("0.0.0.0", "127.0.0.1"), "/livez")


async def test_a_certificate_that_has_expired_is_served_with_a_warning(start: Start, files: TlsFiles) -> None:
    files.put(files.issue(expires=datetime.now(UTC) - timedelta(hours=1)))
    server = start()
    (warning,) = [line for line in server.messages.splitlines() if "has expired" in line]
    assert " WARNING " in warning
    assert served_serial(server.address) == files.identity.serial


@NEEDS_PROC
async def test_sighup_loads_the_certificate_and_ends_no_worker(start: Start, files: TlsFiles) -> None:
    server = start("--workers", "2")
    workers = Workers(server).pids
    for pid in (*workers, server.pid):
        os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "has not changed" in server.messages, "the server has looked at its files")
    async with files.connect(server.address) as connection:
        assert (await info(connection)).encrypted
    assert Workers(server).pids == workers
    assert "exited" not in server.messages
    # A worker that is started later has what the others have.
    files.put(files.issue())
    await eventually(lambda: served_by_all(server, files, 2), "all serve the new one")
    os.kill(workers[0], signal.SIGKILL)
    await eventually(lambda: workers[0] not in Workers(server).pids, "the worker is gone")
    await eventually(lambda: Workers(server).all_listen(2), "another worker listens")
    assert served_by_all(server, files, 2)
