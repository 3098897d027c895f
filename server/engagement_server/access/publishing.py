"""How much callers with publishable grants may send: their credentials are in other people's hands.

One bucket of each grant is for all of its callers, and one for each address, which gets a tenth of it. A call
is let in while the buckets are above zero, and may overdraw them. The rates hold for one process.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from engagement.limits import MAX_BATCH_EVENTS
from engagement_server.errors import QuotaExceededError

if TYPE_CHECKING:
    from engagement_server.access.principals import Principal

_K = TypeVar("_K")
EVENTS_PER_SECOND: Final = 1_000.0
"""Of all callers of a grant together, unless it has another rate."""
ADDRESS_SHARE: Final = 0.1
"""Of that rate, what one address may send."""
MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered; those that were heard of last stay."""
_MIN_DELAY_SECONDS: Final = 0.1
_QUOTA: Final = "events_per_second"
_PEER = re.compile(r"ipv[46]:(?:%5B|\[)?([0-9a-fA-F.:]+?)(?:%25[^:\]]*)?(?:%5D|\])?:\d+")
_NETWORK_BITS: Final = 64
"""Of an address of version 6: one customer has all addresses that share them."""


class PublishingRates:
    """The rates of all publishable grants."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, _Bucket] = OrderedDict()
        self._by_address: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def take(self, principal: Principal, *, peer: str, events: int) -> None:
        """Counts events of a call. Raises QuotaExceededError, and then counts nothing.

        `peer` is the address of a connection. A loopback one is that of a proxy on this machine, which speaks
        for many.
        """
        now = time.monotonic()
        rate = principal.events_per_second or EVENTS_PER_SECOND
        buckets = [_bucket(self._all, principal.name, now=now)]
        rates = [rate]
        if address := address_of(peer):
            buckets.append(_bucket(self._by_address, (principal.name, address), now=now))
            rates.append(rate * ADDRESS_SHARE)
        for bucket, limit in zip(buckets, rates, strict=True):
            if (delay_seconds := bucket.delay_seconds(limit, now=now)) > 0:
                delay_seconds = max(delay_seconds, _MIN_DELAY_SECONDS)
                raise QuotaExceededError(quota=_QUOTA, limit=limit, retry_delay_seconds=delay_seconds)
        for bucket in buckets:
            bucket.used += events


class _Bucket:
    """Events that were sent and not yet earned."""

    __slots__ = ("seen", "used")

    def __init__(self, now: float) -> None:
        self.used = 0.0
        self.seen = now

    def delay_seconds(self, rate: float, *, now: float) -> float:
        """How long the next call has to wait; 0: not at all."""
        self.used = max(0.0, self.used - (now - self.seen) * rate)
        self.seen = now
        burst = max(float(MAX_BATCH_EVENTS), rate)
        return max(0.0, self.used - burst + 1) / rate


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


def _bucket(buckets: OrderedDict[_K, _Bucket], key: _K, *, now: float) -> _Bucket:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = _Bucket(now)
        if len(buckets) > MAX_ADDRESSES:
            buckets.popitem(last=False)
    buckets.move_to_end(key)
    return bucket
