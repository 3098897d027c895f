"""Decides what may be listened on: beyond the loopback, there must be TLS, and callers say who they are."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_TLS = "--insecure-no-tls"
NO_AUTH = "--insecure-no-auth"


class Protection(NamedTuple):
    """What all listeners of a server have."""

    is_encrypted: bool = False
    asks_identity: bool = False


class Exposed(NamedTuple):
    """An address with the option that names it."""

    option: str
    address: str


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach HOST:PORT. Names but `localhost` may lead anywhere."""
    host = address.rpartition(":")[0].strip("[]").lower()
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def require_protected(
    listeners: Iterable[Exposed], protection: Protection, *, allows_no_tls: bool, allows_no_auth: bool
) -> list[str]:
    """Warnings to log at every start: what the operator has switched off. Raises ConfigurationError."""
    if allows_no_tls and protection.is_encrypted:
        raise ConfigurationError(f"{NO_TLS} contradicts --tls-cert; leave one of them out")
    if allows_no_auth and protection.asks_identity:
        raise ConfigurationError(f"{NO_AUTH} contradicts the grants of callers; leave one of them out")
    lacks_tls = not protection.is_encrypted and not allows_no_tls
    lacks_auth = not protection.asks_identity and not allows_no_auth
    for listener in listeners:
        if (lacks_tls or lacks_auth) and not is_loopback(listener.address):
            raise ConfigurationError(_refusal(listener, lacks_tls=lacks_tls, lacks_auth=lacks_auth))
    warnings = []
    if allows_no_tls:
        warnings.append(f"{NO_TLS}: whoever is between clients and this server reads and changes everything")
    if allows_no_auth:
        warnings.append(f"{NO_AUTH}: whoever reaches this server may read, write and erase everything")
    return warnings


def _refusal(listener: Exposed, *, lacks_tls: bool, lacks_auth: bool) -> str:
    lacks, remedies = [], []
    if lacks_tls:
        lacks.append("encrypts nothing")
        remedies.append(f"--tls-cert and --tls-key, or {NO_TLS} if a proxy in front encrypts")
    if lacks_auth:
        lacks.append("asks nobody who they are")
        remedies.append(f"--grants and --tokens, or {NO_AUTH} if only a proxy that asks can reach it")
    return (
        f"{listener.option} {listener.address} can be reached from other machines, and this server"
        f" {' and '.join(lacks)}: give {', and '.join(remedies)}; or listen on 127.0.0.1"
    )
