"""Who sends events, and what its grant restricts about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Producer:
    """The caller of something that brings events. By default it may send whatever it likes."""

    principal: str = ""
    """Its name in the grants; empty if nobody was asked."""
    is_admin: bool = True
    """Whether uploads of others are open to it."""
    sources: frozenset[str] = frozenset()
    """Values of `Event.source` that it may send; empty: all."""
    may_authenticate: bool = True
    """Whether it may set `Event.authenticated`."""
    is_publishable: bool = False
    """Whether its credentials are in other people's hands: then both are set for it, whatever it sends."""


ANYBODY: Final = Producer()
