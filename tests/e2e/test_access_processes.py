"""A server that asks its callers who they are, as processes: its options, its signals and its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement_server.access.last_uses import LastUses, uses_path
from tests.support.cli_process import Cli
from tests.support.connection import Connection
from tests.support.known_callers import KnownCallers, principal, shown, signed, signing_key
from tests.support.management import ask
from tests.support.refused_call import RefusedCall
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually, wait_until
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

_WORKERS = 2


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    callers = KnownCallers(tmp_path / "access")
    callers.grant(principal("crm"))
    return callers


@pytest.fixture
def server(tmp_path: Path, callers: KnownCallers) -> Iterator[ServerProcess]:
    environment = {
        "ENGAGEMENT_WORKERS": str(_WORKERS),
        "ENGAGEMENT_HTTP": "127.0.0.1:0",
        "PYTHONWARNINGS": "error",
    }
    with ServerProcess(
        tmp_path / "data", environment=environment, options=callers.options
    ).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def answer(connection: Connection, *metadata: tuple[str, str]) -> str:
    """How a look at the events of `acme` ends."""
    stub = v1.EventServiceStub(connection.channel)
    try:
        await stub.ListEvents(v1.ListEventsRequest(account_id="acme"), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return RefusedCall.of(error).reason
    return "OK"


@NEEDS_PROC
async def test_all_workers_go_by_the_newest_version(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack
) -> None:
    connections = (await Workers(server).connect_to_each(stack)).values()
    assert len(connections) == _WORKERS

    async def until(expected: str, *metadata: tuple[str, str]) -> None:
        async def is_so() -> bool:
            return {await answer(each, *metadata) for each in connections} == {expected}

        await eventually(is_so, f"all workers answer {expected}")

    token = callers.token("crm")
    await until("TOKEN_MISSING")
    await until("OK", *shown(token, "acme"))
    await until("ACCOUNT_FORBIDDEN", *shown(token, "other"))
    await until("ACCOUNT_FORBIDDEN", *shown(token))
    await until("ACCOUNT_MISMATCH", *shown(token, "acme", "acme"))
    await until("TOKEN_INVALID", *shown(token[:-1], "acme"))
    key = signing_key()
    jwt = signed(key)
    await until("TOKEN_INVALID", *shown(jwt, "acme"))
    callers.publish(key)
    callers.grant(principal("crm", jwts=[{"issuer": "https://id.example", "subject": "crm"}]))
    await until("OK", *shown(jwt, "acme"))
    callers.grant(principal("crm", scopes=["ingest"]))
    await until("SCOPE_MISSING", *shown(token, "acme"))
    callers.tokens.revoke("crm", is_old_only=False)
    await until("TOKEN_INVALID", *shown(token, "acme"))


@NEEDS_PROC
async def test_a_worker_that_starts_later_has_the_newest_version(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack
) -> None:
    token = callers.token("crm")
    connections = await Workers(server).connect_to_each(stack)

    async def is_known() -> bool:
        return {await answer(each, *shown(token, "acme")) for each in connections.values()} == {"OK"}

    await eventually(is_known, "all workers know the token")
    victim = next(iter(connections))
    os.kill(victim, signal.SIGKILL)
    await until_gone(victim)
    await eventually(lambda: Workers(server).all_listen(_WORKERS), "another worker listens")
    later = await Workers(server).connect_to_each(stack)
    assert victim not in later
    assert {await answer(each, *shown(token, "acme")) for each in later.values()} == {"OK"}


@NEEDS_PROC
async def test_probes_and_the_metric_tell_of_a_broken_file_and_sighup_ends_nothing(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack
) -> None:
    operator, pids = callers.token("ops"), Workers(server).pids
    callers.grant(principal("crm"), principal("ops", accounts=[], scopes=["operate"]))
    os.kill(server.pid, signal.SIGHUP)
    shown_to = {"authorization": f"Bearer {operator}"}
    await eventually(
        lambda: ask(server.http_address, "/metrics", **shown_to).status == 200, "the operator is known"
    )
    callers.replace(callers.grants_path, "[[")
    for pid in (server.pid, *pids):
        os.kill(pid, signal.SIGHUP)
    metric = 'engagement_access_reload_failed{file="grants"}'
    await eventually(
        lambda: f"{metric} 1.0" in ask(server.http_address, "/metrics", **shown_to).text,
        "the metric says so",
    )
    probe = ask(server.http_address, "/readyz")
    assert probe.status == 503
    assert "[-] files of access: --grants" in probe.text
    callers.grant(principal("crm"))
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: ask(server.http_address, "/readyz").status == 200, "the server is ready again")
    assert Workers(server).pids == pids


def test_uses_by_workers_are_kept_and_listed(
    server: ServerProcess, callers: KnownCallers, tmp_path: Path
) -> None:
    token = callers.token("crm")
    cli = Cli(tmp_path, settings={"ENGAGEMENT_TOKENS": str(callers.tokens_path)})
    assert "not used yet" in cli.run("token", "list").stdout

    def is_known() -> bool:
        with grpc.insecure_channel(server.address) as channel:
            stub = v1.ServerServiceStub(channel)
            try:
                stub.GetIdentity(v1.GetIdentityRequest(), metadata=shown(token))
            except grpc.RpcError:
                return False
            return True

    wait_until(is_known, "the token is known")
    server.stop()
    assert LastUses.read(uses_path(callers.tokens_path)).of("").by_secret
    assert "last used" in cli.run("token", "list").stdout


def test_tokens_need_no_library(tmp_path: Path) -> None:
    callers = KnownCallers(tmp_path)
    token = callers.token("crm")
    callers.grant(principal("crm"))
    program = f"""
import sys
from pathlib import Path
from engagement_server import app
from engagement_server.access.config import AccessConfig
from engagement_server.access.watch import AccessWatch
grants, tokens = map(Path, {(str(callers.grants_path), str(callers.tokens_path))!r})
directory = AccessWatch(AccessConfig(grants=grants, tokens=tokens)).directory
assert directory.identify_token({token!r}).principal.name == "crm"
print(sorted({{"joserfc", "cryptography"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
