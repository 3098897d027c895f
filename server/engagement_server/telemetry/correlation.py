"""The ids by which log lines, traces and answers of one call are found together."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Correlation(NamedTuple):
    """The ids of the call that is being handled."""

    request_id: str = ""
    """Of the caller, or made by the server; it is sent back with errors."""
    trace_id: str = ""
    """32 hexadecimal digits; empty if the call is not traced."""
    span_id: str = ""
    """16 hexadecimal digits; empty if the call is not traced."""


NONE = Correlation()
correlation: ContextVar[Correlation] = ContextVar("correlation", default=NONE)
"""Of the call that the running task handles; `NONE` outside of calls."""
