"""Finds misspelt environment variables, which would otherwise change nothing without a word."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PREFIX: Final = "ENGAGEMENT_"
# Kubernetes sets these in each container, for a service that is called `engagement` or begins so.
_OF_SERVICES: Final = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_LIKENESS: Final = 0.8
"""Of a misspelt name, 1 being the name; one letter more, less or other in a name of five is 0.8 at least."""


def require_spelled(variables: Iterable[str], *, settings: Collection[str]) -> None:
    """Raises ConfigurationError if a variable is nearly the one of a setting; others are left alone."""
    suffixes = [setting.removeprefix(PREFIX) for setting in settings]
    for name in sorted(variables):
        capitals = name.upper()
        if not capitals.startswith(PREFIX) or name in settings or _OF_SERVICES.fullmatch(capitals):
            continue
        if near := get_close_matches(capitals.removeprefix(PREFIX), suffixes, n=1, cutoff=_LIKENESS):
            raise ConfigurationError(
                f"the environment variable {name} is no setting; did you mean {PREFIX}{near[0]}?"
            )
