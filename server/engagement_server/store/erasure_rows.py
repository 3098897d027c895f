"""The rows of erasures: their subjects, their progress, and the notices that they append to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.errors import DamagedEventsError, ErasureNotFoundError, RequestIdReusedError
from engagement_server.model import ErasureState, Subject
from engagement_server.store.account_rows import NO_ACCOUNT, find_account, find_bounds, open_account
from engagement_server.store.damaged_removal import (
    DamagedEvents,
    StoredId,
    plan_removal,
    remove_damaged,
)
from engagement_server.store.erasure_states import ErasureStates
from engagement_server.store.event_pages import EventPages, PageQuery
from engagement_server.store.index_purge import IndexPurge
from engagement_server.store.notice_rows import pack_positions
from engagement_server.store.removal import Removal
from engagement_server.store.tombstones import Suppressions, Tombstones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.operations import BeginErasure, CompleteErasure, EraseEvents, LiftSuppression
    from engagement_server.store.index_merges import IndexMerges


class ErasureStep(NamedTuple):
    """The result of a step."""

    state: ErasureState
    last_position: int | None
    """The new last position of the account; None if its log did not grow."""
    erased: Sequence[int] = ()
    """Positions of the events that the step erased, ascending."""


class _RunningErasure(NamedTuple):
    """The columns that say what remains to be erased."""

    number: int
    kind: int
    subject: str | None
    through_position: int
    progress: int


class ErasureRows:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._suppressions = Suppressions(connection)
        self._tombstones = Tombstones(connection)
        self._states = ErasureStates(connection)
        self._pages = EventPages(connection)
        self._removal = Removal(connection, merges=merges)
        self._planned: Sequence[StoredId] = ()
        """Damaged events that the next step removes, and the positions of the subject's."""
        self._wanted: set[int] = set()
        self._purge = IndexPurge(connection)

    def begin(self, operation: BeginErasure, account: int, time_ms: int) -> ErasureState:
        """Begins an erasure, or finds the one of the same request. Raises RequestIdReusedError.

        A missing account is created for a suppression only; else the erasure is complete, and nothing of it
        is stored.
        """
        if account == NO_ACCOUNT:
            if not operation.suppress:
                return _nothing_erased(operation, time_ms)
            account = open_account(self._connection, operation.account_id)
        subject_hash = self._suppressions.hash_subject(account, operation.subject)
        known = self._connection.execute(
            "SELECT erasure_id, subject_hash, suppress FROM erasures WHERE account = ? AND request_id = ?",
            (account, operation.request_id),
        ).fetchone()
        if known is not None:
            erasure_id, known_hash, suppress = known
            if known_hash != subject_hash or bool(suppress) != operation.suppress:
                raise RequestIdReusedError(operation.request_id)
            return self._states.find(operation.account_id, erasure_id)
        if operation.suppress:
            self._suppressions.add(account, subject_hash)
        self._connection.execute(
            "INSERT INTO erasures (account, erasure_id, request_id, kind, subject, subject_hash, suppress,"
            " through_position, progress, erased_events, create_time_ms)"
            " SELECT number, ?, ?, ?, ?, ?, ?, ? + last_sequence, ?, 0, ? FROM accounts WHERE number = ?",
            (
                operation.erasure_id,
                operation.request_id,
                *operation.subject,
                subject_hash,
                operation.suppress,
                first_position(account),
                first_position(account),
                time_ms,
                account,
            ),
        )
        return self._states.find(operation.account_id, operation.erasure_id)

    def erase(self, operation: EraseEvents, account: int) -> ErasureStep:
        """Erases the next events and appends a notice to the log. Raises ErasureNotFoundError."""
        running = self._find_running(operation.erasure_id, account)
        if running.subject is None:
            return ErasureStep(self._states.find(operation.account_id, operation.erasure_id), None)
        lost = self._remove_planned(account)
        try:
            page = self._pages.read(_query(operation, running))
        except DamagedEventsError as damage:
            raise damage.__cause__ or damage from None  # it has ended the transaction
        if not self._connection.in_transaction:  # so has damage that ends a page early
            raise apsw.CorruptError("damaged behind the events of the page")
        events = [each for each in page.rows if each[0].position <= running.through_position]
        if events and self._removal.erase(account, events):
            self._purge.schedule()
        ids = sorted([*lost, *(StoredId(row.position, event.event_id) for row, event in events)])
        erased = [each.position for each in ids]
        tail = None
        if ids:
            self._tombstones.add(account, [each.event_id for each in ids])
            tail = self._append_notice(operation, account, erased)
        is_last = page.next_position is None or page.next_position >= running.through_position
        self._connection.execute(
            "UPDATE erasures SET erased_events = erased_events + ?, progress = ?,"
            " subject = iif(?, NULL, subject) WHERE number = ?",
            (len(ids), page.next_position or running.through_position, is_last, running.number),
        )
        return ErasureStep(self._states.find(operation.account_id, operation.erasure_id), tail, erased)

    def plan(self, operation: EraseEvents) -> bool:
        """Finds damaged events that the erasure meets, between transactions; the next step removes them.

        The index tells which are the subject's. Returns whether there are any. Raises apsw.Error.
        """
        path, account_id = self._connection.db_filename("main"), operation.account_id
        with DamagedEvents.of(path, account_id) as damaged:
            account = find_account(damaged.connection, account_id) or NO_ACCOUNT
            running = self._find_running(operation.erasure_id, account)
            if running.subject is None:
                return False
            wanted = EventPages(damaged.connection).candidates(_query(operation, running))
            met = [each for each in damaged.ranges() if each.is_near(wanted)]
        self._planned = plan_removal(path, account_id, met)
        self._wanted = set(wanted)
        return bool(self._planned)

    def forget_plan(self) -> None:
        """Drops a plan that no step has carried out."""
        self._planned = ()

    def _remove_planned(self, account: int) -> list[StoredId]:
        """Removes the damaged events that are planned; returns those of the subject."""
        planned, self._planned = self._planned, ()
        if not planned:
            return []
        remove_damaged(self._connection, account, planned)
        self._removal.redact_results(account, [each.event_id for each in planned])
        return [each for each in planned if each.position in self._wanted]

    def complete(self, operation: CompleteErasure, account: int, time_ms: int) -> ErasureState:
        """Completes an erasure that has no events left; idempotent. Raises ErasureNotFoundError."""
        self._connection.execute(
            "UPDATE erasures SET complete_time_ms = ?"
            " WHERE account = ? AND erasure_id = ? AND subject IS NULL AND complete_time_ms IS NULL",
            (time_ms, account, operation.erasure_id),
        )
        return self._states.find(operation.account_id, operation.erasure_id)

    def lift(self, operation: LiftSuppression, account: int) -> int:
        """Lifts a suppression; returns 0 if there was none. Raises ErasureNotFoundError."""
        if isinstance(operation.target, Subject):
            return self._suppressions.lift(
                account, self._suppressions.hash_subject(account, operation.target)
            )
        row = self._connection.execute(
            "SELECT subject_hash FROM erasures WHERE account = ? AND erasure_id = ?",
            (account, operation.target),
        ).fetchone()
        if row is None:
            raise ErasureNotFoundError(operation.target)
        return self._suppressions.lift(account, bytes(row[0]))

    def _find_running(self, erasure_id: str, account: int) -> _RunningErasure:
        row = self._connection.execute(
            "SELECT number, kind, subject, through_position, progress FROM erasures"
            " WHERE account = ? AND erasure_id = ?",
            (account, erasure_id),
        ).fetchone()
        if row is None:
            raise ErasureNotFoundError(erasure_id)
        return _RunningErasure(*row)

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


def _nothing_erased(operation: BeginErasure, time_ms: int) -> ErasureState:
    """The state of an erasure in an account that has nothing."""
    return ErasureState(
        number=0,
        erasure_id=operation.erasure_id,
        request_id=operation.request_id,
        subject_kind=operation.subject.kind,
        erased_events=0,
        is_suppressing=False,
        create_time_ms=time_ms,
        complete_time_ms=time_ms,
        has_events_left=False,
    )


def _query(operation: EraseEvents, running: _RunningErasure) -> PageQuery:
    assert running.subject is not None
    return PageQuery(
        account_id=operation.account_id,
        wanted=filter_of(Subject(running.kind, running.subject)),
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
