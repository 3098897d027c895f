"""What an operator can set. Only `app.py` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engagement_server.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one server; checks itself, raising ConfigurationError."""

    listen: str = field(
        default="127.0.0.1:50051", metadata={"help": "HOST:PORT to serve on; port 0 takes a free one"}
    )
    data_dir: Path = field(default=Path("data"), metadata={"help": "folder of the embedded store"})
    reader_threads: int = field(default=4, metadata={"help": "threads that read the store"})
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
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigurationError(
                f"listen must be HOST:PORT, such as 127.0.0.1:50051; got {self.listen!r}"
            )
        for name in (
            "reader_threads",
            "heartbeat_seconds",
            "max_stream_age_seconds",
            "upload_idle_hours",
            "retention_days",
            "stop_grace_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} must be more than 0; got {getattr(self, name)}")
