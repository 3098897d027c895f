"""What an account makes of new events: their entities, closed lists, and suppressed subjects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement.rules import Violation
from engagement_server.store.entity_rows import read_list
from engagement_server.store.forgotten import subjects_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from engagement_server.model import EventRecord
    from engagement_server.store.forgotten import Forgotten

# Of the names that are allowed, an error shows as many as this holds.
_MAX_ALLOWED_CHARACTERS = 1000


class UnknownEntity(NamedTuple):
    """A value that is not on a closed list."""

    violation: Violation
    allowed: str
    """The names that are allowed, in quotation marks."""


class Ruling(NamedTuple):
    """What is to become of one new event."""

    matched_status: str | None = None
    matched_type: str | None = None
    unknown: UnknownEntity | None = None
    """Refused because of this."""
    is_suppressed: bool = False


TAKEN = Ruling()


@dataclass(frozen=True, slots=True)
class _List:
    """A list of entities, ready to match values."""

    field: str
    names: Mapping[str, str]
    """Canonical spellings by folded names."""
    is_closed: bool

    def match(self, customer: v1.CustomerInfo) -> str | UnknownEntity | None:
        if not customer.HasField(self.field):
            return None
        name = self.names.get(getattr(customer, self.field).casefold())
        if name is None and self.is_closed:
            return self._unknown()
        return name

    def _unknown(self) -> UnknownEntity:
        allowed, shown = "", 0
        for name in self.names.values():
            quoted = json.dumps(name, ensure_ascii=False)
            if len(allowed) + len(quoted) > _MAX_ALLOWED_CHARACTERS:
                break
            allowed += f"{', ' if allowed else ''}{quoted}"
            shown += 1
        if shown < len(self.names):
            allowed += f" and {len(self.names) - shown} more"
        description = f"is not on the account's closed list; allowed is {allowed or 'nothing'}"
        path = f"customer_info.{self.field}"
        return UnknownEntity(Violation(path, "server.entity.unknown", description), allowed)


class Admission:
    """The rules of one account as they are at this point of the log."""

    def __init__(self, connection: apsw.Connection, account: int, *, forgotten: Forgotten) -> None:
        self._account = account
        self._forgotten = forgotten
        self._status = _read(connection, account, v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS)
        self._type = _read(connection, account, v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE)
        self._has_lists = bool(self._status.names or self._type.names) or (
            self._status.is_closed or self._type.is_closed
        )
        self._has_suppressions = forgotten.has_suppressions(account)

    @property
    def takes_everything(self) -> bool:
        """True where no event needs a look."""
        return not self._has_lists and not self._has_suppressions

    def rule(self, records: Sequence[EventRecord]) -> list[Ruling]:
        """One ruling an event."""
        if self.takes_everything:
            return [TAKEN] * len(records)
        events = [v1.Event.FromString(record.payload) for record in records]
        rulings = [self._match(event) for event in events]
        if self._has_suppressions:
            subjects = [subjects_of(event) for event in events]
            suppressed = self._forgotten.find_suppressed(self._account, set().union(*subjects))
            for place, named in enumerate(subjects):
                if not suppressed.isdisjoint(named):
                    rulings[place] = Ruling(is_suppressed=True)
        return rulings

    def _match(self, event: v1.Event) -> Ruling:
        if not self._has_lists or not event.HasField("customer_info"):
            return TAKEN
        matched_status = self._status.match(event.customer_info)
        if isinstance(matched_status, UnknownEntity):
            return Ruling(unknown=matched_status)
        matched_type = self._type.match(event.customer_info)
        if isinstance(matched_type, UnknownEntity):
            return Ruling(unknown=matched_type)
        return Ruling(matched_status, matched_type)


_FIELDS = {
    v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS: "customer_status",
    v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE: "customer_type",
}


def _read(connection: apsw.Connection, account: int, kind: v1.EntityKind) -> _List:
    stored = read_list(connection, account, kind)
    return _List(_FIELDS[kind], {name.casefold(): name for name in stored.names}, stored.is_closed)
