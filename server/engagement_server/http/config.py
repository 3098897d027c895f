"""The settings of the management port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engagement_server.errors import ConfigurationError
from engagement_server.settings import check_settings, require_address, setting, shown

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
OFF = "off"
DEFAULT_ADDRESS = "127.0.0.1:9464"


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Raises ConfigurationError if an address or a name makes no sense."""

    http: str = setting(
        "",
        metavar="HOST:PORT|off",
        help=f"Address to serve health and metrics on over HTTP. Without it, {DEFAULT_ADDRESS}, or nothing "
        "if that port is taken.",
    )
    http_hosts: str = setting(
        "",
        metavar="NAME,…",
        help="Further names that clients may call the HTTP address by; requests to other names are refused.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.http not in {"", OFF}:
            require_address("http", self.http, example=f"{DEFAULT_ADDRESS}, or {OFF}")
        if not all(_HOST_NAME.fullmatch(name) for name in self._names()):
            raise ConfigurationError(
                f"--http-hosts must be names such as monitor-1,monitor-2; got {shown(self.http_hosts)}"
            )

    @property
    def is_on(self) -> bool:
        """Whether there is a management port."""
        return self.http != OFF

    @property
    def is_named(self) -> bool:
        """Whether the operator chose the address."""
        return bool(self.http)

    @property
    def extra_hosts(self) -> frozenset[str]:
        """Names to answer to besides that of the address."""
        return frozenset(name.lower() for name in self._names())

    def _names(self) -> list[str]:
        return [name.strip() for name in self.http_hosts.split(",")] if self.http_hosts else []
