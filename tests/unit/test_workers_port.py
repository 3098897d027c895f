"""A port for workers is reserved, and only if it is free."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from engagement_server.errors import ConfigurationError
from engagement_server.workers.port import ReservedPort


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process that has the port is about to exit."""
    monkeypatch.setattr("engagement_server.workers.port.PATIENCE_SECONDS", 0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def _address(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def _share(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    sharing = socket.socket()
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sharing.bind((host, int(port)))
    sharing.listen()
    return sharing


async def test_workers_share_a_free_port_and_no_connection_goes_to_the_reservation() -> None:
    reserved = await ReservedPort.take("127.0.0.1:0")
    host, _, port = reserved.address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    with _share(reserved.address) as first, _share(reserved.address) as second:
        for _ in range(20):
            with socket.create_connection((host, int(port))):
                pass
        assert _accepted(first) + _accepted(second) == 20
    reserved.close()


def _accepted(listening: socket.socket) -> int:
    """The number of waiting connections."""
    listening.setblocking(False)
    accepted = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            accepted += 1
    return accepted


async def test_a_port_that_another_process_listens_on_is_refused(listener: socket.socket) -> None:
    with pytest.raises(ConfigurationError, match="is in use; stop the program"):
        await ReservedPort.take(_address(listener))


async def test_a_port_that_others_share_is_refused() -> None:
    with socket.socket() as scout:
        scout.bind(("127.0.0.1", 0))
        address = _address(scout)
    with _share(address), pytest.raises(ConfigurationError):
        await ReservedPort.take(address)


async def test_a_reserved_port_is_refused_and_free_again_afterwards() -> None:
    first = await ReservedPort.take("127.0.0.1:0")
    with pytest.raises(ConfigurationError):
        await ReservedPort.take(first.address)
    with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", int(first.address[10:]))):
        pass
    first.close()
    second = await ReservedPort.take(first.address)
    assert second.address == first.address
    second.close()


async def test_connections_of_the_past_do_not_count(listener: socket.socket) -> None:
    address = _address(listener)
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    accepted.close()  # the side that closes first waits for a minute
    client.close()
    listener.close()
    (await ReservedPort.take(address)).close()


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
async def test_all_addresses_of_a_host_have_one_port(host: str) -> None:
    reserved = await ReservedPort.take(f"{host}:0")
    assert reserved.address.startswith(f"{host}:")
    with pytest.raises(ConfigurationError):
        await ReservedPort.take(reserved.address.replace(host, "127.0.0.1"))
    reserved.close()


async def test_a_host_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot listen"):
        await ReservedPort.take("192.0.2.1:1234")
