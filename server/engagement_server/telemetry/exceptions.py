"""Exceptions as text for log lines: where they were raised, without values that callers have sent."""

from __future__ import annotations

import traceback
from typing import Final

from engagement_server.errors import RequestError

_MAX_CHAIN: Final = 8
"""Exceptions of one text: causes, what was handled meanwhile, and members of groups."""
_MAX_FRAMES: Final = 40
"""Of each exception, those closest to where it was raised."""
_QUOTES_VALUES: Final = (LookupError, ValueError, RequestError)
"""Exceptions whose text quotes what they were given: the key that is missing, the id that is taken."""
_LEFT_OUT: Final = "(text left out, which may quote a value)"
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


def exception_text(error: BaseException) -> str:
    """The trace of an exception and of those that led to it, the last one last, as Python prints it."""
    parts: list[str] = []
    _add(error, parts, seen=set())
    return "".join(parts).rstrip("\n")


def summary(error: BaseException) -> str:
    """The name of an exception, and its text unless that may quote a value."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, RequestError):
        return f"{name}: {error.reason}"
    if isinstance(error, _QUOTES_VALUES):
        return f"{name}: {_LEFT_OUT}"
    try:
        text = str(error)
    except Exception:  # any code may run there
        return f"{name}: (its text cannot be made)"
    return f"{name}: {text}" if text else name


def _add(error: BaseException, parts: list[str], *, seen: set[int]) -> None:
    seen.add(id(error))
    earlier, joint = error.__cause__, _CAUSED
    if earlier is None and not error.__suppress_context__:
        earlier, joint = error.__context__, _MEANWHILE
    if earlier is not None and id(earlier) not in seen and len(seen) < _MAX_CHAIN:
        _add(earlier, parts, seen=seen)
        parts.append(joint)
    if error.__traceback__ is not None:
        parts.append("Traceback (most recent call last):\n")
        parts += traceback.format_tb(error.__traceback__, limit=-_MAX_FRAMES)
    parts.append(f"{summary(error)}\n")
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            if id(member) not in seen and len(seen) < _MAX_CHAIN:
                parts.append("\nOf the group:\n\n")
                _add(member, parts, seen=seen)
