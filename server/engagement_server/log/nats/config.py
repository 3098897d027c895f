"""The settings of the replicated log."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from engagement_server.errors import ConfigurationError
from engagement_server.settings import check_settings, option_name, setting, shown

_MAX_CREDENTIALS_BYTES: Final = 64 * 1024
_MARKS_OF_CREDENTIALS: Final = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")
_LOG_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Without servers there is no replicated log. Raises ConfigurationError if settings are inconsistent."""

    log: str = setting(
        "",
        metavar="URLS",
        help="Servers of the replicated log, as nats://[USER:PASSWORD@]HOST:PORT,… or tls://… "
        "Without it, all data is in the data folder on this machine.",
    )
    log_name: str = setting(
        "engagement",
        metavar="NAME",
        help="Name of the log's streams. Servers with the same name form one service.",
    )
    log_replicas: int = setting(
        3, metavar="COUNT", at_least=1, at_most=5, help="Servers of the log that keep each commit."
    )
    log_days: float = setting(
        7.0,
        metavar="DAYS",
        at_least=0.1,
        at_most=36_500,
        help="How long the log keeps commits, including data that was erased since.",
    )
    log_credentials: Path | None = setting(
        None, metavar="FILE", help="Credentials for the log: a user's token and key (.creds)."
    )
    log_tls_ca: Path | None = setting(
        None,
        metavar="FILE",
        help="Certificates (PEM) of the authorities to trust for the log's servers, instead of the system's.",
    )
    log_tls_cert: Path | None = setting(
        None, metavar="FILE", help="Certificate (PEM) that this server presents to the log."
    )
    log_tls_key: Path | None = setting(None, metavar="FILE", help="Private key (PEM) of that certificate.")
    snapshot_hours: float = setting(
        6.0,
        metavar="HOURS",
        at_least=0.0001,
        at_most=8_760,
        help="Interval of the snapshots that new nodes start from; one of the nodes takes each.",
    )
    max_view_age_seconds: float = setting(
        10.0,
        metavar="SECONDS",
        at_least=1,
        at_most=86_400,
        help="Refuse writes when the node is this far behind the log.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.log:
            self._require_nothing_else()
            return
        for server in self.servers or [self.log]:
            _require_server(server)
        if not _LOG_NAME.fullmatch(self.log_name):
            raise ConfigurationError(
                f"--log-name must be 1 to 64 letters, digits, - and _; got {shown(self.log_name)}"
            )
        if 2 * self.snapshot_hours > 24 * self.log_days:
            raise ConfigurationError(
                f"the log must keep the commits of two snapshot intervals: --snapshot-hours"
                f" {self.snapshot_hours:g} is more than half of --log-days {self.log_days:g}"
            )
        if (self.log_tls_cert is None) != (self.log_tls_key is None):
            raise ConfigurationError("--log-tls-cert and --log-tls-key belong together; give both or none")

    @property
    def servers(self) -> list[str]:
        """Addresses of the log's servers; empty if there is no replicated log."""
        return [server.strip() for server in self.log.split(",") if server.strip()]

    def tls(self) -> ssl.SSLContext | None:
        """TLS settings for the log's servers; None for plain text. Raises ConfigurationError."""
        if self.log_tls_ca is None and not any(server.startswith("tls://") for server in self.servers):
            return None
        try:
            context = ssl.create_default_context(cafile=self.log_tls_ca)
        except OSError as error:
            raise _unusable("--log-tls-ca", self.log_tls_ca, error, holds="certificates (PEM)") from error
        if self.log_tls_cert is None:
            return context
        try:
            # Without a password, the library would ask for that of a locked key on the terminal.
            context.load_cert_chain(self.log_tls_cert, self.log_tls_key, password="")
        except OSError as error:
            files = f"{self.log_tls_cert} and {self.log_tls_key}"
            raise _unusable(
                "--log-tls-cert and --log-tls-key", files, error, holds="a certificate and its key (PEM)"
            ) from error
        return context

    def require_usable(self) -> None:
        """Raises ConfigurationError unless the files that the settings name can be used."""
        self.tls()
        if self.log_credentials is None:
            return
        try:
            with self.log_credentials.open("rb") as file:
                text = file.read(_MAX_CREDENTIALS_BYTES)
        except OSError as error:
            raise _unusable("--log-credentials", self.log_credentials, error) from error
        if not all(mark in text for mark in _MARKS_OF_CREDENTIALS):
            raise ConfigurationError(
                f"--log-credentials {self.log_credentials} must hold a user's token and key, as `nsc generate"
                " creds` writes them; it holds something else"
            )

    def _require_nothing_else(self) -> None:
        """Raises ConfigurationError for settings of a log that is not there: it was probably forgotten."""
        for described in fields(self):
            if getattr(self, described.name) != described.default:
                raise ConfigurationError(
                    f"{option_name(described.name)} is for a replicated log, and there is none; give --log as"
                    " well, or leave it out"
                )


def _unusable(
    option: str, files: Path | str | None, error: OSError, *, holds: str = ""
) -> ConfigurationError:
    """An error that names the files of an option, in our words where the library has only codes."""
    cause = f"expected {holds}" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigurationError(
        f"{option} {files} cannot be used: {cause}; name a file that this process can read"
    )


def _require_server(url: str) -> None:
    """Raises ConfigurationError without the address, which may hold a password."""
    try:
        address = urlsplit(url)
        is_server = address.scheme in {"nats", "tls"} and bool(address.hostname) and address.port != 0
    except ValueError:
        is_server = False
    if not is_server:
        raise ConfigurationError(
            "--log must be addresses such as nats://HOST:4222 or tls://USER:PASSWORD@HOST:4222, separated by"
            " commas; one of them is not"
        )
