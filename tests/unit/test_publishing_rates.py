"""Rates of publishable grants: for all of their callers together, and for each address."""

from __future__ import annotations

import pytest

from engagement_server.access import buckets
from engagement_server.access.buckets import Buckets
from engagement_server.access.publishing import ADDRESS_SHARE, address_of, publishing_rates

LOOPBACK, PEER, OTHER = "ipv4:127.0.0.1:4000", "ipv4:192.0.2.1:4000", "ipv4:192.0.2.2:4000"


def take(shared: Buckets, *, events: int, peer: str, rate: float = 1_000.0, grant: str = "page") -> float:
    """How long a caller has to wait; 0 if its events were let in."""
    return shared.draw(
        publishing_rates(grant, events_per_second=rate, peer=peer), events=events
    ).delay_seconds


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (PEER, "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:4000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:3::4]:4000", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:4000", "192.0.2.1"),
        ("ipv6:%5B::1%5D:4000", ""),
        (LOOPBACK, ""),
        ("unix:/run/engagement.sock", ""),
    ],
)
def test_the_address_of_a_peer_is_that_of_its_customer(peer: str, address: str) -> None:
    assert address_of(peer) == address


def test_an_address_gets_a_share_and_leaves_others_theirs() -> None:
    shared = Buckets()
    assert [take(shared, events=400, peer=PEER) for _ in range(2)] == [0, 0]
    refused = shared.draw(publishing_rates("page", events_per_second=1_000.0, peer=PEER), events=1)
    assert refused.limit == 1_000 * ADDRESS_SHARE
    assert refused.delay_seconds
    assert not take(shared, events=1, peer=OTHER)


def test_all_callers_of_a_grant_share_its_rate_and_other_grants_have_their_own() -> None:
    shared = Buckets()
    assert not take(shared, events=500, peer=LOOPBACK, rate=100.0, grant="slow")
    assert take(shared, events=1, peer=OTHER, rate=100.0, grant="slow")
    assert not take(shared, events=500, peer=LOOPBACK)


def test_no_more_addresses_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_BUCKETS", 2)
    shared = Buckets()
    assert not take(shared, events=600, peer=PEER)
    assert take(shared, events=1, peer=PEER)
    for number in range(2, 5):
        assert not take(shared, events=1, peer=f"ipv4:192.0.2.{number}:1")
    assert not take(shared, events=200, peer=PEER), "it was pushed out"
