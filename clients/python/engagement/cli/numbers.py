"""Numbers on the command line, with errors that name their bounds in words."""

from __future__ import annotations

import math
from typing import Any

import click


class WholeNumber(click.ParamType[int]):
    """A whole number that is not too small."""

    name = "integer"

    def __init__(self, *, at_least: int) -> None:
        self._at_least = at_least

    # Any: as click passes it.
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises BadParameter."""
        number: int = click.INT.convert(value, param, ctx)
        if number < self._at_least:
            self.fail(f"must be at least {self._at_least}; got {number}", param, ctx)
        return number


class Days(click.ParamType[float]):
    """A length of time, not too long."""

    name = "days"

    def __init__(self, *, at_most: int) -> None:
        self._at_most = at_most

    # Any: as click passes it.
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises BadParameter."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if math.isnan(number) or not 0 < number <= self._at_most:
            self.fail(f"must be more than 0 and at most {self._at_most}; got {value}", param, ctx)
        return number
