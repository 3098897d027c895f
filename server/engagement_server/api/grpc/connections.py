"""How many connections there may be, and how old they may get."""

from __future__ import annotations

from typing import Final, NamedTuple

from engagement_server.streams.closing import AGE_SPREAD, GRACE_SECONDS

_SPARE_SECONDS: Final = 5.0
"""For the last messages of a stream that has been asked to end."""


HANDSHAKE_SECONDS: Final = 10.0
"""How long a client may take until its first call can come: TLS, and its settings of HTTP/2."""


class ConnectionLimits(NamedTuple):
    """The limits of one listener of a process."""

    max_connections: int
    max_age_seconds: float
    """From this age on, give or take a tenth, clients open a new one for their next calls; 0: at no age."""
    max_stream_age_seconds: float

    def options(self) -> list[tuple[str, int]]:
        """The settings of the library.

        An old connection stays until its last stream has been closed for its own age, with a message: if the
        library closed it before, streams would break.
        """
        options = [
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.server_handshake_timeout_ms", _milliseconds(HANDSHAKE_SECONDS)),
        ]
        if self.max_age_seconds:
            options += [
                ("grpc.max_connection_age_ms", _milliseconds(self.max_age_seconds)),
                ("grpc.max_connection_age_grace_ms", _milliseconds(self._grace_seconds)),
            ]
        return options

    @property
    def _grace_seconds(self) -> float:
        return self.max_stream_age_seconds * (1 + AGE_SPREAD) + GRACE_SECONDS + _SPARE_SECONDS


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
