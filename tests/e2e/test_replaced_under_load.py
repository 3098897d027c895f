"""The certificate, tokens, keys and grants of a server are replaced under load, and no call fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from engagement import EngagementClient, Uploader, v1
from engagement.channel import tls_credentials
from tests.support.events import customer_event
from tests.support.known_callers import ISSUER, KnownCallers, principal, signed, signing_key
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles, served_serial
from tests.support.waiting import eventually

ACCOUNT = "acme"
_ROUNDS = 3


class Load:
    """Clients that never rest; each asks for its token as often as it likes."""

    def __init__(self, server: ServerProcess, tls: TlsFiles, folder: Path) -> None:
        self._server = server
        self._ca = folder / "ca.pem"
        self._ca.write_bytes(tls.authority.cert_pem.bytes())
        self.token = ""
        self.jwt = ""
        self.done: Counter[str] = Counter()
        self.is_over = False

    def _client(self, token: Callable[[], str]) -> EngagementClient:
        credentials = tls_credentials(ca=self._ca)
        return EngagementClient(
            self._server.address, account_id=ACCOUNT, credentials=credentials, token=token, timeout_seconds=30
        )

    async def call(self, name: str, token: Callable[[], str]) -> None:
        """Records and reads on one connection."""
        async with self._client(token) as client:
            for number in count():
                if self.is_over:
                    return
                await client.record_event(customer_event(f"{name} {number}"))
                await client.get_event(event_id=f"{name} {number}")
                self.done[name] += 1

    async def connect(self, name: str, token: Callable[[], str]) -> None:
        """Calls once on each of many connections."""
        while not self.is_over:
            async with self._client(token) as client:
                await client.get_server_info()
            self.done[name] += 1

    async def upload(self, name: str, token: Callable[[], str]) -> None:
        """Uploads small files, one after another."""
        async with self._client(token) as client:
            for number in count():
                if self.is_over:
                    return
                events = [customer_event(f"{name} {number} {each}") for each in range(20)]
                uploader = Uploader(client, upload_id=f"{name} {number}", chunk_events=5)
                summary = await uploader.upload(events)
                assert summary.tally == v1.Tally(accepted=20)
                self.done[name] += 1

    async def follow(self, name: str, token: Callable[[], str]) -> None:
        """Follows all that the others record, without a gap."""
        async with self._client(token) as client, client.follow(earliest=True) as follower:
            async for _ in follower:
                self.done[name] += 1
                if self.is_over:
                    return

    async def go_on(self) -> None:
        """Returns once each of them has done more."""
        before = self.done.copy()
        names = list(before)
        await eventually(
            lambda: all(self.done[name] > before[name] + 2 for name in names), "all clients go on"
        )


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    return TlsFiles(tmp_path / "secret")


@pytest.fixture
def known(tmp_path: Path) -> KnownCallers:
    return KnownCallers(tmp_path / "access")


@pytest.fixture(params=["1", "2"], ids=["one-process", "workers"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, tls: TlsFiles, known: KnownCallers
) -> Iterator[ServerProcess]:
    grant(known)
    options = (*tls.options, *known.options, "--workers", request.param)
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


def grant(known: KnownCallers, *others: str) -> None:
    """Grants the clients what they need, and others something else."""
    crm = principal("crm", scopes=["ingest", "read", "read.pii"], jwts=[{"issuer": ISSUER, "subject": "crm"}])
    known.grant(crm, *(principal(name) for name in others))


async def until_known(server: ServerProcess, load: Load, tokens: Sequence[str]) -> None:
    """Waits until all workers take these tokens."""
    for token in tokens:
        streak = 0

        async def is_known(token: str = token) -> bool:
            nonlocal streak
            try:
                async with load._client(lambda: token) as client:
                    await client.get_server_info()
            except Exception:
                streak = 0
                return False
            streak += 1
            return streak >= 12

        await eventually(is_known, "a token is known to all workers")


@pytest.mark.timeout(240)
async def test_no_call_fails_while_everything_is_replaced(
    server: ServerProcess, tls: TlsFiles, known: KnownCallers, tmp_path: Path
) -> None:
    load = Load(server, tls, tmp_path)
    key = signing_key("k0")
    known.publish(key)
    load.token, load.jwt = known.token("crm"), signed(key)
    await until_known(server, load, [load.token, load.jwt])
    async with asyncio.TaskGroup() as running:
        for name, token in (("secret", lambda: load.token), ("jwt", lambda: load.jwt)):
            for kind in (load.call, load.connect, load.upload, load.follow):
                running.create_task(kind(f"{kind.__name__} by {name}", token))
        await eventually(lambda: len(load.done) == 8, "all clients have begun")
        for number in range(1, _ROUNDS + 1):
            tls.put(tls.issue())
            grant(known, *(f"other-{each}" for each in range(number)))
            # The new ones first, then whoever uses them, and the old ones last.
            new_key = signing_key(f"k{number}")
            known.publish(key, new_key)
            secret = known.tokens.rotate("crm", expire_ms=None)
            await until_known(server, load, [secret, signed(new_key)])
            load.token, load.jwt, key = secret, signed(new_key), new_key
            await load.go_on()
            await eventually(
                lambda: served_serial(server.address) == tls.identity.serial, "the new certificate is served"
            )
            known.tokens.revoke("crm", is_old_only=True)
            known.publish(key)
            await load.go_on()
        load.is_over = True
    assert server.stop() == 0
    assert "the last good version still counts" not in server.messages
