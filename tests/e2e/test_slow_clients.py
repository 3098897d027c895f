"""Thousands of connections that begin and never go on: the server serves others meanwhile, and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engagement import v1
from tests.support.attack_callers import OWN, AttackCallers
from tests.support.known_callers import shown
from tests.support.server_process import ServerProcess
from tests.support.slow_clients import KINDS, connect_many, is_closed
from tests.support.waiting import deadline, eventually

_CONNECTIONS = {"silent": 1_000, "half a hello": 1_000, "a hello only": 300}
_OTHERS = 100
_GIVEN_UP = ("silent", "half a hello", "a hello only", "no preface")
"""Kinds whose connections the server ends by itself, ten seconds after they came."""


@pytest.fixture
def callers(tmp_path: Path) -> AttackCallers:
    return AttackCallers(tmp_path)


@pytest.fixture(params=["1", "2"], ids=["one-process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path, callers: AttackCallers) -> Iterator[ServerProcess]:
    options = (*callers.options, "--workers", request.param)
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


@pytest.mark.timeout(240)
async def test_connections_that_never_go_on_hold_up_no_other(
    server: ServerProcess, callers: AttackCallers
) -> None:
    async def call_on_a_new_connection() -> None:
        async with deadline("a call is served"), callers.tls.connect(server.address) as connection:
            request = v1.ListEventsRequest(account_id=OWN)
            await connection.events.ListEvents(request, metadata=shown(callers.operator, OWN))

    given_up = []
    with ExitStack() as stack:
        for kind in KINDS:
            count = _CONNECTIONS.get(kind, _OTHERS)
            opened = await asyncio.to_thread(connect_many, server.address, kind, count, stack)
            given_up += opened if kind in _GIVEN_UP else []
            await call_on_a_new_connection()
        await eventually(lambda: all(map(is_closed, given_up)), "those without a handshake are ended")
        await call_on_a_new_connection()
    assert server.stop() == 0
    assert " ERROR " not in server.messages
