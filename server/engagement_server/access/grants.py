"""The grants file: whom a server knows, by which credentials, and what each may do.

    [[principal]]
    name = "crm"
    tokens = ["crm-2026"]
    jwts = [{ issuer = "https://id.example", subject = "crm-import" }]
    certificates = ["dns:crm.internal", "uri:spiffe://example/crm"]
    accounts = ["acme", "brand-*"]
    scopes = ["ingest", "read"]

docs/security.md describes every key.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from engagement import limits
from engagement_server.access.principals import Accounts, Principal
from engagement_server.access.quotas import NO_QUOTAS, PUBLISHABLE_EVENTS_PER_SECOND, Quotas
from engagement_server.access.scopes import SCOPES
from engagement_server.errors import ConfigurationError

MAX_PRINCIPALS: Final = 10_000
MAX_GRANTS_BYTES: Final = 4 * 1024 * 1024
MAX_BATCH_WAIT_SECONDS: Final = 60.0
"""A rate that makes one batch wait for longer would look like a server that hangs."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{0,63}\*", re.ASCII)
_CERTIFICATE = re.compile(r"(?:uri|dns):[^\s]{1,255}")
_MAX_LISTED: Final = 1_000
_MAX_RATE: Final = 1e9
_MAX_COUNTS: Final = {"concurrent_streams": 100_000, "stored_bytes": 2**62, "max_new_accounts": 1_000_000}
_KEYS: Final = frozenset(
    ("name", "tokens", "jwts", "certificates", "accounts", "scopes", "authenticated", "sources",
     "publishable", *Quotas._fields)
)  # fmt: skip


class JwtSubject(NamedTuple):
    """Whom a JWT names."""

    issuer: str
    subject: str

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


class Grants(NamedTuple):
    """All principals, by their credentials. A credential belongs to one of them."""

    principals: Collection[Principal]
    by_token: Mapping[str, Principal]
    """By the id of a secret."""
    by_jwt: Mapping[JwtSubject, Principal]
    by_certificate: Mapping[str, Principal]
    """By `uri:…` and `dns:…`."""


NO_GRANTS: Final = Grants((), {}, {}, {})
"""Nobody is known."""


def read_grants(text: str) -> Grants:
    """Reads the text of a grants file. Raises ConfigurationError, which names the principal and the key."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"it is not TOML: {error}") from error
    _require_keys(document, frozenset(("principal",)), where="the file")
    tables = document.get("principal", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError("principals are tables that begin with [[principal]]")
    if len(tables) > MAX_PRINCIPALS:
        raise ConfigurationError(f"it has {len(tables):,} principals, more than {MAX_PRINCIPALS:,}")
    grants = Grants([], {}, {}, {})
    names: set[str] = set()
    for number, table in enumerate(tables, 1):
        _add(grants, _Table(table, number=number), names)
    return grants


def _add(grants: Grants, table: _Table, names: set[str]) -> None:
    principal = table.principal()
    if principal.name in names:
        raise table.error("name", "is that of another principal too")
    names.add(principal.name)
    grants.principals.append(principal)  # type: ignore[attr-defined]  # it is being made
    owners: tuple[tuple[str, Any, Iterable[Any]], ...] = (  # Any: keys of three kinds
        ("tokens", grants.by_token, table.texts("tokens", matching=_NAME)),
        ("jwts", grants.by_jwt, table.jwts()),
        ("certificates", grants.by_certificate, table.texts("certificates", matching=_CERTIFICATE)),
    )
    for key, owned, credentials in owners:
        for credential in credentials:
            if owned.setdefault(credential, principal) is not principal:
                raise table.error(key, f"names {credential!r}, as another principal does")


class _Table:
    """The table of one principal."""

    def __init__(self, table: Mapping[str, Any], *, number: int) -> None:  # Any: what TOML has
        self._table = table
        self._where = f"principal {number}"
        self._where = f"principal {self._name()!r}"
        _require_keys(table, _KEYS, where=self._where)

    def principal(self) -> Principal:
        """The principal without its credentials."""
        is_publishable = self._truth("publishable", default=False)
        scopes = frozenset(SCOPES[name] for name in self.texts("scopes", among=SCOPES))
        sources = frozenset(self.texts("sources"))
        may_authenticate = self._truth("authenticated", default=not is_publishable)
        if is_publishable and (scopes != {SCOPES["ingest"]} or len(sources) != 1 or may_authenticate):
            raise self.error(
                "publishable", 'needs scopes = ["ingest"], one of sources, and authenticated = false'
            )
        accounts = self.texts("accounts", matching=_ACCOUNT)
        if not accounts and scopes - {SCOPES["operate"]}:
            raise self.error("accounts", 'is missing; "*" means all accounts')
        return Principal(
            name=self._name(),
            accounts=Accounts(accounts),
            scopes=scopes,
            sources=sources,
            may_authenticate=may_authenticate,
            is_publishable=is_publishable,
            quotas=self._quotas(is_publishable=is_publishable),
        )

    def texts(
        self, key: str, *, matching: re.Pattern[str] | None = None, among: Collection[str] = ()
    ) -> list[str]:
        """A list of texts; empty if it is missing."""
        values = self._table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise self.error(key, "must be a list of texts")
        if len(values) > _MAX_LISTED:
            raise self.error(key, f"has more than {_MAX_LISTED:,} entries")
        for value in values:
            if among and value not in among:
                raise self.error(key, f"has {value!r}, which is none of {', '.join(among)}")
            if matching is not None and not matching.fullmatch(value):
                raise self.error(key, f"has {value!r}, which cannot be one")
        return values

    def jwts(self) -> list[JwtSubject]:
        """The subjects of JWTs."""
        entries = self._table.get("jwts", [])
        is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
        if not is_list or any(
            entry.keys() != {"issuer", "subject"}
            or not all(isinstance(text, str) and text for text in entry.values())
            for entry in entries
        ):
            raise self.error("jwts", 'must be a list such as [{ issuer = "https://…", subject = "…" }]')
        return [JwtSubject(entry["issuer"], entry["subject"]) for entry in entries]

    def error(self, key: str, problem: str) -> ConfigurationError:
        """An error about one key."""
        return ConfigurationError(f"{self._where}: {key} {problem}")

    def _name(self) -> str:
        name = self._table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self.error("name", "must be 1 to 64 letters, digits, `.`, `-` and `_`")
        return name

    def _truth(self, key: str, *, default: bool) -> bool:
        value = self._table.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def _quotas(self, *, is_publishable: bool) -> Quotas | None:
        quotas = Quotas(
            events_per_second=self._rate(),
            concurrent_streams=self._count("concurrent_streams", at_least=1),
            stored_bytes=self._count("stored_bytes", at_least=1),
            max_new_accounts=self._count("max_new_accounts", at_least=0),
        )
        if not is_publishable:
            return None if quotas == NO_QUOTAS else quotas
        if quotas.concurrent_streams is not None:
            raise self.error("concurrent_streams", "is not for publishable grants, which have no streams")
        if quotas.events_per_second is None:
            quotas = quotas._replace(events_per_second=PUBLISHABLE_EVENTS_PER_SECOND)
        return quotas

    def _rate(self) -> float | None:
        """Events a second, enough for a full chunk in a minute."""
        value = self._table.get("events_per_second")
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        at_least = limits.MAX_BATCH_EVENTS / MAX_BATCH_WAIT_SECONDS
        if not is_number or not math.isfinite(value) or not at_least <= value <= _MAX_RATE:
            raise self.error(
                "events_per_second",
                f"must be at least {math.ceil(at_least)}, or a full batch would wait for more than"
                f" {MAX_BATCH_WAIT_SECONDS:.0f} seconds, and at most {_MAX_RATE:,.0f}",
            )
        return float(value)

    def _count(self, key: str, *, at_least: int) -> int | None:
        value = self._table.get(key)
        if value is None:
            return None
        at_most = _MAX_COUNTS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= at_most:
            raise self.error(key, f"must be a whole number from {at_least} to {at_most:,}")
        return value


def _require_keys(table: Mapping[str, object], known: frozenset[str], *, where: str) -> None:
    """Refuses keys that would be ignored."""
    if unknown := sorted(table.keys() - known):
        raise ConfigurationError(f"{where}: {unknown[0]!r} is none of {', '.join(sorted(known))}")
