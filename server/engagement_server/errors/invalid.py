"""Requests that can never succeed as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.rules import Violation

from engagement.limits import MAX_VIOLATIONS
from engagement_server.errors.base import InvalidRequestError


class FieldInvalidError(InvalidRequestError):
    """Fields break rules of the contract."""

    reason = "FIELD_INVALID"

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        others = len(violations) - 1
        at_least = "at least " if others >= MAX_VIOLATIONS else ""  # checks end soon after these
        more = f" (and {at_least}{others} more)" if others else ""
        super().__init__(
            f"{first.field or 'the request'}: {first.description}{more}",
            field=first.field,
            rule=first.rule,
            description=first.description,
            violationsTotal=len(violations),
        )
        self.violations = violations


class FilterInvalidError(FieldInvalidError):
    """A filter cannot be understood."""

    reason = "FILTER_INVALID"


class EntityUnknownError(FieldInvalidError):
    """A value is not on a closed list; `index` is the index of its event in the batch.

    Its path starts at the event, until `within` adds the path of the event in the request.
    """

    reason = "ENTITY_UNKNOWN"
    max_metadata_bytes = 2048

    def __init__(self, violation: Violation, *, allowed: str, index: int = 0) -> None:
        super().__init__([violation])
        self.metadata["allowed"] = allowed
        self.index = index

    def within(self, path: str) -> EntityUnknownError:
        """The same error, with the path of the event in front of its own."""
        (violation,) = self.violations
        moved = replace(violation, field=f"{path}.{violation.field}")
        return EntityUnknownError(moved, allowed=self.metadata["allowed"], index=self.index)


MAX_COUNTED_EVENTS = 2_000
"""Limit on events of one message that are counted, to say how many are too many."""


class BatchTooLargeError(InvalidRequestError):
    """A call exceeds a limit."""

    reason = "BATCH_TOO_LARGE"

    def __init__(self, *, count: int, limit: int, unit: str) -> None:
        is_more = unit == "events" and count > MAX_COUNTED_EVENTS
        number = f"more than {MAX_COUNTED_EVENTS}" if is_more else count
        super().__init__(
            f"at most {limit} {unit} are allowed in one message, got {number}; split it",
            count=min(count, MAX_COUNTED_EVENTS + 1) if is_more else count,
            limit=limit,
            unit=unit,
        )


class ChunkTooLargeError(BatchTooLargeError):
    """A chunk of an upload exceeds a limit."""

    reason = "CHUNK_TOO_LARGE"


class PageTokenMismatchError(InvalidRequestError):
    """A page token is damaged, or belongs to other arguments."""

    reason = "PAGE_TOKEN_MISMATCH"

    def __init__(self) -> None:
        super().__init__(
            "page_token is damaged, or of another account, filter or order; restart from the first page"
        )


class CursorMalformedError(InvalidRequestError):
    """A cursor was not made by this service."""

    reason = "CURSOR_MALFORMED"

    def __init__(self) -> None:
        super().__init__("cursor is not one that this service made; pass it exactly as it was received")


class CursorMismatchError(InvalidRequestError):
    """A cursor belongs to another account."""

    reason = "CURSOR_MISMATCH"

    def __init__(self) -> None:
        super().__init__("cursor belongs to another account")
