"""The attack matrix: every call, by every way to another account, with every kind of credential, over TLS.

What another account has is answered exactly like what does not exist, and a denied call looks nothing up.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engagement_server.access.watch import AccessWatch
from engagement_server.config import Config
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.node import Server
from engagement_server.store.readers import INTERNAL, Readers
from tests.support.attack_callers import OWN, AttackCallers, Channels
from tests.support.attack_calls import outcome
from tests.support.attack_matrix import problems_of_denied_calls, problems_of_own_calls
from tests.support.attack_ways import BASES, all_ways, ways_of
from tests.support.contract import methods
from tests.support.known_callers import shown
from tests.support.planted_account import Operator, Planted

ADMITTED = ("secret", "jwt", "certificate", "secret beside a certificate", "publishable")
REFUSED = (
    *("scopeless secret", "scopeless jwt", "scopeless certificate"),
    *("nothing", "expired secret", "expired jwt", "revoked secret", "revoked secret beside a certificate"),
    *("unknown secret", "forged jwt", "jwt without a grant", "certificate without a grant"),
)
IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Attacked:
    """A server with an account to reach for."""

    callers: AttackCallers
    mutual_address: str
    channels: Channels
    operator: Operator
    planted: Planted
    looked_up: list[object] = field(default_factory=list)
    """What the server has read for callers, and what it was to commit for them."""


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(
    tmp_path_factory: pytest.TempPathFactory, new_store: Path, patched: pytest.MonkeyPatch
) -> AsyncIterator[Attacked]:
    folder = tmp_path_factory.mktemp("attacked")
    callers = AttackCallers(folder)
    shutil.copytree(new_store, folder / "data")
    chain, key, authorities = callers.tls.paths
    config = Config(
        listen="127.0.0.1:0",
        data=folder / "data",
        tls_cert=chain,
        tls_key=key,
        mtls_listen="127.0.0.1:0",
        mtls_ca=authorities,
    )
    server = await Server.start(config, access=AccessWatch(callers.known.config))
    assert server.mtls_address is not None
    try:
        async with callers.connected(server.address, server.mtls_address) as channels:
            operator = Operator(channels.usual, callers.operator)
            planted = await operator.plant(ADMITTED)
            ready = Attacked(callers, server.mtls_address, channels, operator, planted)
            run, submit = Readers.run, Committer.submit

            async def counted_run(self: Readers, read: Any, *, caller: Caller = INTERNAL) -> Any:
                if caller is not INTERNAL:  # as background jobs are
                    ready.looked_up.append(read)
                return await run(self, read, caller=caller)

            async def counted_submit(self: Committer, operation: Any, **options: Any) -> Any:
                if options.get("caller") is not None:
                    ready.looked_up.append(operation)
                return await submit(self, operation, **options)

            patched.setattr(Readers, "run", counted_run)
            patched.setattr(Committer, "submit", counted_submit)
            yield ready
    finally:
        await server.stop()


def test_every_call_has_its_attacks() -> None:
    assert BASES.keys() == {method.name for method in methods()}
    for method in methods():
        for way in ways_of(method):
            (first, *_) = way.requests(OWN, value="x", fresh="y")
            assert first.DESCRIPTOR is method.input_type, way.name
    reached = {way.kind for way in all_ways()}
    assert reached >= {"event", "cursor", "page token", "upload", "erasure", "consumer", "text"}


def test_every_kind_of_credential_attacks(tmp_path: Path) -> None:
    assert {*AttackCallers(tmp_path).attackers} == {*ADMITTED, *REFUSED}


@IN_ONE_LOOP
async def test_the_base_of_each_attack_is_let_in_and_valid(attacked: Attacked) -> None:
    for method in methods():
        found = await outcome(
            attacked.channels.usual,
            method,
            ways_of(method)[0].requests(OWN, value="none", fresh="fresh"),
            shown(attacked.callers.operator, OWN),
        )
        assert found.code in {"OK", "NOT_FOUND"} or found.reason in {
            "CURSOR_MALFORMED",
            "PAGE_TOKEN_MISMATCH",
        }, (method.name, found)


@IN_ONE_LOOP
@pytest.mark.parametrize("name", ADMITTED)
async def test_what_another_account_has_is_answered_like_what_does_not_exist(
    attacked: Attacked, name: str
) -> None:
    attacker, before = attacked.callers.attackers[name], await attacked.operator.holdings()
    attacked.looked_up.clear()
    problems = await problems_of_own_calls(attacked.channels, name, attacker, attacked.planted, all_ways())
    assert not problems, "\n".join(problems)
    assert attacked.looked_up != []  # otherwise the other tests would show nothing
    assert await attacked.operator.holdings() == before


@IN_ONE_LOOP
@pytest.mark.parametrize("name", [*ADMITTED, *REFUSED])
async def test_a_denied_call_is_answered_alike_for_all_accounts_and_looks_nothing_up(
    attacked: Attacked, name: str
) -> None:
    attacker, before = attacked.callers.attackers[name], await attacked.operator.holdings()
    attacked.looked_up.clear()
    problems, calls = await problems_of_denied_calls(
        attacked.channels, name, attacker, attacked.planted, all_ways()
    )
    assert attacked.looked_up == []
    assert not problems, "\n".join(problems)
    assert calls > 2 * len(all_ways())
    assert await attacked.operator.holdings() == before


@IN_ONE_LOOP
async def test_a_certificate_that_has_expired_gets_no_connection(attacked: Attacked) -> None:
    tls = attacked.callers.tls
    expired = tls.issue("attacker.test", expires=datetime.now(UTC) - timedelta(hours=1))
    async with tls.connect(attacked.mutual_address, expired) as connection:
        (way, *_) = ways_of(methods()[0])
        request = way.requests(OWN, value="none", fresh="fresh")
        found = await outcome(connection.channel, way.method, request, ())
    assert (found.code, found.reason) == ("UNAVAILABLE", "")
