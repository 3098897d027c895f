"""The setting of worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from engagement_server.settings import check_settings, setting

MAX_WORKERS = 64


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Raises ConfigurationError if the number is out of bounds."""

    workers: int = setting(
        1,
        metavar="COUNT",
        at_least=1,
        at_most=MAX_WORKERS,
        help="Processes that serve calls on the port, each using about one core; one more process writes for "
        "all of them. 1: a single process does both.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
