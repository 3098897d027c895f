"""Rates of publishable grants: for all of their callers together, and for each address."""

from __future__ import annotations

import pytest

from engagement_server.access import publishing
from engagement_server.access.publishing import PublishingRates, address_of
from engagement_server.errors import QuotaExceededError
from tests.support.held_grants import principal

PAGE = principal("page", "ingest")
LOOPBACK, PEER, OTHER = "ipv4:127.0.0.1:4000", "ipv4:192.0.2.1:4000", "ipv4:192.0.2.2:4000"


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
    rates = PublishingRates()
    for _ in range(2):
        rates.take(PAGE, peer=PEER, events=400)
    with pytest.raises(QuotaExceededError) as caught:
        rates.take(PAGE, peer=PEER, events=1)
    assert caught.value.limit == publishing.EVENTS_PER_SECOND * publishing.ADDRESS_SHARE
    assert caught.value.retry_delay_seconds
    rates.take(PAGE, peer=OTHER, events=1)


def test_all_callers_of_a_grant_share_its_rate_and_other_grants_have_their_own() -> None:
    rates = PublishingRates()
    slow = principal("slow", "ingest", events_per_second=100.0)
    rates.take(slow, peer=LOOPBACK, events=500)
    with pytest.raises(QuotaExceededError) as caught:
        rates.take(slow, peer=OTHER, events=1)
    assert caught.value.metadata["quota"] == "events_per_second"
    rates.take(PAGE, peer=LOOPBACK, events=500)


def test_no_more_addresses_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_ADDRESSES", 2)
    rates = PublishingRates()
    rates.take(PAGE, peer=PEER, events=400)
    for number in range(2, 5):
        rates.take(PAGE, peer=f"ipv4:192.0.2.{number}:1", events=1)
    rates.take(PAGE, peer=PEER, events=200)
