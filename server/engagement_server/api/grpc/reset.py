"""Ends a call of a client at once, and drops what waits for the client's window.

The library's asyncio API cannot: an abort sends its status after everything that was written before, and a
cancelled handler leaves its call open. Its core can, through an object that only some functions of its module
get to see: docs/decisions/0035-nothing-erased-is-sent.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # private: the stubs leave it out

if TYPE_CHECKING:
    from engagement_server.api.grpc.call import Context

_core: Any = cygrpc  # Any: it has no types


def reset_call(context: Context, *, message: str) -> None:
    """Sends UNAVAILABLE ahead of all pending messages, and drops these.

    The call must be running. Raises RuntimeError if this version of the library works differently.
    """
    failure: Exception | None = RuntimeError("this version of grpcio cannot reset calls")

    def cancel(call: Any) -> None:  # Any: the core's type for a call
        nonlocal failure
        try:
            call.cancel(_core.StatusCode.unavailable, message)
            failure = None
        except Exception as error:  # the context must get its call back
            failure = error

    original = _core.peer_identities
    _core.peer_identities = cancel
    try:
        context.peer_identities()  # passes the core's call to that function
    finally:
        _core.peer_identities = original
    if failure is not None:
        raise failure
