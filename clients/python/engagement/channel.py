"""The channel of a client: its message limit, when it pings, reconnects and retries, and its replacement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final  # Any: a call of any kind

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


def tls_credentials(
    *,
    ca: str | bytes | Path | None = None,
    certificate: str | bytes | Path | None = None,
    key: str | bytes | Path | None = None,
) -> grpc.ChannelCredentials:
    """Credentials for TLS; each part is PEM or the path of a file with it, which is read at once.

    Trusts the certificates of `ca`, by default the roots that gRPC brings. `certificate` and its `key`
    identify the client to servers that ask for that.

    Raises OSError, and ValueError if one of the two is missing.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a client certificate needs both certificate and key")
    return grpc.ssl_channel_credentials(_pem(ca), _pem(key), _pem(certificate))


def _pem(value: str | bytes | Path | None) -> bytes | None:
    match value:
        case Path():
            return value.read_bytes()
        case str():
            return value.encode()
        case _:
            return value


class ReplaceableChannel:
    """Has what generated stubs use of a channel; their calls go over the channel of the moment.

    It connects with the first call, in plain text without `credentials`.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None,
        compression: grpc.Compression | None,
    ) -> None:
        self._target = target
        self._compression = compression
        self._line = self._open(credentials)
        self._methods: list[_Method] = []
        self._draining: dict[asyncio.Task[None], _Line] = {}

    def unary_unary(self, path: str, **how: Any) -> Any:  # as of a channel
        """A method with one request and one response."""
        return self._method("unary_unary", path, how)

    def unary_stream(self, path: str, **how: Any) -> Any:  # as of a channel
        """A method with a stream of responses."""
        return self._method("unary_stream", path, how)

    def stream_stream(self, path: str, **how: Any) -> Any:  # as of a channel
        """A method with two streams."""
        return self._method("stream_stream", path, how)

    def replace(self, credentials: grpc.ChannelCredentials) -> None:
        """Lets new calls use these credentials, on a second channel; the first ends with its last call."""
        former, self._line = self._line, self._open(credentials)
        for method in self._methods:
            method.use(self._line)
        draining = asyncio.create_task(former.close_when_idle())
        self._draining[draining] = former
        draining.add_done_callback(self._draining.pop)

    async def close(self) -> None:
        """Cancels all calls, those on earlier channels too."""
        lines = [*self._draining.values(), self._line]
        for task in self._draining:
            task.cancel()
        for line in lines:
            await line.channel.close()

    def _open(self, credentials: grpc.ChannelCredentials | None) -> _Line:
        if credentials is None:
            return _Line(grpc.aio.insecure_channel(self._target, _OPTIONS, self._compression))
        return _Line(grpc.aio.secure_channel(self._target, credentials, _OPTIONS, self._compression))

    def _method(self, kind: str, path: str, how: Mapping[str, Any]) -> _Method:
        method = _Method(kind, path, how)
        method.use(self._line)
        self._methods.append(method)
        return method


class _Line:
    """A channel, and how many calls it has."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._calls = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self, call: grpc.aio.Call) -> None:
        """Counts a call until it ends."""
        self._calls += 1
        self._is_idle.clear()
        call.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._is_idle.set()

    async def close_when_idle(self) -> None:
        """Closes the channel after its last call."""
        await self._is_idle.wait()
        await self.channel.close()


class _Method:
    """A method of a stub."""

    def __init__(self, kind: str, path: str, how: Mapping[str, Any]) -> None:
        self._kind, self._path, self._how = kind, path, how

    def use(self, line: _Line) -> None:
        """Makes the next calls on this channel."""
        self._line = line
        self._call = getattr(line.channel, self._kind)(self._path, **self._how)

    def __call__(self, *request: Any, **options: Any) -> Any:
        call = self._call(*request, **options)
        self._line.begin(call)
        return call
