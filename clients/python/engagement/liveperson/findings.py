"""What a walk through a source finds: attribute sets, what only looks like one, and items of other types.

Most are tuples, which are created at a third of the cost of frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from engagement.liveperson.values import Json, Object
from engagement.violation import Violation

Path: TypeAlias = "tuple[Path | None, str | int]"
"""The place of a value: that of the object or array around it, and its name or index. The root of a document
has nothing around it, and its number, from 1, for a name."""


def show(path: Path) -> str:
    """The path for people, such as `sdes.events[3]`; it names the document, unless it is inside the first."""
    parts: list[str] = []
    around, key = path
    while around is not None:
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
        around, key = around
    inside = "".join(reversed(parts)).removeprefix(".")
    if not inside:
        return f"document {key}"
    return inside if key == 1 else f"document {key}: {inside}"


class Context(NamedTuple):
    """The subject of an event, from the values around it; empty if they do not say."""

    account_id: str = ""
    conversation_id: str = ""
    consumer_id: str = ""
    time: Json = None
    """The server's time stamp, as it is in the source."""

    @property
    def has_subject(self) -> bool:
        """Whether it names a conversation or a consumer."""
        return bool(self.conversation_id or self.consumer_id)

    def or_else(self, outer: Context) -> Context:
        """The context, completed by that of values further out."""
        return Context(
            self.account_id or outer.account_id,
            self.conversation_id or outer.conversation_id,
            self.consumer_id or outer.consumer_id,
            outer.time if self.time is None else self.time,
        )


NO_CONTEXT: Final = Context()


class Voucher(IntEnum):
    """Who vouches for the customer of an event, if the event itself does not say."""

    UNKNOWN = 0
    NOBODY = 1
    LIST = 2
    """The list in which the platform returns it; what a page pushed needs a conversation as well."""
    CLAIMS = 3
    """The claims around it, if they are those of a token: they name its issuer."""
    SOURCE = 4
    """A system that has authenticated the customer."""


@dataclass(slots=True)
class FoundSet:
    """An attribute set as the source nests it.

    The way outwards fills in what surrounds it; in place, because copies would cost as much as finding it.
    """

    path: Path
    event: Json
    """The whole event, as it is in the source; None if the levels are all of it."""
    name: str
    """`customer_info` or `personal_info`."""
    levels: tuple[Object, ...]
    """The members of the set, then those of each object around it, up to the event."""
    is_pushed: bool = False
    """Whether it has the form in which pages and apps push sets."""
    context: Context = NO_CONTEXT
    voucher: Voucher = Voucher.UNKNOWN
    is_settled: bool = False
    """Whether its record names its subject, and nothing outside of the record matters."""

    def whole(self) -> Json:
        """The whole event."""
        if self.event is not None:
            return self.event
        inner, *around = self.levels
        members: Object = {self.name: inner}
        for level in around:
            members |= level
        return members

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles it without the names of its fields."""
        return FoundSet, (
            self.path,
            self.event,
            self.name,
            self.levels,
            self.is_pushed,
            self.context,
            self.voucher,
            self.is_settled,
        )


class MisshapenSet(NamedTuple):
    """A value that cannot be a set, in the place of one."""

    path: Path
    event: Json
    violation: Violation


class SkippedSet(NamedTuple):
    """Items that are not attribute sets: of another type, or empty."""

    reason: str
    """Empty for a list that these platforms write, which is nothing to count."""
    stranger: str = ""
    """The place of an item that nothing known of these platforms looks like."""
    items: int = 1


Finding = FoundSet | MisshapenSet | SkippedSet

RECOGNIZED: Final = SkippedSet("")
EMPTY_SET: Final = SkippedSet("empty set")
