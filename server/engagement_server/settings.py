"""A setting: a field of a configuration that is described once, checked, and known by several names.

The options of `engagement serve`, their environment variables and the table in docs/operations.md are derived
from these fields.
"""

from __future__ import annotations

import re
from dataclasses import Field, field, fields
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from engagement_server.errors import ConfigurationError

T = TypeVar("T")


_MAX_SHOWN_CHARACTERS: Final = 60
_MAX_CHARACTERS: Final = 4_000
"""Of a text or a path; systems refuse longer paths."""
_PORT: Final = re.compile("[0-9]{1,5}")
_MAX_PORT: Final = 65_535
_HOST: Final = re.compile(r"[^\s:/\[\]]{1,253}|\[[0-9A-Fa-f:.]+(%[^\s\]]+)?\]")
"""A name or an address; one with colons is in brackets, or its last number would be the port."""
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "Path": (Path,),
}
_KINDS: Final = {
    "str": "text of at most 4000 characters",
    "int": "a whole number",
    "bool": "true or false",
    "Path": "a path of at most 4000 characters",
}


class Bounds(NamedTuple):
    """What the value of a setting must lie between."""

    above: float | None
    at_least: float | None
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
            least = _number_text(self.at_least)
            return (
                f"at least {least}"
                if self.at_most is None
                else f"from {least} to {_number_text(self.at_most)}"
            )
        texts = []
        if self.above is not None:
            texts.append(f"more than {_number_text(self.above)}")
        if self.at_most is not None:
            texts.append(f"at most {_number_text(self.at_most)}")
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
    at_least: float | None = None,
    at_most: float | None = None,
) -> T:
    """A field of a configuration, with everything that the command line and the documents say about it."""
    bounds = Bounds(above, at_least, at_most)
    described: Any = field(default=default, metadata={"help": help, "metavar": metavar, "bounds": bounds})
    return described  # type: ignore[no-any-return]  # dataclasses turns it into the default


def check_settings(config: Any) -> None:  # Any: a dataclass with settings
    """Raises ConfigurationError if a setting is of another type, or lies outside its bounds."""
    for described in fields(config):
        value = getattr(config, described.name)
        if not (value is None and is_optional(described)) and not _is_possible(described, value):
            raise ConfigurationError(f"{wanted(described)}; got {shown(value)}")


def is_optional(described: Field[Any]) -> bool:  # Any: fields are of many types
    """Whether a setting may be without a value."""
    return str(described.type).endswith(" | None")


def type_name(described: Field[Any]) -> str:  # Any: fields are of many types
    """The name of the type that a setting has if it has a value."""
    return str(described.type).removesuffix(" | None")


def wanted(described: Field[Any]) -> str:  # Any: fields are of many types
    """What a setting must be, such as `--workers must be a whole number from 1 to 64`."""
    kind = _KINDS.get(type_name(described), "a number")
    return f"{option_name(described.name)} must be {kind} {described.metadata['bounds']}".rstrip()


def shown(value: object) -> str:
    """The value of a setting for a message, shortened."""
    try:
        text = repr(str(value) if isinstance(value, Path) else value)
    except ValueError:  # a number that the interpreter refuses to write
        return "a number with thousands of digits"
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"


def _is_possible(described: Field[Any], value: Any) -> bool:  # Any: whatever a program has passed
    name = type_name(described)
    if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and name != "bool"):
        return False
    if isinstance(value, str | Path):  # the system would raise for others
        return "\0" not in str(value) and len(str(value)) <= _MAX_CHARACTERS
    bounds: Bounds = described.metadata["bounds"]
    return name == "bool" or (isinstance(value, int | float) and abs(value) < inf and bounds.include(value))


def _number_text(number: float) -> str:
    return f"{number:,.10g}".replace(",", "")


def require_address(name: str, value: str, *, example: str) -> None:
    """Raises ConfigurationError unless the value of a setting is HOST:PORT."""
    host, _, port = value.rpartition(":")
    if _PORT.fullmatch(port) is None or int(port) > _MAX_PORT or _HOST.fullmatch(host) is None:
        brackets = ", with an IPv6 address in brackets" if host.count(":") > 1 else ""
        raise ConfigurationError(
            f"{option_name(name)} must be HOST:PORT, such as {example}{brackets}; got {shown(value)}"
        )
