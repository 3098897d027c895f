"""Those who attack: every kind of credential, valid, wrong, and valid no more; over TLS and mutual TLS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from engagement_server.access.scopes import SCOPES, requirement_of
from engagement_server.access.secrets import new_token
from tests.support.attack_calls import Metadata
from tests.support.contract import Method
from tests.support.known_callers import ISSUER, KnownCallers, principal, shown, signed, signing_key
from tests.support.tls_files import Identity, TlsFiles

OWN, VICTIM, ABSENT = "acmeco", "victim", "nobody"
"""The attacker's account, another one, and one that does not exist: equally long."""
SOURCE = "web"
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Attacker:
    """What somebody shows, and what that gives them."""

    token: str | None = None
    certificate: str | None = None
    """The name in it, if they call the listener that asks for one."""
    refused_as: str = ""
    """The reason of each of their calls; empty if they are known."""
    has_scopes: bool = True
    is_publishable: bool = False

    def reason_for(self, method: Method, accounts: tuple[str, ...], *, asked: str) -> str:
        """Why a call is refused that names these accounts in its metadata, and one in its request."""
        requirement = requirement_of(method)
        if len(accounts) > 1:
            return "ACCOUNT_MISMATCH"
        if self.refused_as:
            return self.refused_as
        if requirement.any_of and not self.has_scopes:
            return "SCOPE_MISSING"
        if self.is_publishable and not requirement.takes_publishable:
            return "SCOPE_MISSING"
        if not requirement.has_account:
            return ""
        if accounts != (OWN,):
            return "ACCOUNT_FORBIDDEN"
        return "" if asked == OWN else "ACCOUNT_MISMATCH"


class AttackCallers:
    """The files of a server, and everybody who tries to get at what is not theirs."""

    def __init__(self, folder: Path) -> None:
        self.tls = TlsFiles(folder / "secret")
        self.known = KnownCallers(folder / "access")
        key, forged = signing_key(), signing_key()
        self.known.publish(key)
        everything = {"accounts": [OWN], "scopes": sorted(SCOPES)}
        self.known.grant(
            principal(
                "attacker",
                **{**everything, "tokens": ["attacker", "expired", "revoked"]},
                jwts=[{"issuer": ISSUER, "subject": "attacker"}],
                certificates=["dns:attacker.test"],
            ),
            principal(
                "scopeless",
                accounts=[OWN],
                scopes=[],
                jwts=[{"issuer": ISSUER, "subject": "scopeless"}],
                certificates=["dns:scopeless.test"],
            ),
            principal(
                *("page",),
                accounts=[OWN],
                scopes=["ingest"],
                sources=[SOURCE],
                authenticated=False,
                publishable=True,
                events_per_second=1_000_000,
            ),
            principal(OPERATOR, accounts=["*"], scopes=sorted(SCOPES), certificates=["dns:operator.test"]),
        )
        now = int(time.time())
        of = {name: self.known.token(name) for name in ("attacker", "scopeless", "page", OPERATOR)}
        of["revoked"] = self.known.token("revoked")
        of["expired"] = self.known.token("expired", expire_ms=now * 1000 - 1)
        self.known.tokens.revoke("revoked", is_old_only=False)
        self.operator = of[OPERATOR]
        self.attackers = {
            "secret": Attacker(of["attacker"]),
            "jwt": Attacker(signed(key, sub="attacker", exp=now + 3600)),
            "certificate": Attacker(certificate="attacker.test"),
            # A token counts, not what the certificate beside it would allow.
            "secret beside a certificate": Attacker(of["attacker"], "operator.test"),
            "publishable": Attacker(of["page"], is_publishable=True),
            "scopeless secret": Attacker(of["scopeless"], has_scopes=False),
            "scopeless jwt": Attacker(signed(key, sub="scopeless", exp=now + 3600), has_scopes=False),
            "scopeless certificate": Attacker(certificate="scopeless.test", has_scopes=False),
            "nothing": Attacker(refused_as="TOKEN_MISSING"),
            "expired secret": Attacker(of["expired"], refused_as="TOKEN_EXPIRED"),
            "expired jwt": Attacker(signed(key, sub="attacker", exp=now - 60), refused_as="TOKEN_EXPIRED"),
            "revoked secret": Attacker(of["revoked"], refused_as="TOKEN_INVALID"),
            "revoked secret beside a certificate": Attacker(
                of["revoked"], "operator.test", refused_as="TOKEN_INVALID"
            ),
            "unknown secret": Attacker(new_token(OPERATOR), refused_as="TOKEN_INVALID"),
            "forged jwt": Attacker(signed(forged, sub="attacker"), refused_as="TOKEN_INVALID"),
            "jwt without a grant": Attacker(signed(key, sub="nobody"), refused_as="TOKEN_INVALID"),
            "certificate without a grant": Attacker(certificate="nobody.test", refused_as="TOKEN_INVALID"),
        }

    @property
    def options(self) -> tuple[str, ...]:
        """Options of a server that knows them."""
        return (*self.tls.mutual_options, *self.known.options)

    @asynccontextmanager
    async def connected(self, address: str, mutual_address: str) -> AsyncIterator[Channels]:
        """Connections to both listeners, one for each certificate."""
        async with AsyncExitStack() as stack:
            usual = await stack.enter_async_context(self.tls.connect(address))
            mutual = {
                name: await stack.enter_async_context(
                    self.tls.connect(mutual_address, self._certificate(name))
                )
                for name in sorted({each.certificate or "" for each in self.attackers.values()} - {""})
            }
            yield Channels(usual.channel, {name: each.channel for name, each in mutual.items()})

    def _certificate(self, name: str) -> Identity:
        return self.tls.issue(name)


@dataclass(frozen=True, slots=True)
class Channels:
    """Connections to a server."""

    usual: grpc.aio.Channel
    mutual: dict[str, grpc.aio.Channel]
    """By the name in the certificate."""

    def of(self, attacker: Attacker) -> grpc.aio.Channel:
        """That of an attacker."""
        return self.usual if attacker.certificate is None else self.mutual[attacker.certificate]


def naming(attacker: Attacker, *accounts: str) -> Metadata:
    """The metadata of an attacker's call."""
    return shown(attacker.token, *accounts)
