"""The W3C context of a trace: which trace and span a piece of work belongs to, as processes tell each other.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
_MAX_STATE_CHARACTERS: Final = 512
# Of a later version, only the first four fields have a known meaning; there may be more.
_PARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?"
)
_SAMPLED: Final = 0x01
_FIRST_VERSION: Final = "00"
_NO_VERSION: Final = "ff"


class SpanContext(NamedTuple):
    """Identifies a span, of this process or of another one."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    is_sampled: bool = True
    state: str = ""
    """What the systems before have added for themselves."""
    is_remote: bool = False

    @property
    def traceparent(self) -> str:
        """The context as a header."""
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"

    def child(self) -> SpanContext:
        """The context of a new span of this process in the same trace."""
        return SpanContext(self.trace_id, secrets.token_hex(8), state=self.state)


def new_context() -> SpanContext:
    """The context of the first span of a trace."""
    return SpanContext(secrets.token_hex(16), secrets.token_hex(8))


def parse_context(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The context that another process has sent; None if it is not valid, and then it counts as not sent."""
    found = _PARENT.fullmatch(traceparent)
    if found is None or found["version"] == _NO_VERSION:
        return None
    if found["version"] == _FIRST_VERSION and found["rest"]:
        return None
    if not int(found["trace_id"], 16) or not int(found["span_id"], 16):
        return None
    is_kept = len(tracestate) <= _MAX_STATE_CHARACTERS and tracestate.isascii() and tracestate.isprintable()
    return SpanContext(
        found["trace_id"],
        found["span_id"],
        is_sampled=bool(int(found["flags"], 16) & _SAMPLED),
        state=tracestate if is_kept else "",
        is_remote=True,
    )
