"""What an operator can set about worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from engagement_server.settings import check_bounds, setting

MAX_WORKERS = 64


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Raises ConfigurationError if it makes no sense."""

    workers: int = setting(
        1,
        metavar="COUNT",
        above=0,
        at_most=MAX_WORKERS,
        help="Processes that take calls on the port, each with about a core to itself; one more writes for "
        "all of them. 1: a single process does both.",
    )

    def __post_init__(self) -> None:
        check_bounds(self)
