"""What an operator can set. Only `app.py` reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from engagement_server.errors import ConfigurationError

MAX_PARTITIONS = 1024
MAX_WORKERS = 64
_LOG_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARTITIONS = re.compile(
    r"(?:(?P<served>\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)/)?(?P<count>\d{1,4})"
)


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one server; checks itself, raising ConfigurationError."""

    listen: str = field(
        default="127.0.0.1:50051", metadata={"help": "HOST:PORT to serve on; port 0 takes a free one"}
    )
    data_dir: Path = field(default=Path("data"), metadata={"help": "folder of the embedded store"})
    log: str = field(
        default="",
        metadata={
            "help": "servers of the replicated log, nats://HOST:PORT,…; empty: the embedded store is the log"
        },
    )
    log_name: str = field(
        default="engagement", metadata={"help": "what the streams of the replicated log are called"}
    )
    log_replicas: int = field(
        default=3, metadata={"help": "servers that keep each message of the replicated log"}
    )
    log_days: float = field(
        default=7.0,
        metadata={"help": "how long the replicated log keeps commits, and what was erased since"},
    )
    log_credentials: Path | None = field(
        default=None, metadata={"help": "file with the user's token and key for the replicated log"}
    )
    log_tls_ca: Path | None = field(
        default=None, metadata={"help": "certificates that the servers of the replicated log are trusted by"}
    )
    log_tls_certificate: Path | None = field(
        default=None, metadata={"help": "certificate that this server shows to the replicated log"}
    )
    log_tls_key: Path | None = field(default=None, metadata={"help": "key of that certificate"})
    partitions: str = field(
        default="1",
        metadata={"help": "how many partitions there are, or which of them are here, as 0-3,7/8"},
    )
    snapshot_hours: float = field(
        default=6.0, metadata={"help": "how often a snapshot of each partition is taken on some node"}
    )
    metrics: str = field(
        default="", metadata={"help": "HOST:PORT to answer `GET /metrics` on; empty: nowhere"}
    )
    max_view_age_seconds: float = field(
        default=10.0, metadata={"help": "how far behind the replicated log a server still takes calls"}
    )
    workers: int = field(
        default=1, metadata={"help": "processes that take calls; 1: the one that also writes, alone"}
    )
    reader_threads: int = field(
        default=4, metadata={"help": "threads that read the store, in each process that takes calls"}
    )
    heartbeat_seconds: float = field(
        default=15.0, metadata={"help": "longest silence of the server on a stream"}
    )
    max_stream_age_seconds: float = field(
        default=3600.0, metadata={"help": "age at which streams are closed, give or take a tenth"}
    )
    upload_idle_hours: float = field(
        default=24.0, metadata={"help": "how long an unfinished upload stays open after its last chunk"}
    )
    retention_days: float = field(
        default=396.0, metadata={"help": "how long events are kept after their acceptance"}
    )
    stop_grace_seconds: float = field(
        default=10.0, metadata={"help": "how long running calls may take to end when the server stops"}
    )

    def __post_init__(self) -> None:
        _require_address("listen", self.listen, example="127.0.0.1:50051")
        if self.workers > MAX_WORKERS:
            raise ConfigurationError(f"workers must be at most {MAX_WORKERS}; got {self.workers}")
        for name in (
            "workers",
            "reader_threads",
            "heartbeat_seconds",
            "max_stream_age_seconds",
            "upload_idle_hours",
            "retention_days",
            "stop_grace_seconds",
            "log_replicas",
            "log_days",
            "snapshot_hours",
            "max_view_age_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} must be more than 0; got {getattr(self, name)}")
        if self.log:
            self._require_log()
        elif self.partition_count > 1 or self.metrics:
            name = "metrics" if self.metrics else "partitions"
            raise ConfigurationError(f"{name} are of a replicated log; set log as well")

    def _require_log(self) -> None:
        """Checks what matters with a replicated log."""
        for server in self.log_servers or [self.log]:
            _require_log_server(server)
        if not _LOG_NAME.fullmatch(self.log_name):
            raise ConfigurationError(
                f"log_name must be of letters, digits, - and _, at most 64; got {self.log_name!r}"
            )
        if self.metrics:
            _require_address("metrics", self.metrics, example="127.0.0.1:9464")
        self._parse_partitions()
        if 2 * self.snapshot_hours > 24 * self.log_days:
            raise ConfigurationError(
                f"the log must keep at least two snapshots' worth: snapshot_hours {self.snapshot_hours:g}"
                f" is more than half of log_days {self.log_days:g}"
            )
        if (self.log_tls_certificate is None) != (self.log_tls_key is None):
            raise ConfigurationError("log_tls_certificate and log_tls_key belong together; set both or none")

    @property
    def log_servers(self) -> list[str]:
        """Addresses of the replicated log, a server each."""
        return [server.strip() for server in self.log.split(",") if server.strip()]

    @property
    def partition_count(self) -> int:
        """How many partitions there are, here and elsewhere."""
        return self._parse_partitions()[1]

    @property
    def served_partitions(self) -> list[int]:
        """The numbers of those that are here."""
        return self._parse_partitions()[0]

    def _parse_partitions(self) -> tuple[list[int], int]:
        """Those that are here, and how many there are. Raises ConfigurationError."""
        match = _PARTITIONS.fullmatch(self.partitions)
        count = 0 if match is None else int(match["count"])
        if match is None or not 0 < count <= MAX_PARTITIONS:
            raise ConfigurationError(
                f"partitions must be a number up to {MAX_PARTITIONS}, or which of how many, such as"
                f" 0-3,7/8; got {self.partitions!r}"
            )
        served: set[int] = set()
        for part in (match["served"] or f"0-{count - 1}").split(","):
            first, _, last = part.partition("-")
            served.update(range(int(first), int(last or first) + 1))
        if not served or max(served) >= count:
            raise ConfigurationError(
                f"partitions of {count} have the numbers 0 to {count - 1}; got {self.partitions!r}"
            )
        return sorted(served), count


def _require_address(name: str, value: str, *, example: str) -> None:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{name} must be HOST:PORT, such as {example}; got {value!r}")


def _require_log_server(url: str) -> None:
    """What is wrong is told without the address: it may hold a password."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ConfigurationError(
            "log must be addresses such as nats://HOST:4222 or tls://USER:PASSWORD@HOST:4222, separated by"
            " commas; one is none of these"
        )
