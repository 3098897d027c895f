"""A stream that a client has opened, and the token that it was opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_Call = TypeVar("_Call")


@dataclass(frozen=True, slots=True)
class OpenStream(Generic[_Call]):
    """A running call, and what to do when the server says that its token has expired."""

    call: _Call
    discard_token: Callable[[], object]
    """Lets the next stream ask for another token, if there is a function to ask."""
