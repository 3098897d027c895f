"""Ports of the loopback address that are free now; another process may take them first."""

from __future__ import annotations

import errno
import random
import socket

# Below the ephemeral ports, so that a server that was killed, or a listener that was closed, finds its port
# free again.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Distinct ports, at random because other tests choose at the same time."""
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(ports) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        ports.append(port)
    return ports
