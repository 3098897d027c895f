"""How much callers with publishable grants may send: their credentials are in other people's hands.

One bucket of each grant is for all of its callers, and one for each address, which gets a tenth of it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from engagement_server.access.buckets import Rate, Rates

ADDRESS_SHARE: Final = 0.1
"""Of the rate of a grant, what one address may send."""
_PEER = re.compile(r"ipv[46]:(?:%5B|\[)?([0-9a-fA-F.:]+?)(?:%25[^:\]]*)?(?:%5D|\])?:\d+")
_NETWORK_BITS: Final = 64
"""Of an address of version 6: one customer has all addresses that share them."""


def publishing_rates(grant: str, *, events_per_second: float, peer: str) -> Rates:
    """The limits of a publishable grant for a caller.

    `peer` is the address of a connection. A loopback one is that of a proxy on this machine, which speaks
    for many.
    """
    shared = Rate(events_per_second, grant)
    if address := address_of(peer):
        return shared, Rate(events_per_second * ADDRESS_SHARE, grant, address=address)
    return (shared,)


def address_of(peer: str) -> str:
    """The address of a peer as gRPC writes it, or the network of one; empty if it speaks for many."""
    found = _PEER.fullmatch(peer)
    if found is None:  # a socket of this machine
        return ""
    try:
        address = ipaddress.ip_address(found[1])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    return str(address)
