"""What an account has under the ids of a person, and the ids beside them that may be of the same person."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate, islice
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from engagement import v1
from engagement_server.errors import DamagedEventsError, DataDamagedError
from engagement_server.model import Subject
from engagement_server.operations import MAX_COMPARED_HASHES
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.event_pages import PageQuery
from engagement_server.store.fold import near_form
from engagement_server.store.rejection_subjects import ORIGIN, Work
from engagement_server.store.tombstones import subjects_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

    from engagement_server.governor.turns import Caller
    from engagement_server.model import StoredRow
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers
    from engagement_server.store.rejection_subjects import ChunkPlace, RejectionPlace, SearchStep

T = TypeVar("T")

BRIEF_SECONDS = 5.0
"""How long a brief survey takes: well within the deadline of a call that waits for more."""
MAX_SAMPLE_IDS = 100
MAX_RELATED = 100
MAX_PLACES = 100
# Ids beside those wanted that are remembered, and events that are looked at for each kind of them.
_MAX_REMEMBERED = 2_000
_MAX_REMEMBERED_CHARACTERS = 3_000_000
_MAX_RELATED_EVENTS = 20_000
_MAX_RELATED_CHARACTERS = 200_000
_MAX_COUNTED = 10_000
_PAGE_EVENTS = 1_000
_PAGE_BYTES = 16 * 1024 * 1024
_CONSUMER_ID = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID
_CUSTOMER_ID = v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
_CONVERSATION_ID = v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
_PERSON_IDS = frozenset((_CONSUMER_ID, _CUSTOMER_ID))
_SEEN_TOGETHER = v1.RelatedId.RELATION_SEEN_TOGETHER
_SPELLING = v1.RelatedId.RELATION_SPELLING


class Related(NamedTuple):
    """An id that may be of the same person."""

    subject: Subject
    relation: v1.RelatedId.Relation
    events: int
    """Events that have it and none of the ids that were asked for."""
    rejections: int
    """Rejected events of the same."""


@dataclass(slots=True)
class Survey:
    """What there is under some ids, each event counted once."""

    events: int = 0
    events_by_subject: Counter[Subject] = field(default_factory=Counter)
    """Of each id, the number of events that have it."""
    rejections: int = 0
    last_rejections: list[tuple[str, int]] = field(default_factory=list)
    """The uploads, and the numbers in these, of rejected events: the last first."""
    sample_event_ids: list[str] = field(default_factory=list)
    first_receive_ms: int | None = None
    last_receive_ms: int | None = None
    unmatched: set[Subject] = field(default_factory=set)
    """The ids that neither an event nor a rejected event has."""
    related: list[Related] = field(default_factory=list)
    """Those with most events first."""
    has_more_related: bool = False

    def add(self, row: StoredRow, event: v1.Event, matching: Collection[Subject]) -> None:
        """Counts an event."""
        self.events += 1
        self.events_by_subject.update(matching)
        if len(self.sample_event_ids) < MAX_SAMPLE_IDS:
            self.sample_event_ids.append(event.event_id)
        time_ms = row.receive_time_ms
        self.first_receive_ms = (
            time_ms if self.first_receive_ms is None else min(self.first_receive_ms, time_ms)
        )
        self.last_receive_ms = max(self.last_receive_ms or 0, time_ms)


class Persons:
    """Surveys persons, step by step, so that other reads get their turn."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def survey(
        self, account_id: str, subjects: Sequence[Subject], *, is_brief: bool, caller: Caller
    ) -> Survey:
        """Looks for everything under some ids, and for ids beside them with events of their own.

        With `is_brief` it ends after some seconds, and leaves out events that cannot be read. Raises
        DataDamagedError.
        """
        return await _Search(self._readers, account_id, subjects, caller, is_brief=is_brief).run()


class _Search:
    """One survey."""

    def __init__(
        self,
        readers: Readers,
        account_id: str,
        subjects: Sequence[Subject],
        caller: Caller,
        *,
        is_brief: bool,
    ) -> None:
        self._is_brief = is_brief
        self._end = time.monotonic() + BRIEF_SECONDS
        self._is_cut = False
        """Whether not all events were looked at."""
        self._readers = readers
        self._account_id = account_id
        self._caller = caller
        self._wanted = frozenset(subjects)
        self._survey = Survey()
        self._relations: dict[Subject, v1.RelatedId.Relation] = {}
        """The ids beside those wanted."""
        self._characters = 0
        """Of these."""
        self._left: Counter[Subject] = Counter()
        """Of ids beside those wanted, the events that have none of these."""
        self._left_rejections: Counter[Subject] = Counter()
        """Of these ids, such rejected events."""

    async def run(self) -> Survey:
        persons = [subject for subject in self._wanted if subject.kind in _PERSON_IDS]
        conversations = [subject for subject in self._wanted if subject.kind == _CONVERSATION_ID]
        if persons:
            await self._look_for(v1.EventFilter(subject_ids=_values(persons)), persons, counted=())
        if conversations:
            wanted = v1.EventFilter(conversation_ids=_values(conversations))
            await self._look_for(wanted, conversations, counted=persons)
        await self._look_for_events(counted=[*persons, *conversations])
        together = [each for each, relation in self._relations.items() if relation == _SEEN_TOGETHER]
        for kind in sorted({subject.kind for subject in together}):
            await self._count_left(kind, [subject.value for subject in together if subject.kind == kind])
        await self._find_rejections()
        self._rank()
        if self._is_cut:
            self._survey.has_more_related = True
            self._survey.unmatched.clear()
        return self._survey

    async def _look_for(
        self, wanted: v1.EventFilter, subjects: Collection[Subject], *, counted: Collection[Subject]
    ) -> None:
        """Counts the events of some subjects, and notes the ids beside these and their other spellings.

        Events of subjects that are `counted` are passed over.
        """
        forms = {near_form(subject.value) for subject in subjects}
        kinds = _PERSON_IDS if next(iter(subjects)).kind in _PERSON_IDS else {_CONVERSATION_ID}
        passed_over = frozenset(counted)
        async for row, event in self._events(wanted, in_any_spelling=True):
            named = subjects_of(event)
            if not self._wanted.isdisjoint(named):
                if passed_over.isdisjoint(named):
                    self._survey.add(row, event, self._wanted.intersection(named))
                for each in named:
                    self._remember(each, _SEEN_TOGETHER)
            elif self._wanted.isdisjoint(_names(event)):
                for each in named:
                    if each.kind in kinds and near_form(each.value) in forms:
                        self._left[each] += self._remember(each, _SPELLING)

    def _remember(self, subject: Subject, relation: v1.RelatedId.Relation) -> bool:
        """Remembers an id unless it is wanted itself; returns whether it is remembered."""
        if subject in self._wanted:
            return False
        if subject not in self._relations:
            self._characters += len(subject.value)
            if len(self._relations) == _MAX_REMEMBERED or self._characters > _MAX_REMEMBERED_CHARACTERS:
                self._survey.has_more_related = True
                return False
        if relation == _SEEN_TOGETHER or subject not in self._relations:
            self._relations[subject] = relation
        return True

    async def _look_for_events(self, *, counted: Collection[Subject]) -> None:
        for subject in self._wanted:
            if subject.kind != _EVENT_ID:
                continue

            def find(reader: Reader, event_id: str = subject.value) -> StoredRow | None:
                return reader.find_by_id(self._account_id, event_id)

            try:
                row = await self._readers.run(find, caller=self._caller)
            except DataDamagedError:
                if not self._is_brief:
                    raise
                self._survey.events_by_subject[subject] = 1
                continue
            if row is None:
                continue
            event = v1.Event.FromString(row.payload)
            self._survey.events_by_subject[subject] = 1
            if frozenset(counted).isdisjoint(subjects_of(event)):
                self._survey.add(row, event, ())

    async def _count_left(self, kind: int, ids: Sequence[str]) -> None:
        """Counts the events that have one of some ids and none of those wanted."""
        looked_at = 0
        wanted = _filter_of(kind, ids)
        known = frozenset(Subject(kind, value) for value in ids)
        for subject in known:
            self._left.pop(subject, None)  # counted again, from all events
        async for _, event in self._events(wanted):
            looked_at += 1
            named = _names(event)
            if self._wanted.isdisjoint(named):
                self._left.update(known.intersection(named))
            if looked_at == _MAX_RELATED_EVENTS:
                self._survey.has_more_related = True
                return

    def _rank(self) -> None:
        found = [
            Related(
                subject,
                relation,
                events=min(self._left[subject], _MAX_COUNTED),
                rejections=min(self._left_rejections[subject], _MAX_COUNTED),
            )
            for subject, relation in self._relations.items()
            if self._left[subject]
            or self._left_rejections[subject]
            # Later events may have only the other id of a person.
            or (relation == _SEEN_TOGETHER and subject.kind in _PERSON_IDS)
        ]
        found.sort(key=lambda each: (-each.events, -each.rejections, each.subject))
        lengths = accumulate(len(each.subject.value) for each in found)
        shown = [
            each
            for each, length in zip(found[:MAX_RELATED], lengths, strict=False)
            if length <= _MAX_RELATED_CHARACTERS
        ]
        self._survey.related = shown
        self._survey.has_more_related |= len(shown) < len(found)

    async def _find_rejections(self) -> None:
        """Counts rejected events, also under ids beside those wanted, and notes which ids nothing has."""
        event_ids = [subject.value for subject in self._wanted if subject.kind == _EVENT_ID]
        people = [subject for subject in self._wanted if subject.kind != _EVENT_ID]
        by_id = await self._read(lambda reader: reader.rejections_of.with_ids(self._account_id, event_ids))
        named = {Subject(_EVENT_ID, event_id) for event_id in by_id.values()}
        places = set(islice(by_id, _MAX_COUNTED))
        last: deque[RejectionPlace] = deque(maxlen=MAX_PLACES)
        after: ChunkPlace | None = ORIGIN if people else None
        while after is not None:
            try:
                step = await self._search_rejections([*people, *self._relations], after)
            except DataDamagedError:
                if not self._is_brief:
                    raise
                self._is_cut = True
                break
            named = named.union(*step.found.values())
            about = {place for place, found in step.found.items() if not self._wanted.isdisjoint(found)}
            for place in step.found.keys() - about - by_id.keys():
                self._left_rejections.update(step.found[place])
            places.update(islice(about, _MAX_COUNTED - len(places)))
            last.extend(sorted(about))
            after = step.through
            if after is not None and self._is_brief and time.monotonic() >= self._end:
                self._is_cut = True
                break
        self._survey.rejections = len(places)
        self._survey.unmatched = {
            subject for subject in self._wanted - named if not self._survey.events_by_subject[subject]
        }
        newest = sorted(last, reverse=True)
        self._survey.last_rejections = await self._read(lambda reader: reader.rejections_of.names_of(newest))

    async def _search_rejections(self, subjects: Sequence[Subject], after: ChunkPlace) -> SearchStep:
        work = Work(MAX_COMPARED_HASHES)
        return await self._read(
            lambda reader: reader.rejections_of.search(self._account_id, subjects, work, after=after)
        )

    async def _read(self, read: Callable[[Reader], T]) -> T:
        return await self._readers.run(read, caller=self._caller)

    async def _events(
        self, wanted: v1.EventFilter, *, in_any_spelling: bool = False
    ) -> AsyncIterator[tuple[StoredRow, v1.Event]]:
        after: int | None = None
        while True:
            query = PageQuery(
                account_id=self._account_id,
                wanted=wanted,
                after_position=after,
                newest_first=False,
                max_events=_PAGE_EVENTS,
                max_bytes=_PAGE_BYTES,
                max_seconds=STEP_SECONDS,
                in_any_spelling=in_any_spelling,
            )
            try:
                page = await self._readers.run(methodcaller("page", query), caller=self._caller)
            except DamagedEventsError as damage:
                if not self._is_brief:
                    raise DataDamagedError from damage
                self._is_cut = True
                after = damage.last_position
                continue
            for found in page.rows:
                yield found
            if page.next_position is None:
                return
            if self._is_brief and time.monotonic() >= self._end:
                self._is_cut = True
                return
            after = page.next_position


def _names(event: v1.Event) -> list[Subject]:
    """Everything that an erasure may name an event by."""
    return [*subjects_of(event), Subject(_EVENT_ID, event.event_id)]


def _values(subjects: Iterable[Subject]) -> list[str]:
    return sorted({subject.value for subject in subjects})


def _filter_of(kind: int, ids: Sequence[str]) -> v1.EventFilter:
    match kind:
        case v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID:
            return v1.EventFilter(consumer_ids=ids)
        case v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID:
            return v1.EventFilter(customer_ids=ids)
        case _:
            return v1.EventFilter(conversation_ids=ids)
