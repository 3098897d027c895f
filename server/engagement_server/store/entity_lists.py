"""The entity lists of an account, prepared for matching."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement.rules import Violation
from engagement_server.model import ALLOWED_MARK
from engagement_server.store.fold import caseless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.model import EntityList

# Limit on the allowed names in the metadata of an error: a full list of names of usual length fits.
_MAX_ALLOWED_BYTES = 1_900
# Limit on the allowed names in a description. The result of each rejected event has it twice, and a row of
# a quarter of a page or more takes a page of its own.
_MAX_DESCRIBED_BYTES = 256


class UnknownEntity(NamedTuple):
    """A value that is not on a closed list."""

    violation: Violation
    allowed: str
    """The allowed names, quoted."""
    error: bytes
    """The serialized `EventError` of a result."""


class _List:
    """One list, prepared for matching."""

    def __init__(self, stored: EntityList, *, field: str) -> None:
        self._field = field
        self._names = {caseless(name): name for name in stored.names}
        self._is_closed = stored.is_closed
        self.is_unused = not self._names and not self._is_closed

    def match(self, value: str | None) -> str | UnknownEntity | None:
        """The canonical name for a value; None if there is no value, or no such name in an open list."""
        if value is None:
            return None
        name = self._names.get(caseless(value))
        return self._unknown if name is None and self._is_closed else name

    @cached_property
    def _unknown(self) -> UnknownEntity:
        names = [*self._names.values()]
        allowed = _quote_names(names, max_bytes=_MAX_ALLOWED_BYTES)
        described = _quote_names(names, max_bytes=_MAX_DESCRIBED_BYTES)
        description = f"is not on the account's closed list{ALLOWED_MARK}{described}"
        violation = Violation(f"customer_info.{self._field}", "server.entity.unknown", description)
        error = v1.EventError(
            reason=v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN,
            message=f"{violation.field}: {violation.description}",
            violations_total=1,
        )
        error.violations.add(field=violation.field, rule=violation.rule, description=violation.description)
        return UnknownEntity(violation, allowed, error.SerializeToString())


class EntityLists:
    """Both lists of an account."""

    def __init__(self, *, statuses: EntityList, types: EntityList) -> None:
        self._statuses = _List(statuses, field="customer_status")
        self._types = _List(types, field="customer_type")
        self.are_unused = self._statuses.is_unused and self._types.is_unused
        """Whether both lists are empty and open: no event matches, and none is rejected."""

    def match(
        self, status: str | None, customer_type: str | None
    ) -> tuple[str | None, str | None] | UnknownEntity:
        """The canonical names for a status and a type."""
        matched_status = self._statuses.match(status)
        if isinstance(matched_status, UnknownEntity):
            return matched_status
        matched_type = self._types.match(customer_type)
        if isinstance(matched_type, UnknownEntity):
            return matched_type
        return matched_status, matched_type


def entity_values(event: v1.Event) -> tuple[str | None, str | None]:
    """The customer's status and type in an event, each None if absent."""
    if not event.HasField("customer_info"):
        return None, None
    customer = event.customer_info
    return (
        customer.customer_status if customer.HasField("customer_status") else None,
        customer.customer_type if customer.HasField("customer_type") else None,
    )


def _quote_names(names: Sequence[str], *, max_bytes: int) -> str:
    """As many of the names as fit, quoted."""
    if not names:
        return "nothing"
    shown: list[str] = []
    room = max_bytes
    for name in names:
        quoted = json.dumps(name, ensure_ascii=False)
        room -= len(f"{quoted}, ".encode())
        if room < 0:
            break
        shown.append(quoted)
    if len(shown) == len(names):
        return ", ".join(shown)
    if not shown:
        return "too long to show (ListEntities has them)"
    return f"{', '.join(shown)} and {len(names) - len(shown)} more (ListEntities has them)"
