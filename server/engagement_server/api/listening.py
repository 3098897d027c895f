"""Whether an address can be listened on, checked before gRPC tries; gRPC would log the failure."""

from __future__ import annotations

import errno
import socket

from engagement_server.errors import ConfigurationError

_CHOICE = "choose another address with --listen HOST:PORT (make run LISTEN=HOST:PORT)"


def require_free(address: str) -> None:
    """Raises ConfigurationError unless some address that HOST:PORT stands for is free."""
    address.encode()  # an argument may hold bytes that are not text; raises UnicodeEncodeError
    host, _, port = address.rpartition(":")
    failure = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    try:
        targets = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise cannot_listen(address, error) from error
    for family, _, _, _, target in targets:
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
                )  # ignores connections in TIME_WAIT
                probe.bind(target)
        except OSError as error:
            failure = error
        else:
            return
    raise cannot_listen(address, failure) from failure


def cannot_listen(address: str, error: Exception) -> ConfigurationError:
    """An error that says why nothing can listen on HOST:PORT, and what to do."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConfigurationError(f"the host of {address} is not known here; {_CHOICE}")
    if isinstance(error, OSError) and error.errno != errno.EADDRINUSE:
        return ConfigurationError(f"cannot listen on {address}: {error.strerror}; {_CHOICE}")
    return ConfigurationError(f"{address} is in use; stop the program that listens there, or {_CHOICE}")
