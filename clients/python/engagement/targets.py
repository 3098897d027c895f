"""Addresses of servers: which of them are on this machine."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_SOCKET_FILE: Final = re.compile(r"unix(-abstract)?:")
_SCHEME: Final = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)")


def is_this_machine(target: str) -> bool:
    """Whether a target of gRPC is a socket file, `localhost` or a loopback address, and nothing else."""
    if _SOCKET_FILE.match(target):
        return True
    # The schemes of addresses take several, divided by commas.
    addresses = _SCHEME.sub("", target, count=1).split(",")
    return all(_is_loopback(_host(address)) for address in addresses)


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
