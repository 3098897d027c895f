"""The address of a server on the command line: HOST:PORT, checked before anything is sent.

`http://` and `grpc://` before it are dropped: they mean plain text, as all connections here are. Addresses
in gRPC's own schemes, such as `dns:///engagement:50051`, are left to gRPC.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import click

from engagement.cli.failures import CommandError

_OF_GRPC: Final = re.compile(r"(dns|xds)://|(ipv4|ipv6|unix|unix-abstract):")
_IN_PLAIN_TEXT: Final = re.compile(r"(?:http|grpc)://", re.IGNORECASE)
_WITH_TLS: Final = re.compile(r"(?:https|grpcs)://", re.IGNORECASE)
_NAME: Final = re.compile(r"[\w.-]+")
_DEFAULT_PORT: Final = 50051
_MAX_PORT: Final = 65_535


def read_address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The target for gRPC that an option names. Raises CommandError, which says how to write it."""
    shown = f"The server's address {value!r} (--server or ENGAGEMENT_SERVER)"
    if _OF_GRPC.match(value):
        return value
    if _WITH_TLS.match(value):
        plain = _WITH_TLS.sub("", value).rstrip("/")
        raise CommandError(
            f"{shown} asks for TLS, which this command does not speak; "
            f"write {plain} for a server or a proxy that takes plain text."
        )
    address = _IN_PLAIN_TEXT.sub("", value.strip(), count=1).removesuffix("/")
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
