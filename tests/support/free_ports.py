"""Ports of the loopback address that nobody listens on now; somebody may be faster."""

from __future__ import annotations

import errno
import random
import socket

# Below those that systems give to whoever asks for any port, so that a server which was killed, or a
# listener which was closed, finds its port again.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Different ones, picked at random because other tests pick at the same time."""
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
