"""Exits with status 0 if the management port at HOST:PORT says that its server takes calls, else with 1."""

from __future__ import annotations

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

TIMEOUT_SECONDS = 2


def is_ready(connection: HTTPConnection) -> bool | None:
    """Whether `/readyz` says so; None without an answer."""
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def is_serving(address: str) -> bool:
    """Whether the server is ready, over TLS or without; false without an answer."""
    ready = is_ready(HTTPConnection(address, timeout=TIMEOUT_SECONDS))
    if ready is None:
        # The port is that of this container, and its certificate has the names that others call it by.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        ready = is_ready(HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=context))
    return bool(ready)


if __name__ == "__main__":
    sys.exit(0 if is_serving(sys.argv[1]) else 1)
