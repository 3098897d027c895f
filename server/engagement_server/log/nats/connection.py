"""Connections to the servers of a replicated log, and the translation of the library's errors.

A connection is used until it fails, and then replaced by one to another server if there are several.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from engagement_server.errors import LogAccessDeniedError, LogUnreachableError, StoreUnavailableError
from engagement_server.log.nats.denials import EncryptingClient, denial_of

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

_log = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS = 2
_CLOSE_SECONDS = 1.0
_RETRY_SECONDS = 0.1
_PING_SECONDS = 1
_MAX_UNANSWERED_PINGS = 3
CALL_SECONDS = 5.0
"""How long a call is retried by default."""
_TRY_SECONDS = 1.4
_NO_TEXT = ("", "None")
_NO_JETSTREAM = "JetStream does not answer; does the configuration of the log's servers turn it on?"
_FULL = frozenset({10002, 10023, 10047, 10077})
"""Error codes of NATS: an account, a server or a stream is full."""


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Addresses of the servers and access to them, and the settings of the stream."""

    servers: Sequence[str]
    name: str
    """Of the stream."""
    replicas: int
    max_age_seconds: float
    """Older messages are removed."""
    credentials: Path | None = None
    """File with a user's token and key, in the format of NATS's own tools."""
    tls: ssl.SSLContext | None = None
    subject: str = ""
    """Subject that commits are published to, unique to the stream; if empty, derived from the name."""


class Connection:
    """A connection to one server."""

    def __init__(self, server: str, *, encrypts: bool) -> None:
        self.server = server
        """Its address."""
        self.client: Client = EncryptingClient(encrypts=encrypts)
        self._lost = asyncio.Event()

    async def lost(self) -> None:
        """Returns when the connection has ended."""
        await self._lost.wait()

    async def open(self, url: str, options: dict[str, Any]) -> None:
        """Connects to the server."""
        # The library would retry a server that refuses for minutes.
        async with asyncio.timeout(_CONNECT_SECONDS):
            await self.client.connect(
                url,
                allow_reconnect=False,
                connect_timeout=_CONNECT_SECONDS,
                max_reconnect_attempts=1,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=_MAX_UNANSWERED_PINGS,
                closed_cb=self._note_end,
                error_cb=self._note_error,
                **options,
            )

    async def close(self) -> None:
        """Closes the connection in any state."""
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.client.close()

    async def _note_end(self) -> None:
        self._lost.set()

    async def _note_error(self, error: Exception) -> None:
        _log.debug("%s: %s", self.server, error)


class Servers:
    """The servers of a log."""

    def __init__(self, settings: NatsSettings) -> None:
        self.settings = settings
        self._last = ""
        """The server of the last connection, which is tried after the others."""

    async def connect(self) -> Connection:
        """Returns a connection to one of them. Raises LogUnreachableError and LogAccessDeniedError."""
        options: dict[str, Any] = {"name": self.settings.name}  # Any: each option has its own type
        if self.settings.credentials is not None:
            options["user_credentials"] = str(self.settings.credentials)
        if self.settings.tls is not None:
            options["tls"] = self.settings.tls
        failures, denials = [], 0
        urls = random.sample(self.settings.servers, len(self.settings.servers))
        for url in sorted(urls, key=lambda url: url == self._last):
            connection = Connection(_without_login(url), encrypts=self.settings.tls is not None)
            try:
                await connection.open(_without_login(url), options | _login(url))
            except (NatsError, OSError, TimeoutError) as error:
                cause = connection.client.last_error if isinstance(error, TimeoutError) else error
                await connection.close()
                denial = denial_of(cause)
                denials += bool(denial)
                failures.append(f"{connection.server}: {denial or _text_of(cause)}")
            except BaseException:
                await connection.close()
                raise
            else:
                self._last = url
                return connection
        failed = LogAccessDeniedError if denials == len(failures) else LogUnreachableError
        raise failed("; ".join(sorted(failures)))


def _text_of(error: Exception | None) -> str:
    """What to tell an operator of a failure; the library has no error while a server is silent."""
    if error is None or isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:  # of names that cannot be looked up
        return error.strerror
    return str(error) or repr(error)


def _login(url: str) -> dict[str, str]:
    """User and password, or token, of an address: the library would not decode their escapes."""
    address = urlsplit(url)
    if address.username is None:
        return {}
    if address.password is None:
        return {"token": unquote(address.username)}
    return {"user": unquote(address.username), "password": unquote(address.password)}


def _without_login(url: str) -> str:
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextlib.contextmanager
def translated() -> Any:  # Any: a generator that a decorator turns into something else
    """Turns errors of the library into LogUnreachableError, and StoreUnavailableError if the log is full."""
    try:
        yield
    except APIError as error:
        if error.err_code in _FULL:
            raise StoreUnavailableError(f"the log has no room: {error.description}") from error
        text = error.description or ""
        raise LogUnreachableError(_NO_JETSTREAM if text in _NO_TEXT else text) from error
    except TimeoutError as error:  # the library's as well
        raise LogUnreachableError("the log does not answer") from error
    except (NatsError, OSError) as error:
        raise LogUnreachableError(str(error)) from error
    finally:
        # The library swallows a cancellation that arrives together with an answer.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError


async def retry(
    call: Callable[[], Awaitable[T]], *, seconds: float = CALL_SECONDS, attempt_seconds: float = _TRY_SECONDS
) -> T:
    """Repeats an idempotent call until it is answered, which it never is while there is no leader.

    Raises LogUnreachableError if there is no answer in time, or the connection has ended.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            # The library's own timeouts start only after it has sent the request.
            with translated():
                async with asyncio.timeout(attempt_seconds):
                    return await call()
        except LogUnreachableError as error:
            is_final = isinstance(error.__cause__, ConnectionClosedError)
            if is_final or asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(_RETRY_SECONDS)
