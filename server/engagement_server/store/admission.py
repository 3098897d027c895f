"""Checks new events against the rules of their account: closed lists of entities, and suppressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.store.entity_lists import UnknownEntity, entity_values
from engagement_server.store.tombstones import subjects_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.model import EventRecord, Subject
    from engagement_server.store.entity_lists import EntityLists
    from engagement_server.store.tombstones import Suppressions


class Admission(NamedTuple):
    """Whether a new event may be stored, and the entities that it matches."""

    matched_status: str | None = None
    matched_type: str | None = None
    unknown: UnknownEntity | None = None
    """Set if the event is rejected for this value."""
    is_suppressed: bool = False

    @property
    def is_granted(self) -> bool:
        """Whether the event may be stored."""
        return self.unknown is None and not self.is_suppressed


_GRANTED = Admission()


class AdmissionRules:
    """The rules of one account at this point of the log."""

    def __init__(self, account: int, *, lists: EntityLists, suppressions: Suppressions) -> None:
        self._account = account
        self._lists = lists
        self._suppressions = suppressions
        self._has_suppressions = suppressions.has_any(account)

    def check(self, records: Sequence[EventRecord]) -> list[Admission]:
        """The admission of each event, in order."""
        if self._lists.are_unused and not self._has_suppressions:
            return [_GRANTED] * len(records)
        events = [v1.Event.FromString(record.payload) for record in records]
        admissions = [_GRANTED] * len(records) if self._lists.are_unused else self._match(events)
        for number, is_suppressed in enumerate(self.suppressed([subjects_of(event) for event in events])):
            if is_suppressed:
                admissions[number] = Admission(is_suppressed=True)
        return admissions

    def suppressed(self, named: Sequence[Sequence[Subject]]) -> list[bool]:
        """Whether each event, given by the subjects that it names, has one that is suppressed."""
        if not named or not self._has_suppressions:
            return [False] * len(named)
        suppressed = self._suppressions.find(self._account, set().union(*named))
        return [not suppressed.isdisjoint(subjects) for subjects in named]

    def _match(self, events: Sequence[v1.Event]) -> list[Admission]:
        # Many events share few values: each pair is matched once a batch.
        found: dict[tuple[str | None, str | None], Admission] = {}
        admissions: list[Admission] = []
        for event in events:
            values = entity_values(event)
            admission = found.get(values)
            if admission is None:
                matched = self._lists.match(*values)
                if isinstance(matched, UnknownEntity):
                    admission = Admission(unknown=matched)
                else:
                    admission = Admission(*matched)
                found[values] = admission
            admissions.append(admission)
        return admissions
