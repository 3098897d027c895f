"""The new events of one account in one commit: judged as they arrive, inserted together at its end."""

from __future__ import annotations

from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING, TypeAlias

from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
from engagement_server.model import NewEvents, StoredRow
from engagement_server.store.account_rows import next_account, open_account
from engagement_server.store.foreign_batches import adapted
from engagement_server.store.index_rows import insert_words

if TYPE_CHECKING:
    import apsw

    from engagement_server.model import Batch, BatchPlace, EventRecord
    from engagement_server.store.admission import Admission
    from engagement_server.store.index_merges import IndexMerges
    from engagement_server.store.verdicts import Judge, JudgedBatch

_Place: TypeAlias = tuple[int | None, int | None]
"""The numbers of the upload and of the event there; None if a single call brought the event."""

# One statement inserts a usual chunk: between statements the thread may wait for the interpreter.
_ROWS_A_STATEMENT = 500
# Roughly the text that the ids of an event add to the index.
_IDENTIFIER_CHARACTERS = 24


class PendingEvents:
    """Works inside the transaction of the caller, who calls `flush` before its end."""

    def __init__(  # noqa: PLR0913  # all but two are named at the call
        self,
        connection: apsw.Connection,
        account_id: str,
        *,
        last_position: int | None,
        judge: Judge,
        merges: IndexMerges,
        time_ms: int,
        event_time_ms: int,
    ) -> None:
        """Events without a time of their own get `event_time_ms`.

        Without a `last_position` there is no such account; the first new event creates it.
        """
        self._connection = connection
        self._account_id = account_id
        self._judge = judge
        self._merges = merges
        self._time_ms = time_ms
        self._event_time_ms = event_time_ms
        self._last_position = last_position
        self._records: list[EventRecord] = []
        self._admissions: list[Admission] = []
        self._places: list[_Place] = []
        self._upload_ids: dict[int | None, str] = {}
        self._principal = ""
        """Who sent the first of the new events."""

    def judge(
        self, batch: Batch, *, is_atomic: bool, principal: str = "", place: BatchPlace | None = None
    ) -> JudgedBatch:
        """Judges a batch, perhaps one of an upload, and keeps its new events for the flush.

        Raises EventIdConflictError and EntityUnknownError if `is_atomic`.
        """
        last_position = self._last_position
        if last_position is None:
            last_position = first_position(next_account(self._connection))
        first = last_position + 1 + len(self._records)
        judged = self._judge.judge(
            adapted(batch), positions=range(first, first + len(batch.records)), is_atomic=is_atomic
        )
        if self._last_position is None and judged.new_records:
            open_account(self._connection, self._account_id)
            self._last_position = last_position
        if not self._records:
            self._principal = principal
        self._records += judged.new_records
        self._admissions += judged.admissions
        if place is None:
            self._places += repeat((None, None), len(judged.new_records))
        else:
            first_number = place.first_number
            self._upload_ids[place.upload] = place.upload_id
            self._places += [(place.upload, first_number + index) for index in judged.new_indexes]
        return judged

    def flush(self) -> int | None:
        """Inserts the new events; returns the account's last position, None if there is no account."""
        if self._last_position is None or not self._records:
            return self._last_position
        first = self._last_position + 1
        self._insert(first)
        self._widen_blocks(first)
        last = self._last_position + len(self._records)
        # Stored apart from the events, so that erasing the newest event never frees its position.
        self._connection.execute(
            "UPDATE accounts SET last_sequence = ?, events = events + ?, stored_bytes = stored_bytes + ?,"
            " principal = iif(last_sequence = 0, ?, principal) WHERE number = ?",
            (
                last & (1 << SEQUENCE_BITS) - 1,
                len(self._records),
                sum(len(record.payload) for record in self._records),
                self._principal,
                last >> SEQUENCE_BITS,
            ),
        )
        return last

    @property
    def new_events(self) -> NewEvents | None:
        """The new events as the flush stores them; None if there is no account."""
        if self._last_position is None:
            return None
        first = self._last_position + 1
        return NewEvents(self._last_position + len(self._records), partial(self._rows, first))

    def _rows(self, first: int) -> list[StoredRow]:
        """The rows of the new events, at the positions from `first` on."""
        return [
            StoredRow(
                position,
                record.server_time_ms or self._event_time_ms,
                self._time_ms,
                record.payload,
                admission.matched_status,
                admission.matched_type,
                self._upload_ids.get(upload),
                event_number,
            )
            for position, record, admission, (upload, event_number) in zip(
                count(first), self._records, self._admissions, self._places, strict=False
            )
        ]

    def _insert(self, first: int) -> None:
        account, time_ms = first >> SEQUENCE_BITS, self._time_ms
        event_time_ms = self._event_time_ms
        for start in range(0, len(self._records), _ROWS_A_STATEMENT):
            records = self._records[start : start + _ROWS_A_STATEMENT]
            admissions = self._admissions[start : start + _ROWS_A_STATEMENT]
            places = self._places[start : start + _ROWS_A_STATEMENT]
            events: list[apsw.SQLiteValue] = []
            search: list[apsw.SQLiteValue] = []
            text_characters = 0
            for position, record, admission, place in zip(
                count(first + start), records, admissions, places, strict=False
            ):
                event_id, attribute_set, authenticated, server_time_ms, payload, indexed = record
                events += (
                    position, account, event_id, attribute_set, authenticated,
                    server_time_ms or event_time_ms, time_ms, payload, admission[0], admission[1], *place,
                )  # fmt: skip
                search += (position, *indexed)
                text_characters += len(indexed[0]) + _IDENTIFIER_CHARACTERS
            self._connection.execute(_INSERT_EVENTS + ",".join([_EVENT_ROW] * len(records)), events)
            self._connection.execute(insert_words(len(records)), search)
            self._merges.merge_share(rows=len(records), text_characters=text_characters)

    def _widen_blocks(self, position: int) -> None:
        """Widens the time bounds of the blocks to include the new events."""
        start = 0
        while start < len(self._records):
            block = position + start >> BLOCK_BITS
            end = min(len(self._records), (block + 1 << BLOCK_BITS) - position)
            times = [record.server_time_ms or self._event_time_ms for record in self._records[start:end]]
            self._connection.execute(
                "INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (block) DO UPDATE"
                " SET min_ms = min(min_ms, ?2), max_ms = max(max_ms, ?3),"
                " min_receive_ms = min(min_receive_ms, ?4), max_receive_ms = max(max_receive_ms, ?4)",
                (block, min(times), max(times), self._time_ms),
            )
            start = end


_INSERT_EVENTS = "INSERT INTO events VALUES "
# Without blanks: a statement of more than 16 KiB would be compiled each time.
_EVENT_ROW = "(?,?,?,?,?,?,?,?,?,?,?,?)"
