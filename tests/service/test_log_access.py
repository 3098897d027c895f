"""Authentication at the servers of the log: passwords, certificates on both sides, signed credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nkeys
import pytest

from engagement import EngagementClient
from engagement_server.config import Config
from engagement_server.errors import ConfigurationError, LogUnreachableError
from engagement_server.log.nats.config import LogConfig
from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.stream import connect
from engagement_server.node import Server
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster

_LIMITS = ("subs", "conn", "data", "payload", "leaf", "imports", "exports")


@asynccontextmanager
async def serving(folder: Path, log: LogConfig) -> AsyncIterator[EngagementClient]:
    """A client of a node with this log."""
    server = await Server.start(Config(listen="127.0.0.1:0", data=folder / "data"), log)
    async with EngagementClient(server.address, account_id="acme") as client:
        yield client
    await server.stop()


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    users = 'authorization: { users: [ { user: ada, password: "s3cret/@:" } ] }'
    with NatsCluster(tmp_path / "nats", size=1, settings=users) as nats:
        address = nats.url.removeprefix("nats://")
        async with serving(
            tmp_path, LogConfig(log=f"nats://ada:s3cret%2F%40%3A@{address}", log_replicas=1)
        ) as client:
            await client.record_event(customer_event())
        wrong = NatsSettings([f"nats://ada:wrong@{address}"], name="log", replicas=1, max_age_seconds=60)
        with pytest.raises(LogUnreachableError, match="it refuses the user") as refused:
            async with connect(Servers(wrong), creates=True):
                pass
        assert "wrong" not in str(refused.value)
        for store in ("new", "data"):
            config = Config(listen="127.0.0.1:0", data=tmp_path / store)
            with pytest.raises(ConfigurationError, match=r"it refuses the user; check the user") as ended:
                await Server.start(config, LogConfig(log=f"nats://ada:wrong@{address}", log_replicas=1))
            assert "wrong" not in str(ended.value)


async def test_certificates_on_both_sides(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats", size=1, verifies_clients=True) as nats:
        files = nats.certificates
        assert files is not None
        config = LogConfig(
            log=nats.url,
            log_replicas=1,
            log_tls_ca=files.authority,
            log_tls_cert=files.client,
            log_tls_key=files.client_key,
        )
        async with serving(tmp_path, config) as client:
            await client.record_event(customer_event())
        for settings in (
            NatsSettings(nats.urls, name="log", replicas=1, max_age_seconds=60),
            NatsSettings([nats.url.replace("tls", "nats")], name="log", replicas=1, max_age_seconds=60),
        ):
            with pytest.raises(LogUnreachableError):
                async with connect(Servers(settings), creates=True):
                    pass


async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="certificates"):
        await Server.start(
            Config(listen="127.0.0.1:0", data=tmp_path / "data"),
            LogConfig(log="tls://127.0.0.1:1", log_tls_ca=tmp_path / "none.pem"),
        )


async def test_signed_credentials(tmp_path: Path) -> None:
    operator = _Key("operator", nkeys.PREFIX_BYTE_OPERATOR)
    system, account = _Key("system", nkeys.PREFIX_BYTE_ACCOUNT), _Key("account", nkeys.PREFIX_BYTE_ACCOUNT)
    user = _Key("user", nkeys.PREFIX_BYTE_USER)
    unlimited = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer", *_LIMITS), -1)
    no_streams = dict.fromkeys(_LIMITS, -1)
    system_token = operator.sign(system, {"type": "account", "version": 2, "limits": no_streams})
    account_token = operator.sign(account, {"type": "account", "version": 2, "limits": unlimited})
    user_token = account.sign(user, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    settings = "\n".join(
        [
            f"operator: {operator.sign(operator, {'type': 'operator', 'version': 2})}",
            f"system_account: {system.public}",
            "resolver: MEMORY",
            f"resolver_preload: {{ {system.public}: {system_token}, {account.public}: {account_token} }}",
        ]
    )
    credentials = tmp_path / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with NatsCluster(tmp_path / "nats", size=1, settings=settings) as nats:
        async with serving(
            tmp_path, LogConfig(log=nats.url, log_credentials=credentials, log_replicas=1)
        ) as client:
            await client.record_event(customer_event())
        nobody = NatsSettings(nats.urls, name="log", replicas=1, max_age_seconds=60)
        with pytest.raises(LogUnreachableError, match="it refuses the user"):
            async with connect(Servers(nobody), creates=True):
                pass


class _Key:
    """A key that signs tokens as NATS's own tools do."""

    def __init__(self, name: str, prefix: int) -> None:
        seed = nkeys.encode_seed(hashlib.sha256(name.encode()).digest(), prefix)
        self.seed = seed.decode()
        self._pair = nkeys.from_seed(bytearray(seed))
        self.public = self._pair.public_key.decode()

    def sign(self, subject: _Key, rights: dict[str, object]) -> str:
        """A token that grants rights to another key."""
        claims = {
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject.public,
            "name": "test",
            "jti": "test",
            "nats": rights,
        }
        parts = [_text({"typ": "JWT", "alg": "ed25519-nkey"}), _text(claims)]
        signature = self._pair.sign(".".join(parts).encode())
        return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def _text(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
