"""The address of a server on the command line: HOST:PORT, checked before anything is sent.

`http://` and `grpc://` before it mean plain text, `https://` and `grpcs://` TLS; they are dropped. Addresses
in gRPC's own schemes, such as `dns:///engagement:50051`, are left to gRPC.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import click

from engagement.cli.failures import CommandError

_OF_GRPC: Final = re.compile(r"(dns|xds)://|(ipv4|ipv6|unix|unix-abstract):")
_SCHEME: Final = re.compile(r"(?:http|grpc)(s?)://", re.IGNORECASE)
_NAME: Final = re.compile(r"[\w.-]+")
_DEFAULT_PORT: Final = 50051
_MAX_PORT: Final = 65_535


def asks_for_tls(value: str) -> bool:
    """Whether an address says by its scheme that the connection is encrypted."""
    scheme = _SCHEME.match(value.strip())
    return scheme is not None and bool(scheme[1])


def read_address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The target for gRPC that an option names. Raises CommandError, which says how to write it."""
    shown = f"The server's address {value!r} (--server or ENGAGEMENT_SERVER)"
    if _OF_GRPC.match(value):
        return value
    address = _SCHEME.sub("", value.strip(), count=1).removesuffix("/")
    host, port = _split(address)
    if not _is_host(host):
        is_ipv6 = address.count(":") > 1
        form = "[HOST]:PORT" if is_ipv6 else "HOST:PORT"
        example = f"{'[::1]' if is_ipv6 else '127.0.0.1'}:{_DEFAULT_PORT}"
        raise CommandError(f"{shown} is not {form}; write one such as {example}.")
    if not port:
        raise CommandError(f"{shown} has no port; write {host}:{_DEFAULT_PORT}, or another port.")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= _MAX_PORT):
        raise CommandError(
            f"{shown} has the port {port!r}, and a port is 1 to {_MAX_PORT}; write {host}:{_DEFAULT_PORT}."
        )
    return f"{host}:{port}"


def _split(address: str) -> tuple[str, str]:
    """Host and port; an IPv6 address alone is the host, in the brackets that it needs."""
    if _is_ipv6(address):
        return f"[{address}]", ""
    if address.startswith("["):
        host, bracket, rest = address.partition("]")
        return host + bracket, rest.removeprefix(":")
    host, _, port = address.partition(":")
    return host, port


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        return _is_ipv6(host[1:-1])
    return _NAME.fullmatch(host) is not None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
