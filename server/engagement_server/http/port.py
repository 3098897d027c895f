"""Serves the management port from the event loop of the server, with bounds on what a client may hold.

It knows neither stores nor logs.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from engagement_server.errors import ConfigurationError
from engagement_server.http.config import DEFAULT_ADDRESS, OFF
from engagement_server.http.encrypting import EncryptedListener
from engagement_server.http.guard import everybody
from engagement_server.http.hosts import Hosts
from engagement_server.http.routes import application
from engagement_server.http.visitors import operators
from engagement_server.transport.exposure import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from starlette.applications import Starlette

    from engagement_server.access.identities import Credentials
    from engagement_server.http.checks import Readiness
    from engagement_server.http.config import HttpConfig
    from engagement_server.http.stats import StatsDocument
    from engagement_server.metrics.exposition import Exposition

MAX_CONNECTIONS: Final = 64
"""Connections at a time; more are closed at once."""
HEAD_SECONDS: Final = 5.0
"""How long the first request of a connection may take to arrive, and the next one to begin."""
CONNECTION_SECONDS: Final = 60.0
"""How long a connection may last, whatever its client reads or sends."""
_MAX_HEAD_BYTES: Final = 16 * 1024
_STOP_SECONDS: Final = 1
_BACKLOG: Final = 128

_log = logging.getLogger(__name__)


class ManagementPort:
    """A port that is listened on; `close` ends it."""

    def __init__(
        self,
        listening: socket.socket,
        server: uvicorn.Server,
        encrypted: EncryptedListener | None,
        *,
        address: str,
    ) -> None:
        self.address = address
        """HOST:PORT, with the actual port."""
        self.is_encrypted = encrypted is not None
        self._encrypted = encrypted
        self._listening = listening
        self._server = server

    @classmethod
    async def open(  # noqa: PLR0913  # all but five are named at the call
        cls,
        config: HttpConfig,
        readiness: Readiness,
        exposition: Exposition,
        stats: StatsDocument,
        *,
        listen: str,
        context: Callable[[], ssl.SSLContext] | None = None,
        credentials: Credentials | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> Self | None:
        """Serves health, metrics and stats of a server that will take calls at `listen`.

        With a `context`, which is asked for each connection, other machines get it over TLS only. With
        `credentials`, only operators get more than probes need; `on_refused` is told the addresses of others.
        None if there is to be no port, or if the default one cannot be had, which is logged. Raises
        ConfigurationError if that one was named.
        """
        if not config.is_on:
            return None
        address = config.http or _default_address(listen)
        if config.is_named and address == listen and not address.endswith(":0"):
            raise ConfigurationError(f"--http and --listen are both {address}; give each a port of its own")
        host, _, port = address.rpartition(":")
        try:
            listening = _listen(host, int(port), yielding_to="" if config.is_named else listen)
        except (OSError, UnicodeError) as error:
            if config.is_named:
                raise _cannot_serve(address, error) from error
            _log.warning("no health and no metrics over HTTP: %s", _cannot_serve(address, error))
            return None
        look = everybody if credentials is None else operators(credentials)
        hosts = Hosts(host, extra=config.extra_hosts)
        app = application(readiness, exposition, stats, hosts, look=look, on_refused=on_refused)
        server = _Server(app)
        encrypted = None
        if context is None or is_loopback(address):
            await server.startup(sockets=[listening])
        else:
            encrypted = EncryptedListener(listening, server.make_protocol, context)
        return cls(listening, server, encrypted, address=f"{host}:{listening.getsockname()[1]}")

    async def close(self) -> None:
        """Lets running requests end, for a moment, and releases the port."""
        if self._encrypted is not None:
            self._encrypted.close()
        await self._server.shutdown(sockets=[self._listening])


class _Server(uvicorn.Server):
    """The library's server without its main loop, which takes over signals and wakes ten times a second."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=int(HEAD_SECONDS),
            timeout_graceful_shutdown=_STOP_SECONDS,
            backlog=_BACKLOG,
        )
        super().__init__(config)
        config.load()
        self.lifespan = config.lifespan_class(config)
        self.servers: list[asyncio.base_events.Server] = []  # those that `startup` adds

    def make_protocol(self) -> asyncio.Protocol:
        """That of a new connection which the library has not accepted itself."""
        return _Protocol(self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Protocol(H11Protocol):
    """A connection that ends if its client is slow: the library bounds only the pause between requests."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # Any: as the library calls it
        super().__init__(*arguments, **named)
        self._deadlines: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._deadlines = [
            loop.call_later(HEAD_SECONDS, self._require_request),
            loop.call_later(CONNECTION_SECONDS, transport.abort),
        ]

    def connection_lost(self, exc: Exception | None) -> None:
        for deadline in self._deadlines:
            deadline.cancel()
        super().connection_lost(exc)

    def _require_request(self) -> None:
        if self.cycle is None:  # no head has arrived
            self.transport.abort()


def _default_address(listen: str) -> str:
    """Servers that take any port for calls, such as those of tests, must not fight over this one."""
    return "127.0.0.1:0" if listen.endswith(":0") else DEFAULT_ADDRESS


def _listen(host: str, port: int, *, yielding_to: str) -> socket.socket:
    """A socket that others cannot take any more, on another port than the address that calls will have.

    Raises OSError and UnicodeError.
    """
    if port and yielding_to.endswith(f":{port}"):
        raise OSError(errno.EADDRINUSE, "calls are taken there")
    targets = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, target = targets[0]
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignores connections in TIME_WAIT
        listening.bind(target)
        listening.listen(_BACKLOG)
        listening.setblocking(False)  # noqa: FBT003  # as the library calls it
    except BaseException:
        listening.close()
        raise
    return listening


def _cannot_serve(address: str, error: Exception) -> ConfigurationError:
    """An error that says why the port cannot be served, and what to do."""
    choice = f"choose another address with --http HOST:PORT, or --http {OFF}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConfigurationError(f"the host of --http {address} is not known here; {choice}")
    if isinstance(error, OSError) and error.errno != errno.EADDRINUSE:
        return ConfigurationError(f"cannot serve HTTP on {address}: {error.strerror}; {choice}")
    return ConfigurationError(
        f"{address}, for HTTP, is in use; stop the program that listens there, or {choice}"
    )
