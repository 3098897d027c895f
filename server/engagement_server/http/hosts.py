"""Which `Host` a request may name.

A page in a browser can reach ports of its own machine, and its owner can let its name lead to this address
(DNS rebinding). Such a request still names the host of the page.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

_LOCALHOST = "localhost"


class Hosts:
    """The names that requests may be sent to: those of the loopback, and those that the operator chose."""

    def __init__(self, host: str, *, extra: Collection[str] = ()) -> None:
        """`host` is that of the address to listen on; if it stands for all addresses, each may be named."""
        host = host.strip("[]").lower()
        address = _address(host)
        self._takes_addresses = address is not None and address.is_unspecified
        self._names = frozenset((_LOCALHOST, host, *extra))

    def include(self, header: str) -> bool:
        """Whether a request with this `Host` is answered."""
        name = _name(header)
        if name in self._names:
            return True
        address = _address(name)
        return address is not None and (self._takes_addresses or address.is_loopback)


def _name(header: str) -> str:
    """The host of HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
