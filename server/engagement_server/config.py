"""What an operator can set about any server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engagement_server.errors import ConfigurationError
from engagement_server.governor.memory import (
    MIB,
    MIN_PROCESS_BYTES,
    MemoryPlan,
    default_limit_bytes,
    parse_size,
    plan,
)
from engagement_server.settings import check_settings, require_address, setting, shown
from engagement_server.transport.served_certificate import CertificatePaths

MAX_PARTITIONS = 1024
MAX_AGE_SECONDS = 1_500_000
"""For connections, and for the streams that they wait for: the library counts milliseconds in 31 bits."""
_PARTITIONS = re.compile(
    r"(?:(?P<served>[0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*)/)?(?P<count>[0-9]{1,4})"
)


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of any server. Raises ConfigurationError if it makes no sense."""

    listen: str = setting(
        "127.0.0.1:50051",
        metavar="HOST:PORT",
        help="Address to listen on. The default takes calls from this machine only; port 0 picks a free one.",
    )
    tls_cert: Path | None = setting(
        None,
        metavar="FILE",
        help="Certificate (PEM) with its chain, to take calls over TLS. It is read again when it changes, "
        "and on SIGHUP.",
    )
    tls_key: Path | None = setting(None, metavar="FILE", help="Private key (PEM) of that certificate.")
    mtls_listen: str = setting(
        "",
        metavar="HOST:PORT",
        help="A second address for calls, which takes only clients with a certificate of --mtls-ca.",
    )
    mtls_ca: Path | None = setting(
        None,
        metavar="FILE",
        help="Certificates (PEM) of the authorities to trust for clients at --mtls-listen.",
    )
    insecure_no_tls: bool = setting(
        default=False,
        help="Listen on addresses that other machines reach without TLS, because a proxy in front encrypts.",
    )
    insecure_no_auth: bool = setting(
        default=False,
        help="Listen on addresses that other machines reach without asking callers who they are: a proxy in "
        "front asks.",
    )
    data: Path = setting(
        Path("data"),
        metavar="DIR",
        help="Folder that holds everything the server stores; created if missing.",
    )
    retention_days: float | None = setting(
        None,
        metavar="DAYS",
        above=0,
        at_most=36_500,
        help="Remove events this long after their acceptance; 396 for a new store. It is kept with the data: "
        "a server with another value is refused, and `engagement retention set` changes it.",
    )
    allow_short_retention: bool = setting(
        default=False,
        help="Allow a retention of less than a day, whose first expiry may then remove most events.",
    )
    reserve_megabytes: int = setting(
        64,
        metavar="MIB",
        at_least=0,
        at_most=65_536,
        help="Disk space to keep for expiry and erasure, so that they work on a full disk; 0 keeps none.",
    )
    upload_idle_hours: float = setting(
        24.0,
        metavar="HOURS",
        above=0,
        at_most=87_600,
        help="Keep an unfinished upload this long after its last chunk.",
    )
    heartbeat_seconds: float = setting(
        15.0,
        metavar="SECONDS",
        at_least=0.01,
        at_most=3_600,
        help="Longest silence of the server on a stream.",
    )
    max_stream_age_seconds: float = setting(
        3600.0,
        metavar="SECONDS",
        above=0,
        at_most=604_800,
        help="Close streams at this age, give or take a tenth.",
    )
    lame_duck_seconds: float = setting(
        0.0,
        metavar="SECONDS",
        at_least=0,
        at_most=3600,
        help="When the server stops, report NOT_SERVING and go on taking calls for this long, so that load "
        "balancers notice first. A second signal ends it.",
    )
    stop_grace_seconds: float = setting(
        10.0,
        metavar="SECONDS",
        above=0,
        at_most=86_400,
        help="Let running calls take this long to end when the server stops.",
    )
    reader_threads: int = setting(
        4,
        metavar="COUNT",
        at_least=1,
        at_most=64,
        help="Threads that read the store, in each process that takes calls.",
    )
    max_memory: str = setting(
        "",
        metavar="SIZE",
        help="Memory that all processes of the server may take together, such as 512M, 1.5G or 2G. "
        "Without it, three quarters of what the container or the machine has.",
    )
    max_connections: int = setting(
        5_000,
        metavar="COUNT",
        at_least=1,
        at_most=1_000_000,
        help="Connections at a time, in each process that takes calls; more are closed at once.",
    )
    max_connection_age_seconds: float = setting(
        0.0,
        metavar="SECONDS",
        at_least=0,
        at_most=MAX_AGE_SECONDS,
        help="Let clients open a new connection at this age, give or take a tenth, so that they spread over "
        "new servers; 0: at no age. Streams stay until they are closed at their own age.",
    )
    max_calls_per_connection: int = setting(
        1_000,
        metavar="COUNT",
        at_least=1,
        at_most=1_000_000,
        help="Calls and streams at a time on one connection; more are refused as OVERLOADED.",
    )
    trace_endpoint: str = setting(
        "",
        metavar="URL",
        help="Collector to send traces to, by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces. "
        "Without it, nothing is traced.",
    )
    trace_sampling: float = setting(
        0.01,
        metavar="RATIO",
        at_least=0,
        at_most=1,
        help="Part of the calls, and of the chunks of uploads, to trace unless their caller has decided.",
    )
    partitions: str = setting(
        "1",
        metavar="COUNT|LIST/COUNT",
        help="Number of partitions that accounts are spread over, or which of them this node serves, as in "
        "0-3,7/8. The number can never be changed. More than one needs a replicated log.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.retention_days is not None and self.retention_days < 1 and not self.allow_short_retention:
            raise ConfigurationError(
                f"--retention-days is less than a day, which removes almost everything; give"
                f" --allow-short-retention as well to mean it; got {self.retention_days:g}"
            )
        if self.max_memory and parse_size(self.max_memory) is None:
            raise ConfigurationError(
                f"--max-memory must be a size such as 512M, 1.5G or 2G; got {shown(self.max_memory)}"
            )
        require_address("listen", self.listen, example="127.0.0.1:50051")
        _check_tls(self)
        _check_collector(self.trace_endpoint)
        self._parse_partitions()

    @property
    def certificate_paths(self) -> CertificatePaths | None:
        """Where the certificate is; None if the server does not encrypt."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return CertificatePaths(self.tls_cert, self.tls_key, self.mtls_ca)

    @property
    def max_memory_bytes(self) -> int:
        """Memory that all processes of the server may take together."""
        size_bytes = parse_size(self.max_memory)
        return default_limit_bytes() if size_bytes is None else size_bytes

    def memory_plan(self, *, processes: int) -> MemoryPlan:
        """The share of each of some processes. Raises ConfigurationError if it is too small to serve."""
        if self.max_memory_bytes < processes * MIN_PROCESS_BYTES:
            least = f"{processes * MIN_PROCESS_BYTES // MIB}M"
            raise ConfigurationError(
                f"the server needs at least {least} of memory"
                + (f" for {processes} processes" if processes > 1 else "")
                + f", and may take {self.max_memory_bytes // MIB}M; set --max-memory to {least} or more"
                + (", or run fewer workers" if processes > 1 else "")
            )
        return plan(self.max_memory_bytes, processes=processes, partitions=len(self.served_partitions))

    @property
    def partition_count(self) -> int:
        """How many partitions there are, here and elsewhere."""
        return self._parse_partitions()[1]

    @property
    def served_partitions(self) -> list[int]:
        """Numbers of the partitions that this node serves."""
        return self._parse_partitions()[0]

    def _parse_partitions(self) -> tuple[list[int], int]:
        """The served partitions, and the number of all. Raises ConfigurationError."""
        match = _PARTITIONS.fullmatch(self.partitions)
        count = 0 if match is None else int(match["count"])
        if match is None or not 0 < count <= MAX_PARTITIONS:
            raise ConfigurationError(
                f"--partitions must be a number up to {MAX_PARTITIONS}, or which of how many, such as"
                f" 0-3,7/8; got {shown(self.partitions)}"
            )
        served: set[int] = set()
        for numbers in (match["served"] or f"0-{count - 1}").split(","):
            first, _, last = numbers.partition("-")
            served.update(range(int(first), int(last or first) + 1))
        if not served or max(served) >= count:
            raise ConfigurationError(
                f"the partitions of {count} have the numbers 0 to {count - 1}; got {shown(self.partitions)}"
            )
        return sorted(served), count


def _check_tls(config: Config) -> None:
    """Raises ConfigurationError unless what TLS needs is given as a whole."""
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key belong together; give both or none")
    if bool(config.mtls_listen) != (config.mtls_ca is not None):
        raise ConfigurationError("--mtls-listen and --mtls-ca belong together; give both or none")
    if not config.mtls_listen:
        return
    require_address("mtls_listen", config.mtls_listen, example="127.0.0.1:50052")
    if config.tls_cert is None:
        raise ConfigurationError(
            "--mtls-listen needs the server's own certificate; give --tls-cert and --tls-key"
        )
    if config.mtls_listen == config.listen and not config.listen.endswith(":0"):
        raise ConfigurationError(
            f"--mtls-listen must be another address than --listen; both are {config.listen}"
        )


def _check_collector(url: str) -> None:
    """Raises ConfigurationError unless this is the URL of a collector; it may hold a password."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        is_whole = False
    if not is_whole or parts.path in {"", "/"}:
        raise ConfigurationError(
            "--trace-endpoint must be a whole URL, such as http://127.0.0.1:4318/v1/traces"
        )
    if parts.username is not None:
        raise ConfigurationError(
            "--trace-endpoint must hold no password; give credentials in OTEL_EXPORTER_OTLP_HEADERS"
        )
