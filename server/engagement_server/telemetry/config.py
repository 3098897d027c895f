"""The settings of log lines."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from engagement_server.errors import ConfigurationError
from engagement_server.settings import check_settings, option_name, setting, shown

TEXT: Final = "text"
JSON: Final = "json"
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class LogLineConfig:
    """Raises ConfigurationError if a setting makes no sense."""

    log_format: str = setting(
        TEXT,
        metavar=f"{TEXT}|{JSON}",
        help="Log lines as text for people, or as JSON objects for programs, one a line.",
    )
    log_level: str = setting(
        "info",
        metavar="|".join(_LEVELS),
        help="Least severity of the server's log lines; debug has a line for each call.",
    )
    slow_call_seconds: float = setting(
        1.0,
        metavar="SECONDS",
        at_least=0,
        at_most=3_600,
        help="Log calls that take longer, besides those that fail; of streams, only those that fail.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _require_one_of("log_format", self.log_format, (TEXT, JSON))
        _require_one_of("log_level", self.log_level, tuple(_LEVELS))

    @property
    def level(self) -> int:
        """The least severity, as `logging` numbers it."""
        return _LEVELS[self.log_level]


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        choices = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise ConfigurationError(f"{option_name(name)} must be {choices}; got {shown(value)}")


DEFAULT_LINES: Final = LogLineConfig()
