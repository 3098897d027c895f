"""Which hosts a request may name."""

from __future__ import annotations

import pytest

from engagement_server.http.hosts import Hosts

LOOPBACK = ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]:9464", "[::1]"]
FOREIGN = [
    "",
    "evil.example",
    "evil.example:9464",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:127.0.0.1",
    "10.0.0.7:9464",
    "[2001:db8::1]:9464",
    "[",
    ":9464",
    "0x7f.1",
]


@pytest.mark.parametrize("header", LOOPBACK)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "10.0.0.7", "monitor"])
def test_names_of_the_loopback_are_ours_wherever_the_port_is(host: str, header: str) -> None:
    assert Hosts(host).include(header)


@pytest.mark.parametrize("header", FOREIGN)
def test_another_host_is_not_ours(header: str) -> None:
    assert not Hosts("127.0.0.1").include(header)


def test_the_host_that_was_named_is_ours() -> None:
    assert Hosts("10.0.0.7").include("10.0.0.7:9464")
    assert Hosts("[2001:db8::1]").include("[2001:db8::1]:9464")
    assert Hosts("Monitor").include("monitor:9464")
    assert Hosts("127.0.0.1", extra=["node-1"]).include("Node-1:9464")
    assert not Hosts("127.0.0.1", extra=["node-1"]).include("node-2")


def test_every_address_but_no_name_is_ours_on_a_port_of_all_addresses() -> None:
    for host in ("0.0.0.0", "[::]"):
        assert Hosts(host).include("10.0.0.7:9464")
        assert Hosts(host).include("[2001:db8::1]:9464")
        assert not Hosts(host).include("evil.example")
