"""The new events of one account in one commit: judged as they come, inserted together at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS
from engagement_server.store.account_rows import open_account
from engagement_server.store.admission import Admission
from engagement_server.store.verdicts import Judgement, find_stored, judge, payload_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.model import Batch, EventRecord
    from engagement_server.store.admission import Ruling
    from engagement_server.store.entity_rows import EntityRows
    from engagement_server.store.forgotten import Forgotten
    from engagement_server.store.index_merges import IndexMerges

# One statement inserts a usual chunk: between two statements the thread may wait for the interpreter.
_ROWS_A_STATEMENT = 500
_EVENT_COLUMNS = 10
_SEARCH_COLUMNS = 5
# About what the ids of an event add to the text of the index.
_IDENTIFIER_CHARACTERS = 24


class PendingEvents:
    """Works inside the transaction of the caller, who calls `flush` before its end."""

    def __init__(  # noqa: PLR0913  # all but three are named at the call
        self,
        connection: apsw.Connection,
        account_id: str,
        event_ids: Sequence[str],
        *,
        forgotten: Forgotten,
        entities: EntityRows,
        merges: IndexMerges,
        time_ms: int,
    ) -> None:
        """Looks up the ids of all events that are to be judged: one look-up, however many calls wait."""
        self._connection = connection
        self._merges = merges
        self._time_ms = time_ms
        account, _, self._last_position = open_account(connection, account_id)
        self._known = find_stored(connection, account, event_ids, forgotten=forgotten)
        self._admission = Admission(account, lists=entities.lists_of(account), forgotten=forgotten)
        self._fresh: list[EventRecord] = []
        self._rulings: list[Ruling] = []

    def judge(self, batch: Batch, *, is_atomic: bool) -> Judgement:
        """Tells what is new, and keeps it for the flush.

        Raises EventIdConflictError and EntityUnknownError where `is_atomic`.
        """
        judgement = judge(
            batch,
            self._known,
            admission=self._admission,
            read_payload=payload_reader(self._connection),
            first_position=self._last_position + 1 + len(self._fresh),
            is_atomic=is_atomic,
        )
        self._fresh += judgement.fresh
        self._rulings += judgement.rulings
        return judgement

    def flush(self) -> int:
        """Inserts what is new; the account's last position."""
        if not self._fresh:
            return self._last_position
        first = self._last_position + 1
        self._insert(first)
        self._widen_blocks(first)
        last = self._last_position + len(self._fresh)
        # Kept apart from the events, so that erasing the newest one never frees its position.
        self._connection.execute(
            "UPDATE accounts SET last_sequence = ? WHERE number = ?",
            (last & (1 << SEQUENCE_BITS) - 1, last >> SEQUENCE_BITS),
        )
        return last

    def _insert(self, position: int) -> None:
        account, time_ms = position >> SEQUENCE_BITS, self._time_ms
        for start in range(0, len(self._fresh), _ROWS_A_STATEMENT):
            events: list[apsw.SQLiteValue] = []
            search: list[apsw.SQLiteValue] = []
            text_characters = 0
            part = self._fresh[start : start + _ROWS_A_STATEMENT]
            rulings = self._rulings[start : start + _ROWS_A_STATEMENT]
            for offset, (record, ruling) in enumerate(zip(part, rulings, strict=True), position + start):
                event_id, attribute_set, authenticated, server_time_ms, payload, indexed = record
                events += (
                    offset, account, event_id, attribute_set, authenticated,
                    server_time_ms or time_ms, time_ms, payload, ruling[0], ruling[1],
                )  # fmt: skip
                search += (offset, *indexed)
                text_characters += len(indexed[0]) + _IDENTIFIER_CHARACTERS
            self._connection.execute(_insert_statement("events", len(part)), events)
            self._connection.execute(_insert_statement("search", len(part)), search)
            self._merges.after_insert(rows=len(part), text_characters=text_characters)

    def _widen_blocks(self, position: int) -> None:
        """Lets the time bounds of the blocks cover the new events."""
        start = 0
        while start < len(self._fresh):
            block = position + start >> BLOCK_BITS
            end = min(len(self._fresh), (block + 1 << BLOCK_BITS) - position)
            times = [record.server_time_ms or self._time_ms for record in self._fresh[start:end]]
            self._connection.execute(
                "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE"
                " SET min_ms = min(min_ms, excluded.min_ms), max_ms = max(max_ms, excluded.max_ms)",
                (block, min(times), max(times)),
            )
            start = end


def _insert_statement(table: str, rows: int) -> str:
    if table == "events":
        return _INSERT_EVENTS + ",".join(_EVENT_ROW for _ in range(rows))
    return _INSERT_SEARCH + ",".join(_SEARCH_ROW for _ in range(rows))


_INSERT_EVENTS = "INSERT INTO events VALUES "
_EVENT_ROW = "(" + ",".join("?" * _EVENT_COLUMNS) + ")"
_INSERT_SEARCH = "INSERT INTO search (rowid, attributes, consumer_id, conversation_id, customer_id) VALUES "
_SEARCH_ROW = "(" + ",".join("?" * _SEARCH_COLUMNS) + ")"
