"""A log line for each call that failed or was slow, and at debug level for every call."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from engagement_server.access.identities import NOBODY_ASKED
from engagement_server.telemetry.correlation import correlation
from engagement_server.telemetry.lines import FIELDS

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

    from engagement_server.api.grpc.call import Context

REQUEST_ID_KEY: Final = "x-request-id"
_MAX_REQUEST_ID_CHARACTERS: Final = 64
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an account may be called. The field holds anything before it is checked."""
_UNREMARKABLE: Final = frozenset({"OK", "CANCELLED"})
_ALARMING: Final = frozenset({"INTERNAL", "DATA_LOSS", "UNKNOWN"})
_log = logging.getLogger("engagement_server.calls")


def is_account(account_id: str) -> bool:
    """Whether an account may be called so."""
    return _ACCOUNT.fullmatch(account_id) is not None


class CallFacts:
    """What a call's line says about it, collected while it runs."""

    __slots__ = ("account_id", "cause", "events", "identity", "reason", "received", "sent")

    def __init__(self) -> None:
        self.account_id = ""
        """As the request has it, whether or not it is one."""
        self.reason = ""
        """Of the error that ended it."""
        self.cause = ""
        """Why a token is not accepted, which its caller is not told."""
        self.received = 0
        """Messages of a stream that the client has sent."""
        self.sent = 0
        """Messages of a stream that the server has sent."""
        self.events = 0
        """Events that the answer holds, or that a stream has sent."""
        self.identity = NOBODY_ASKED
        """Who makes the call, as soon as that is known."""


_facts: ContextVar[CallFacts] = ContextVar("facts")


def begin_facts() -> CallFacts:
    """The facts of a call that begins in the running task."""
    facts = CallFacts()
    _facts.set(facts)
    return facts


def current_facts() -> CallFacts:
    """The facts of the call that the running task handles."""
    facts = _facts.get(None)
    return CallFacts() if facts is None else facts


def caller_request_id(context: Context) -> str:
    """The id that the caller has given the request; empty without one that can be sent back."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            # With others the library replaces the status.
            is_sendable = value.isascii() and value.isprintable() and value == value.strip()
            return value if is_sendable and len(value) <= _MAX_REQUEST_ID_CHARACTERS else ""
    return ""


class CallLines:
    """Writes the lines of one method."""

    def __init__(self, method: MethodDescriptor, *, slow_seconds: float) -> None:
        """Unary calls that take longer than `slow_seconds` are slow; streams last as their clients like."""
        self._name = f"{method.containing_service.full_name}/{method.name}"
        self._is_stream = method.client_streaming or method.server_streaming
        self._slow_seconds = slow_seconds

    def note(self, code: str, context: Context, facts: CallFacts, *, seconds: float) -> None:
        """Writes the line of a call that has ended, if it gets one."""
        is_slow = seconds > self._slow_seconds and not self._is_stream
        if code in _UNREMARKABLE:
            level = logging.INFO if is_slow else logging.DEBUG
        else:
            level = logging.WARNING if code in _ALARMING else logging.INFO
        if not _log.isEnabledFor(level):
            return
        ids = correlation.get()
        if not ids.request_id and (request_id := caller_request_id(context)):
            correlation.set(ids._replace(request_id=request_id))
        text = "call failed" if code not in _UNREMARKABLE else "slow call" if is_slow else "call"
        _log.log(level, text, extra={FIELDS: self._fields(code, facts, seconds)})

    def _fields(self, code: str, facts: CallFacts, seconds: float) -> dict[str, str | int | float]:
        fields: dict[str, str | int | float] = {"method": self._name, "code": code}
        if facts.reason:
            fields["reason"] = facts.reason
        if facts.cause:
            fields["cause"] = facts.cause
        fields["seconds"] = round(seconds, 4)
        if is_account(facts.account_id):
            fields["account"] = facts.account_id
        if self._is_stream:
            fields |= {"messages_received": facts.received, "messages_sent": facts.sent}
        return fields
