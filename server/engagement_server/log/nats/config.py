"""What an operator can set about the replicated log."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engagement_server.faults import ConfigurationError
from engagement_server.settings import check_bounds, require_address, setting

_LOG_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Raises ConfigurationError if it makes no sense. Without servers there is no replicated log."""

    log: str = setting(
        "",
        metavar="URLS",
        help="Servers of the replicated log, as nats://[USER:PASSWORD@]HOST:PORT,… or tls://… "
        "Without it everything is in the data folder, on this machine.",
    )
    log_name: str = setting(
        "engagement",
        metavar="NAME",
        help="Name of the log's streams. Servers with the same name form one service.",
    )
    log_replicas: int = setting(
        3, metavar="COUNT", above=0, at_most=5, help="Servers of the log that keep each commit."
    )
    log_days: float = setting(
        7.0,
        metavar="DAYS",
        above=0,
        help="How long the log keeps commits, and with them what was erased since.",
    )
    log_credentials: Path | None = setting(
        None, metavar="FILE", help="Credentials for the log: a user's token and key (.creds)."
    )
    log_tls_ca: Path | None = setting(
        None,
        metavar="FILE",
        help="Certificates (PEM) to trust the log's servers by, instead of the system's.",
    )
    log_tls_cert: Path | None = setting(
        None, metavar="FILE", help="Certificate (PEM) that this server shows to the log."
    )
    log_tls_key: Path | None = setting(None, metavar="FILE", help="Key of that certificate.")
    snapshot_hours: float = setting(
        6.0,
        metavar="HOURS",
        above=0,
        help="Interval at which one of the nodes puts a snapshot into the log, for new nodes to start from.",
    )
    max_view_age_seconds: float = setting(
        10.0, metavar="SECONDS", above=0, help="Refuse writes when the node is this far behind the log."
    )
    metrics: str = setting(
        "",
        metavar="HOST:PORT",
        help="Where to answer GET /metrics with measurements of the log, for Prometheus.",
    )

    def __post_init__(self) -> None:
        check_bounds(self)
        if not self.log:
            if self.metrics:
                raise ConfigurationError("metrics are of a replicated log; set log as well")
            return
        for server in self.servers or [self.log]:
            _require_server(server)
        if not _LOG_NAME.fullmatch(self.log_name):
            raise ConfigurationError(
                f"log_name must be of letters, digits, - and _, at most 64; got {self.log_name!r}"
            )
        if self.metrics:
            require_address("metrics", self.metrics, example="127.0.0.1:9464")
        if 2 * self.snapshot_hours > 24 * self.log_days:
            raise ConfigurationError(
                f"the log must keep at least two snapshots' worth: snapshot_hours {self.snapshot_hours:g}"
                f" is more than half of log_days {self.log_days:g}"
            )
        if (self.log_tls_cert is None) != (self.log_tls_key is None):
            raise ConfigurationError("log_tls_cert and log_tls_key belong together; set both or none")

    @property
    def servers(self) -> list[str]:
        """Addresses of the log's servers; none if there is no replicated log."""
        return [server.strip() for server in self.log.split(",") if server.strip()]

    def tls(self) -> ssl.SSLContext | None:
        """Trust for the log's servers; None if in plain text. Raises ConfigurationError."""
        if self.log_tls_ca is None and not any(server.startswith("tls://") for server in self.servers):
            return None
        try:
            context = ssl.create_default_context(cafile=self.log_tls_ca)
            if self.log_tls_cert is not None:
                context.load_cert_chain(self.log_tls_cert, self.log_tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"the certificates for the log cannot be used: {error}") from error
        return context


def _require_server(url: str) -> None:
    """Raises ConfigurationError, without the address: it may hold a password."""
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_server = False
    if not is_server:
        raise ConfigurationError(
            "log must be addresses such as nats://HOST:4222 or tls://USER:PASSWORD@HOST:4222, separated by"
            " commas; one of them is not"
        )
