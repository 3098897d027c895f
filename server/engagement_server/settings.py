"""A setting: a field of a configuration that is described once, checked, and known by several names.

The options of `engagement serve`, their environment variables and the table in docs/operations.md are derived
from these fields.
"""

from __future__ import annotations

from dataclasses import field, fields
from math import isfinite
from typing import Any, TypeVar

from engagement_server.errors import ConfigurationError

T = TypeVar("T")


def setting(  # all but the default are named at the call
    default: T,
    *,
    help: str,  # noqa: A002  # the word of command lines
    metavar: str = "",
    above: float | None = None,
    at_most: float | None = None,
) -> T:
    """A field of a configuration, with everything that the command line and the documents say about it."""
    bounds = {"above": above, "at_most": at_most}
    described: Any = field(default=default, metadata={"help": help, "metavar": metavar, **bounds})
    return described  # type: ignore[no-any-return]  # dataclasses turns it into the default


def check_bounds(config: Any) -> None:  # Any: a dataclass with settings
    """Raises ConfigurationError if a setting lies outside its bounds."""
    for described in fields(config):
        value, above = getattr(config, described.name), described.metadata["above"]
        at_most = described.metadata["at_most"]
        if value is None:
            continue
        if isinstance(value, float) and not isfinite(value):
            raise ConfigurationError(f"{described.name} must be a number; got {value}")
        if above is not None and value <= above:
            raise ConfigurationError(f"{described.name} must be more than {above:g}; got {value}")
        if at_most is not None and value > at_most:
            raise ConfigurationError(f"{described.name} must be at most {at_most:g}; got {value}")


def require_address(name: str, value: str, *, example: str) -> None:
    """Raises ConfigurationError unless the value of a setting is HOST:PORT."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{name} must be HOST:PORT, such as {example}; got {value!r}")
