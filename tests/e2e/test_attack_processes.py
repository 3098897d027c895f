"""The attack matrix against processes: with workers, and over the replicated log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.attack_callers import AttackCallers
from tests.support.attack_matrix import problems_of_denied_calls, problems_of_own_calls
from tests.support.attack_ways import all_ways
from tests.support.nats_cluster import NatsCluster
from tests.support.planted_account import Operator
from tests.support.server_process import ServerProcess

REACHING = ("secret", "certificate", "publishable")
DENIED = ("secret", "jwt", "certificate", "publishable", "scopeless jwt", "nothing", "revoked secret")


@pytest.fixture
def callers(tmp_path: Path) -> AttackCallers:
    return AttackCallers(tmp_path)


@pytest.fixture(params=["workers", "replicated"])
def server(request: pytest.FixtureRequest, tmp_path: Path, callers: AttackCallers) -> Iterator[ServerProcess]:
    options = callers.options
    with ExitStack() as stack:
        if "replicated" in request.param:
            nats = stack.enter_context(NatsCluster(tmp_path / "nats", size=1))
            options += ("--log", nats.url, "--log-replicas", "1")
        if "workers" in request.param:
            options += ("--workers", "2")
        yield stack.enter_context(ServerProcess(tmp_path / "data", options=options).start())


@pytest.mark.timeout(300)
async def test_nobody_reaches_what_is_not_theirs(server: ServerProcess, callers: AttackCallers) -> None:
    problems: list[str] = []
    async with callers.connected(server.address, server.mtls_address) as channels:
        operator = Operator(channels.usual, callers.operator)
        planted = await operator.plant(REACHING)
        before = await operator.holdings()
        for name in REACHING:
            attacker = callers.attackers[name]
            found = await problems_of_own_calls(channels, name, attacker, planted, all_ways())
            problems += [f"{name}: {each}" for each in found]
        for name in DENIED:
            attacker = callers.attackers[name]
            found, calls = await problems_of_denied_calls(channels, name, attacker, planted, all_ways())
            problems += [f"{name}: {each}" for each in found]
            assert calls
        assert await operator.holdings() == before
    assert not problems, "\n".join(problems)
