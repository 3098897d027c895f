"""A setting: a field of a configuration that is described once, checked, and known by several names.

The options of `engagement serve`, their environment variables and the table in docs/operations.md are derived
from these fields.
"""

from __future__ import annotations

from dataclasses import field, fields
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from engagement_server.errors import ConfigurationError

T = TypeVar("T")


class Bounds(NamedTuple):
    """What the value of a setting must lie between."""

    above: float | None
    at_least: int | None
    at_most: float | None

    def include(self, value: float) -> bool:
        """Whether a value lies between them."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        """The bounds in words, such as `from 1 to 64`."""
        if self.at_least is not None:
            return (
                f"at least {self.at_least}"
                if self.at_most is None
                else f"from {self.at_least} to {self.at_most}"
            )
        texts = []
        if self.above is not None:
            texts.append(f"more than {self.above:g}")
        if self.at_most is not None:
            texts.append(f"at most {self.at_most:g}")
        return " and ".join(texts)


def option_name(setting: str) -> str:
    """The option of the command line that a setting has, by which messages name it."""
    return f"--{setting.replace('_', '-')}"


def setting(  # noqa: PLR0913  # all but the default are named at the call
    default: T,
    *,
    help: str,  # noqa: A002  # the word of command lines
    metavar: str = "",
    above: float | None = None,
    at_least: int | None = None,
    at_most: float | None = None,
) -> T:
    """A field of a configuration, with everything that the command line and the documents say about it."""
    bounds = Bounds(above, at_least, at_most)
    described: Any = field(default=default, metadata={"help": help, "metavar": metavar, "bounds": bounds})
    return described  # type: ignore[no-any-return]  # dataclasses turns it into the default


def check_bounds(config: Any) -> None:  # Any: a dataclass with settings
    """Raises ConfigurationError if a setting lies outside its bounds."""
    for described in fields(config):
        value, bounds = getattr(config, described.name), described.metadata["bounds"]
        if not isinstance(value, int | float):
            continue
        if not isfinite(value):
            raise ConfigurationError(f"{option_name(described.name)} must be a number; got {value}")
        if not bounds.include(value):
            raise ConfigurationError(f"{option_name(described.name)} must be {bounds}; got {value}")


def require_address(name: str, value: str, *, example: str) -> None:
    """Raises ConfigurationError unless the value of a setting is HOST:PORT."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{option_name(name)} must be HOST:PORT, such as {example}; got {value!r}")
