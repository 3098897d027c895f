"""A call as handlers see it, whichever protocol carries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement_server.access.identities import Identity
    from engagement_server.governor.turns import Caller
    from engagement_server.streams.closing import Cause


class Call(Protocol):
    """A running call. A handler ends it by returning, or by raising the RequestError that refuses it."""

    account_id: str
    """The account that the request names; empty if it names none, and until a stream's first message.

    Setting it raises AccountMismatchError if the metadata names another one.
    """

    @property
    def identity(self) -> Identity:
        """Who makes the call."""

    @property
    def caller(self) -> Caller:
        """Whose turn the call takes."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the caller sent along with the request, by key in lower case; without binary values."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""

    async def send(self, message: Message | bytes) -> None:
        """Sends a message of the response stream, or the bytes of one that is already serialized.

        Waits while the reader is slow. Bytes are sent uncompressed: they are shared by many readers, and
        each connection would compress them anew (docs/decisions/0013-subscriptions-share-frames.md).
        """

    def note_events(self, count: int) -> None:
        """Notes that the answer shows so many events, or so many more."""

    def on_close(self, close: Callable[[Cause], None]) -> None:
        """Registers how this stream ends if the process takes too much memory, or its caller loses rights."""

    def reset(self) -> None:
        """Ends the call at once, as a lost connection does: drops all that the client has left unread.

        The caller sees UNAVAILABLE without a reason, and the handler is cancelled.
        """
