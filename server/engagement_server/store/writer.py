"""Applies commits to the SQLite file, in transactions on one thread.

Applying is deterministic: the same commits make the same rows everywhere.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import apsw

from engagement_server.errors import DataDamagedError, InapplicableCommitError, RequestError
from engagement_server.operations import (
    AbandonUpload,
    Applied,
    BeginErasure,
    ChangeEpoch,
    CommitChunk,
    CompleteErasure,
    DeleteEntity,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    FinishUpload,
    HoldExpiry,
    LiftSuppression,
    Opening,
    OpenUpload,
    PutEntities,
    RecordBatch,
    Recorded,
    ReleaseExpiry,
    SaveProfile,
    SetRetention,
)
from engagement_server.store.account_rows import NO_ACCOUNT, find_account
from engagement_server.store.checksums import require_checked
from engagement_server.store.entity_rows import EntityRows
from engagement_server.store.erasure_rows import ErasureRows
from engagement_server.store.event_expiry import EventExpiry
from engagement_server.store.failures import failure_of, obstacle_of
from engagement_server.store.index_merges import IndexMerges
from engagement_server.store.log_digest import DigestRows
from engagement_server.store.log_position import PositionRows, read_position
from engagement_server.store.pending_accounts import PendingAccounts
from engagement_server.store.profile_rows import ProfileRows
from engagement_server.store.purge import Purge
from engagement_server.store.retention_rows import RetentionRows, accepted_ms
from engagement_server.store.tombstones import Suppressions, Tombstones
from engagement_server.store.transience import is_transient
from engagement_server.store.upload_rows import UploadRows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import AccountOperation, Commit, Operation, Result
    from engagement_server.store.log_digest import DigestState, Divergence
    from engagement_server.store.log_position import LogPosition

T = TypeVar("T")


class Writer:
    """Turns commits into rows. Not thread-safe."""

    def __init__(
        self, connection: apsw.Connection, *, require_present: Callable[[], None] = lambda: None
    ) -> None:
        """`require_present` raises StoreUnavailableError once the files of the store are gone."""
        self._connection = connection
        self._require_present = require_present
        merges = IndexMerges(connection)
        self._uploads = UploadRows(connection)
        self._entities = EntityRows(connection)
        self._erasures = ErasureRows(connection, merges=merges)
        self._expiry = EventExpiry(connection, merges=merges)
        self._retention = RetentionRows(connection)
        self._profiles = ProfileRows(connection)
        self._position = PositionRows(connection)
        self._digests = DigestRows(connection)
        self._last_time_ms = read_position(connection).time_ms
        self._pending = PendingAccounts(
            connection,
            entities=self._entities,
            retention=self._retention,
            merges=merges,
            suppressions=Suppressions(connection),
            tombstones=Tombstones(connection),
        )
        self._tails: dict[str, int] = {}
        self._has_removed = False
        """Whether the running commit erases or expires events, or records of uploads."""
        self._openings: list[Opening] = []
        self._erased: defaultdict[str, list[int]] = defaultdict(list)

    def apply(self, commit: Commit) -> Applied:
        """Makes a commit durable.

        All of the commit is on disk when it returns, and none of it if it raises StoreUnavailableError or
        DataDamagedError.
        """
        try:
            return self._commit_own(commit)
        except DataDamagedError:
            if not self._plan_removals(commit):
                raise
        try:
            return self._commit_own(commit)
        finally:
            self._erasures.forget_plan()
            self._expiry.forget_plan()

    def _commit_own(self, commit: Commit) -> Applied:
        applied = self._in_transaction(lambda: self._apply_own(commit))
        self._require_present()
        return applied

    def _plan_removals(self, commit: Commit) -> bool:
        """Whether the steps of an erasure or an expiry can go on without damaged events."""
        steps = {each for each in commit.operations if isinstance(each, EraseEvents | ExpireEvents)}
        if len(steps) != 1:  # the committer tries each alone
            return False
        step = steps.pop()
        try:
            return self._erasures.plan(step) if isinstance(step, EraseEvents) else self._expiry.plan(step)
        except apsw.Error as error:
            raise failure_of(error) from error

    def apply_entries(self, entries: Sequence[LogEntry]) -> list[Applied | None]:
        """Applies entries of a log, all or none; the result of an entry that changes nothing is None.

        Raises StoreUnavailableError, and InapplicableCommitError if trying again does not help.
        """
        self._require_present()  # not behind the commit: entries are not applied twice
        try:
            return self._in_transaction(lambda: self._apply_entries(entries))
        except Exception as error:
            if is_transient(error.__cause__):
                raise
            raise InapplicableCommitError(entries[0].sequence, obstacle_of(error)) from error

    def compare_digests(self) -> DigestState:
        """Compares the view with others of its log. Raises StoreUnavailableError."""
        return self._in_transaction(lambda: self._digests.state(self._digests.voter()))

    @property
    def position(self) -> LogPosition:
        """The position of a view in its log."""
        return read_position(self._connection)

    @property
    def divergence(self) -> Divergence | None:
        """How the view differs from others of its log, if it does."""
        return self._digests.state(self._digests.known_voter() or "").divergence

    @property
    def last_erasure_ms(self) -> int:
        """When the last erasure began, in epoch milliseconds; 0: never."""
        ((last_ms,),) = self._connection.execute("SELECT coalesce(max(create_time_ms), 0) FROM erasures")
        return int(last_ms)

    @property
    def free_page_bytes(self) -> int:
        """Bytes of the file that removed rows have left for others."""
        return int(self._connection.pragma("freelist_count") * self._connection.pragma("page_size"))

    def free_log(self) -> None:
        """Moves the write-ahead log into the file, once readers are done, and gives its room to the disk."""
        with contextlib.suppress(apsw.Error):  # it may need room too
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @property
    def is_purge_due(self) -> bool:
        """Whether the files of a view hold bytes of erased events."""
        return Purge(self._connection).is_due

    def purge(self) -> Generator[float]:
        """Purges the files of the store: see `Purge.steps`."""
        return Purge(self._connection).steps()

    def _in_transaction(self, work: Callable[[], T]) -> T:
        time_before_ms = self._last_time_ms
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work()
            require_checked(self._connection)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._entities.discard_cache()
            self._retention.discard_cache()
            self._last_time_ms = time_before_ms
            if isinstance(error, apsw.Error):
                raise failure_of(error) from error
            raise
        finally:
            self._pending.discard()
            if self._connection.in_transaction:  # SQLite ends it by itself after some failures
                self._connection.execute("ROLLBACK")
        return result

    def _apply_own(self, commit: Commit) -> Applied:
        applied = self._apply_commit(commit)
        self._position.mark_time(self._last_time_ms)
        return applied

    def _apply_entries(self, entries: Sequence[LogEntry]) -> list[Applied | None]:
        self._digests.load()
        applied: list[Applied | None] = []
        for entry in entries:
            outcome = None
            if entry.commit is not None and not self._position.is_applied(entry):
                outcome = self._apply_commit(entry.commit)
                self._position.mark_applied(entry, time_ms=self._last_time_ms)
                if any(isinstance(operation, EraseEvents) for operation in entry.commit.operations):
                    Purge.schedule(self._connection)
            self._digests.fold(entry, outcome)
            applied.append(outcome)
        self._position.advance(entries[-1], time_ms=self._last_time_ms, digest=self._digests.value)
        return applied

    def _apply_commit(self, commit: Commit) -> Applied:
        self._retention.check_clock(commit.time_ms, last_ms=self._last_time_ms)
        time_ms = self._last_time_ms = accepted_ms(commit.time_ms, last_ms=self._last_time_ms)
        self._pending.begin(commit, time_ms=time_ms)
        self._tails, self._has_removed, self._openings = {}, False, []
        self._erased = defaultdict(list)
        results = [self._try_apply(operation, time_ms) for operation in commit.operations]
        self._tails |= self._pending.flush_all()
        erased = {account_id: sorted(positions) for account_id, positions in self._erased.items()}
        return Applied(
            results,
            self._tails,
            self._has_removed,
            self._openings,
            erased,
            commit.time_ms,
            self._retention.state,
            self._pending.new_events,
        )

    def _try_apply(self, operation: Operation, time_ms: int) -> Result | RequestError:
        try:
            return self._apply(operation, time_ms)
        except RequestError as error:
            return error

    def _apply(  # noqa: PLR0911  # one an operation
        self, operation: Operation, time_ms: int
    ) -> Result:
        match operation:
            case RecordBatch():
                pending = self._pending.of(operation.account_id)
                judged = pending.judge(
                    operation.batch, is_atomic=operation.is_atomic, principal=operation.principal
                )
                return Recorded(judged.verdicts())
            case OpenUpload() | CommitChunk() | FinishUpload() | AbandonUpload():
                return self._apply_to_upload(operation, time_ms)
            case ExpireUploads():
                if self._retention.state.hold is not None:
                    return 0
                self._position.expire_publishers(silent_since_ms=operation.idle_since_ms)
                expired = self._uploads.expire(operation)
                self._has_removed |= expired > 0  # events that were read before name their upload
                return expired
            case SetRetention() | HoldExpiry() | ReleaseExpiry():
                return self._apply_to_retention(operation, time_ms)
            case ChangeEpoch():
                return self._position.change_epoch(operation)
            case SaveProfile():
                return self._profiles.save(operation, self._find_account(operation.account_id))
            case _:
                return self._apply_to_account(operation, time_ms)

    def _apply_to_upload(
        self, operation: OpenUpload | CommitChunk | FinishUpload | AbandonUpload, time_ms: int
    ) -> Result:
        match operation:
            case OpenUpload():
                opened = self._uploads.open(operation, time_ms)
                # Behind it: one that is refused ends no stream.
                self._openings.append(Opening(operation.account_id, operation.upload_id, operation.owner))
                return opened
            case CommitChunk():
                pending = self._pending.of(operation.account_id)
                return self._uploads.commit_chunk(operation, time_ms, pending=pending)
            case FinishUpload():
                return self._uploads.finish(operation, time_ms)
            case AbandonUpload():
                return self._uploads.abandon(operation)

    def _apply_to_retention(
        self, operation: SetRetention | HoldExpiry | ReleaseExpiry, time_ms: int
    ) -> Result:
        match operation:
            case SetRetention():
                return self._retention.set(operation, time_ms)
            case HoldExpiry():
                return self._retention.hold(operation, time_ms)
            case ReleaseExpiry():
                return self._retention.release(operation)

    def _apply_to_account(  # noqa: PLR0911  # one an operation
        self, operation: AccountOperation, time_ms: int
    ) -> Result:
        """Applies an operation that must see the account's events before it and affect those after it.

        Only names of entities and suppressions create an account that is missing.
        """
        if (last_position := self._pending.flush(operation.account_id)) is not None:
            self._tails[operation.account_id] = last_position
        account = self._find_account(operation.account_id)
        match operation:
            case PutEntities():
                return self._entities.put(operation, account)
            case DeleteEntity():
                return self._entities.delete(operation, account)
            case BeginErasure():
                return self._erasures.begin(operation, account, time_ms)
            case EraseEvents():
                step = self._erasures.erase(operation, account)
                if step.last_position is not None:
                    self._tails[operation.account_id] = step.last_position
                    self._has_removed = True
                    self._erased[operation.account_id] += step.erased
                return step.state
            case CompleteErasure():
                return self._erasures.complete(operation, account, time_ms)
            case LiftSuppression():
                return self._erasures.lift(operation, account, time_ms)
            case ExpireEvents():
                return self._expire(operation, account, time_ms)

    def _expire(self, operation: ExpireEvents, account: int, time_ms: int) -> int:
        if account == NO_ACCOUNT or not self._retention.may_expire(operation, time_ms):
            return 0
        expired = self._expiry.expire(operation, account)
        self._has_removed |= expired > 0
        return expired

    def _find_account(self, account_id: str) -> int:
        return find_account(self._connection, account_id) or NO_ACCOUNT
