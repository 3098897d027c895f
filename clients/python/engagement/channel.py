"""The gRPC channel of a client: its message limit, and when it pings, reconnects and retries."""

from __future__ import annotations

from typing import Final

import grpc

from engagement.retry import SERVICE_CONFIG

MAX_RECEIVED_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.max_receive_message_length", MAX_RECEIVED_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # With the library's own ping time-out of a minute, an unresponsive server goes unnoticed for as long.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # By default pings stop after two on a stream that waits for a slow source.
    ("grpc.http2.max_pings_without_data", 0),
    # By default the library waits up to two minutes before it reconnects.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def open_channel(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None,
    compression: grpc.Compression | None,
) -> grpc.aio.Channel:
    """A channel to a server, in plain text without `credentials`; it connects with the first call."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS, compression=compression)
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS, compression=compression)
