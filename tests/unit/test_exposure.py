"""An address that other machines reach needs TLS and identity, or a switch for each."""

from __future__ import annotations

import pytest

from engagement_server.errors import ConfigurationError
from engagement_server.transport.exposure import Exposed, Protection, is_loopback, require_protected

NOTHING, ALL = Protection(), Protection(is_encrypted=True, asks_identity=True)
OPEN = [Exposed("--listen", "127.0.0.1:1"), Exposed("--http", "0.0.0.0:9464")]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.9.1:1", "localhost:1", "LOCALHOST:1", "[::1]:1"])
def test_the_loopback_is_for_this_machine(address: str) -> None:
    assert is_loopback(address)
    assert not require_protected(
        [Exposed("--listen", address)], NOTHING, allows_no_tls=False, allows_no_auth=False
    )


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "[::]:1", ":::1", "10.0.0.1:1", "node-1:1", "localhost.brand.test:1", "127.1:1"]
)
def test_other_addresses_and_names_are_for_others_too(address: str) -> None:
    assert not is_loopback(address)


def test_each_lack_has_a_switch_of_its_own() -> None:
    for protection, allows_no_tls, allows_no_auth, lacks in (
        (NOTHING, False, False, "encrypts nothing and asks nobody"),
        (NOTHING, True, False, "this server asks nobody"),
        (NOTHING, False, True, "this server encrypts nothing: give --tls-cert"),
        (Protection(is_encrypted=True), False, False, "this server asks nobody"),
        (Protection(asks_identity=True), False, False, "this server encrypts nothing: give --tls-cert"),
    ):
        with pytest.raises(ConfigurationError, match=f"^--http 0.0.0.0:9464 .*{lacks}"):
            require_protected(OPEN, protection, allows_no_tls=allows_no_tls, allows_no_auth=allows_no_auth)
    assert not require_protected(OPEN, ALL, allows_no_tls=False, allows_no_auth=False)


def test_a_switch_is_warned_of_wherever_the_server_listens() -> None:
    for listeners in (OPEN, OPEN[:1]):
        warnings = require_protected(listeners, NOTHING, allows_no_tls=True, allows_no_auth=True)
        assert [warning.partition(":")[0] for warning in warnings] == [
            "--insecure-no-tls",
            "--insecure-no-auth",
        ]


def test_a_switch_that_contradicts_the_configuration_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--insecure-no-tls contradicts --tls-cert"):
        require_protected(OPEN, ALL, allows_no_tls=True, allows_no_auth=False)
    with pytest.raises(ConfigurationError, match="--insecure-no-auth contradicts"):
        require_protected(OPEN, ALL, allows_no_tls=False, allows_no_auth=True)
