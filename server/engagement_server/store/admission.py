"""What an account makes of new events: their entities, closed lists, and suppressed subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.store.entity_lists import UnknownEntity, described_by
from engagement_server.store.forgotten import subjects_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.model import EventRecord
    from engagement_server.store.entity_lists import EntityLists
    from engagement_server.store.forgotten import Forgotten


class Ruling(NamedTuple):
    """What is to become of one new event."""

    matched_status: str | None = None
    matched_type: str | None = None
    unknown: UnknownEntity | None = None
    """Refused because of this."""
    is_suppressed: bool = False

    @property
    def takes_event(self) -> bool:
        """True where the event is neither refused nor suppressed."""
        return self.unknown is None and not self.is_suppressed


TAKEN = Ruling()


class Admission:
    """The rules of one account as they are at this point of the log."""

    def __init__(self, account: int, *, lists: EntityLists, forgotten: Forgotten) -> None:
        self._account = account
        self._lists = lists
        self._forgotten = forgotten
        self._has_suppressions = forgotten.has_suppressions(account)

    def rule(self, records: Sequence[EventRecord]) -> list[Ruling]:
        """One ruling an event."""
        if self._lists.decide_nothing and not self._has_suppressions:
            return [TAKEN] * len(records)
        events = [v1.Event.FromString(record.payload) for record in records]
        rulings = [TAKEN] * len(records) if self._lists.decide_nothing else self._match(events)
        if self._has_suppressions:
            subjects = [subjects_of(event) for event in events]
            suppressed = self._forgotten.find_suppressed(self._account, set().union(*subjects))
            for place, named in enumerate(subjects):
                if not suppressed.isdisjoint(named):
                    rulings[place] = Ruling(is_suppressed=True)
        return rulings

    def _match(self, events: Sequence[v1.Event]) -> list[Ruling]:
        # Few values are behind many events: each is matched once a batch.
        found: dict[tuple[str | None, str | None], Ruling] = {}
        rulings: list[Ruling] = []
        for event in events:
            values = described_by(event)
            ruling = found.get(values)
            if ruling is None:
                matched = self._lists.match(*values)
                ruling = Ruling(unknown=matched) if isinstance(matched, UnknownEntity) else Ruling(*matched)
                found[values] = ruling
            rulings.append(ruling)
        return rulings
