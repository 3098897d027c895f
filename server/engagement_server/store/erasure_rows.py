"""The rows of erasures: their subjects, their progress, and the notices that they append to the log."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.errors import DamagedEventsError, RequestIdReusedError
from engagement_server.model import NO_ERASURE, ErasureState, Subject
from engagement_server.store.account_rows import NO_ACCOUNT, find_account, find_bounds, open_account
from engagement_server.store.damaged_rejections import DamagedSearch, damaged_chunks, find_damage
from engagement_server.store.damaged_removal import (
    DamagedEvents,
    StoredId,
    plan_removal,
    remove_damaged,
)
from engagement_server.store.erasure_states import ErasureStates, RunningErasure
from engagement_server.store.event_ids import page_with_id, positions_with_id
from engagement_server.store.event_pages import EventPages, PageQuery
from engagement_server.store.index_purge import IndexPurge
from engagement_server.store.notice_rows import pack_positions
from engagement_server.store.rejection_rows import RejectionRows
from engagement_server.store.rejection_subjects import ORIGIN
from engagement_server.store.removal import Removal
from engagement_server.store.tombstones import Suppressions, Tombstones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.operations import BeginErasure, CompleteErasure, EraseEvents, LiftSuppression
    from engagement_server.store.event_pages import Page
    from engagement_server.store.index_merges import IndexMerges

_log = logging.getLogger(__name__)
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID


class ErasureStep(NamedTuple):
    """The result of a step."""

    state: ErasureState
    last_position: int | None
    """The new last position of the account; None if its log did not grow."""
    erased: Sequence[int] = ()
    """Positions of the events that the step erased, ascending."""


class ErasureRows:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._suppressions = Suppressions(connection)
        self._tombstones = Tombstones(connection)
        self._states = ErasureStates(connection)
        self._pages = EventPages(connection)
        self._removal = Removal(connection, merges=merges)
        self._rejections = RejectionRows(connection)
        self._planned: Sequence[StoredId] = ()
        """Damaged events that the next step removes, and the positions of the subject's."""
        self._wanted: set[int] = set()
        self._damaged_search: DamagedSearch | None = None
        """What the next step does about rejected events in place of a search."""
        self._purge = IndexPurge(connection)

    def begin(self, operation: BeginErasure, account: int, time_ms: int) -> ErasureState:
        """Begins an erasure, or finds the one of the same request. Raises RequestIdReusedError.

        A missing account is created for a suppression, or to clear rejected events; else nothing is found.
        """
        if account == NO_ACCOUNT:
            if not operation.suppress and not self._rejections.may_have(
                operation.account_id, operation.subjects
            ):
                return nothing_found(operation)
            account = open_account(self._connection, operation.account_id)
        hashes = [self._suppressions.hash_subject(account, subject) for subject in operation.subjects]
        known = self._connection.execute(
            "SELECT number, erasure_id, suppress FROM erasures WHERE account = ? AND request_id = ?",
            (account, operation.request_id),
        ).fetchone()
        if known is not None:
            number, erasure_id, suppress = known
            if self._hashes(number) != hashes or bool(suppress) != operation.suppress:
                raise RequestIdReusedError(operation.request_id)
            return self._states.find(operation.account_id, erasure_id)
        self._insert(operation, account, hashes, time_ms)
        if operation.suppress:
            for subject, subject_hash in zip(operation.subjects, hashes, strict=True):
                if subject.kind != _EVENT_ID:
                    self._suppressions.add(account, subject_hash)
        return self._states.find(operation.account_id, operation.erasure_id)

    def _hashes(self, erasure: int) -> list[bytes]:
        rows = self._connection.execute(
            "SELECT hash FROM erasure_subjects WHERE erasure = ? ORDER BY number", (erasure,)
        )
        return [bytes(subject_hash) for (subject_hash,) in rows]

    def _insert(self, operation: BeginErasure, account: int, hashes: Sequence[bytes], time_ms: int) -> None:
        first = first_position(account)
        self._connection.execute(
            "INSERT INTO erasures (account, erasure_id, request_id, suppress, through_position,"
            " erased_events, cleared_rejections, create_time_ms, cleared_upload, cleared_chunk)"
            " SELECT number, ?, ?, ?, ? + last_sequence, 0, 0, ?, ?, ? FROM accounts WHERE number = ?",
            (
                *(operation.erasure_id, operation.request_id, operation.suppress, first, time_ms),
                *(ORIGIN if any(each.kind != _EVENT_ID for each in operation.subjects) else (None, None)),
                account,
            ),
        )
        erasure = self._connection.last_insert_rowid()
        self._connection.executemany(
            "INSERT INTO erasure_subjects VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (
                (erasure, number, *subject, subject_hash, first)
                for number, (subject, subject_hash) in enumerate(zip(operation.subjects, hashes, strict=True))
            ),
        )

    def erase(self, operation: EraseEvents, account: int) -> ErasureStep:
        """Erases the next events, clears rejected ones, and appends a notice to the log.

        Raises ErasureNotFoundError.
        """
        running = self._states.running_step(operation.erasure_id, account)
        if running.subject is None:
            return ErasureStep(self._states.find(operation.account_id, operation.erasure_id), None)
        if not self._clear(operation, running):
            return ErasureStep(self._states.find(operation.account_id, operation.erasure_id), None)
        lost = self._remove_planned(account)
        page = self._next_events(operation, account, running)
        events = [each for each in page.rows if each[0].position <= running.through_position]
        through = page.next_position
        clearable = self._rejections.clear_excess(operation, [event.event_id for _, event in events])
        if clearable < len(events):
            events = events[:clearable]
            through = events[-1][0].position if events else running.progress
        if events and self._removal.erase(account, events):
            self._purge.schedule()
        ids = sorted([*lost, *(StoredId(row.position, event.event_id) for row, event in events)])
        erased = [each.position for each in ids]
        tail = None
        if ids:
            self._tombstones.add(account, [each.event_id for each in ids])
            tail = self._append_notice(operation, account, erased)
        is_last = through is None or through >= running.through_position
        self._connection.execute(
            "UPDATE erasure_subjects SET progress = ?, value = iif(?, NULL, value)"
            " WHERE erasure = ? AND number = ?",
            (
                running.through_position if through is None else through,
                is_last,
                running.number,
                running.subject_number,
            ),
        )
        self._connection.execute(
            "UPDATE erasures SET erased_events = erased_events + ? WHERE number = ?",
            (len(ids), running.number),
        )
        return ErasureStep(self._states.find(operation.account_id, operation.erasure_id), tail, erased)

    def _clear(self, operation: EraseEvents, running: RunningErasure) -> bool:
        """Clears rejected events, which comes before erasing others; returns whether none is left."""
        assert running.subject is not None
        through, cleared = running.cleared_through, 0
        if through is not None:
            subjects = self._states.people(running.number)
            damaged, self._damaged_search = self._damaged_search, None
            if damaged is None:
                cleared, through = self._rejections.clear_next(operation, subjects, after=through)
            else:
                cleared, through = self._rejections.clear_damaged(operation, damaged)
        is_done = through is None
        if is_done and running.subject.kind == _EVENT_ID:
            event_ids, limit = [running.subject.value], operation.max_results
            cleared += self._rejections.clear_ids(operation.account_id, event_ids, limit=limit)
            is_done = not self._rejections.has_results(operation.account_id, event_ids)
        self._connection.execute(
            "UPDATE erasures SET cleared_rejections = cleared_rejections + ?, cleared_upload = ?,"
            " cleared_chunk = ? WHERE number = ?",
            (cleared, *(through or (None, None)), running.number),
        )
        return is_done

    def _next_events(self, operation: EraseEvents, account: int, running: RunningErasure) -> Page:
        assert running.subject is not None
        try:
            if running.subject.kind == _EVENT_ID:
                return page_with_id(self._connection, account, running.subject.value)
            page = self._pages.read(_query(operation, running))
        except DamagedEventsError as damage:
            raise damage.__cause__ or damage from None  # it has ended the transaction
        if not self._connection.in_transaction:  # so has damage that ends a page early
            raise apsw.CorruptError("damaged behind the events of the page")
        return page

    def plan(self, operation: EraseEvents) -> bool:
        """Finds damaged events that the erasure meets, between transactions; the next step removes them.

        The index tells which are the subject's. Returns whether there are any. Raises apsw.Error.
        """
        path, account_id = self._connection.db_filename("main"), operation.account_id
        self._damaged_search = self._find_damaged_rejections(operation, path)
        if self._damaged_search is not None:
            return True
        with DamagedEvents.of(path, account_id) as damaged:
            account = find_account(damaged.connection, account_id) or NO_ACCOUNT
            running = self._states.running_step(operation.erasure_id, account)
            if running.subject is None:
                return False
            if running.subject.kind == _EVENT_ID:
                wanted = positions_with_id(damaged.connection, account, running.subject.value)
                self._rejections.damaged = damaged_chunks(path, account_id, running.subject.value)
            else:
                wanted = EventPages(damaged.connection).candidates(_query(operation, running))
            met = [each for each in damaged.ranges() if each.is_near(wanted)]
        self._planned = plan_removal(path, account_id, met)
        self._wanted = set(wanted)
        return bool(self._planned or self._rejections.damaged)

    def _find_damaged_rejections(self, operation: EraseEvents, path: str) -> DamagedSearch | None:
        account = find_account(self._connection, operation.account_id) or NO_ACCOUNT
        running = self._states.running_step(operation.erasure_id, account)
        if running.cleared_through is None:
            return None
        subjects = self._states.people(running.number)
        damaged = find_damage(path, operation, subjects, after=running.cleared_through)
        if damaged is not None:
            _log.warning(
                "account number %d: the subjects of rejected events are damaged, so an erasure clears all"
                " those of upload number %d",
                account,
                damaged.damaged.upload,
            )
        return damaged

    def forget_plan(self) -> None:
        """Drops a plan that no step has carried out."""
        self._planned, self._damaged_search, self._rejections.damaged = (), None, ()

    def _remove_planned(self, account: int) -> list[StoredId]:
        """Removes the damaged events that are planned; returns those of the subject."""
        planned, self._planned = self._planned, ()
        if not planned:
            return []
        remove_damaged(self._connection, account, planned)
        self._removal.clear_results(account, [each.event_id for each in planned])
        return [each for each in planned if each.position in self._wanted]

    def complete(self, operation: CompleteErasure, account: int, time_ms: int) -> ErasureState:
        """Completes an erasure that has nothing left; idempotent. Raises ErasureNotFoundError.

        One that has found and suppressed nothing is forgotten.
        """
        state = self._states.find(operation.account_id, operation.erasure_id)
        if state.has_more or state.complete_time_ms is not None:
            return state
        forgotten = self._connection.execute(
            "DELETE FROM erasures WHERE number = ? AND NOT suppress"
            " AND erased_events = 0 AND cleared_rejections = 0 RETURNING number",
            (state.number,),
        ).fetchall()
        if forgotten:
            self._connection.execute("DELETE FROM erasure_subjects WHERE erasure = ?", (state.number,))
            return replace(state, number=NO_ERASURE)
        self._connection.execute(
            "UPDATE erasures SET complete_time_ms = ? WHERE number = ?", (time_ms, state.number)
        )
        return self._states.find(operation.account_id, operation.erasure_id)

    def lift(self, operation: LiftSuppression, account: int, time_ms: int) -> int:
        """Lifts suppressions; returns 0 if there was none. Raises ErasureNotFoundError."""
        if isinstance(operation.target, Subject):
            hashes = [self._suppressions.hash_subject(account, operation.target)]
        else:
            hashes = self._hashes(self._states.running_step(operation.target, account).number)
        return sum([self._lift(account, subject_hash, time_ms) for subject_hash in hashes])

    def _lift(self, account: int, subject_hash: bytes, time_ms: int) -> int:
        lifted = self._suppressions.lift(account, subject_hash)
        if lifted:
            self._connection.execute(
                "UPDATE erasure_subjects SET lift_time_ms = ? WHERE hash = ? AND lift_time_ms IS NULL"
                " AND (SELECT suppress FROM erasures WHERE number = erasure)",
                (time_ms, subject_hash),
            )
        return lifted

    def _append_notice(self, operation: EraseEvents, account: int, positions: Sequence[int]) -> int:
        """Appends a notice to the account's log; returns its position."""
        bounds = find_bounds(self._connection, operation.account_id)
        assert bounds is not None
        position = bounds.last_position + 1
        self._connection.execute(
            "UPDATE accounts SET last_sequence = last_sequence + 1 WHERE number = ?", (account,)
        )
        self._connection.execute(
            "INSERT INTO notices VALUES (?, ?, ?)",
            (position, operation.erasure_id, pack_positions(positions)),
        )
        return position


def nothing_found(operation: BeginErasure) -> ErasureState:
    """The state of an erasure that has found nothing, and is not kept."""
    return ErasureState(
        number=NO_ERASURE,
        erasure_id=operation.erasure_id,
        request_id=operation.request_id,
        subject_kinds=[subject.kind for subject in operation.subjects],
        erased_events=0,
        cleared_rejections=0,
        is_suppressing=False,
        create_time_ms=0,
        complete_time_ms=None,
        lift_time_ms=None,
        has_more=False,
    )


def _query(operation: EraseEvents, running: RunningErasure) -> PageQuery:
    assert running.subject is not None
    return PageQuery(
        account_id=operation.account_id,
        wanted=filter_of(running.subject),
        after_position=running.progress,
        newest_first=False,
        max_events=operation.max_events,
        max_bytes=operation.max_bytes,
        max_candidates=operation.max_candidates,
    )


def filter_of(subject: Subject) -> v1.EventFilter:
    """The filter that the events of a subject match."""
    match subject.kind:
        case v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID:
            return v1.EventFilter(consumer_ids=[subject.value])
        case v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID:
            return v1.EventFilter(customer_ids=[subject.value])
        case _:
            return v1.EventFilter(conversation_ids=[subject.value])
