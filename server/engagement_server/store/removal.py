"""Removes events from the store: their rows, their words in the index, and everything derived from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engagement_server.store.account_rows import count_removed
from engagement_server.store.index_rows import delete_words
from engagement_server.store.index_separators import drop_separators
from engagement_server.store.rejection_rows import RejectionRows
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement import v1
    from engagement_server.model import StoredRow
    from engagement_server.store.index_merges import IndexMerges

# Dropping words from the index at once takes milliseconds per event. The words of more events are marked as
# deleted, and a purge of the whole index drops them: docs/decisions/0018-purging-the-index.md
_MAX_EVENTS_AT_ONCE = 100
# Many rows per statement: between statements the thread may wait for the interpreter.
_ROWS_A_STATEMENT = 100


class Removal:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._merges = merges
        self._rejections = RejectionRows(connection)

    def erase(self, account: int, events: Sequence[tuple[StoredRow, v1.Event]]) -> bool:
        """Removes events with their words; returns whether that takes a purge of the index as well."""
        if len(events) > _MAX_EVENTS_AT_ONCE:
            self.remove(account, events)
            return True
        self._set_secure_delete(1)
        self.remove(account, events)
        self._set_secure_delete(0)
        return not drop_separators(self._connection, [indexed_texts(event) for _, event in events])

    def remove(self, account: int, events: Sequence[tuple[StoredRow, v1.Event]]) -> None:
        """Removes events of one account and everything derived from them, so that no reader finds it.

        Their words stay in the files, invisible to searches, until the index is purged or merged.
        """
        for start in range(0, len(events), _ROWS_A_STATEMENT):
            self._delete_words(events[start : start + _ROWS_A_STATEMENT])
        self._connection.execute(
            "DELETE FROM events WHERE position IN (SELECT value FROM json_each(?))",
            (json.dumps([row.position for row, _ in events]),),
        )
        size_bytes = sum(len(row.payload) for row, _ in events)
        count_removed(self._connection, account, events=len(events), size_bytes=size_bytes)
        self.clear_results(account, [event.event_id for _, event in events])
        self._remove_folds(account, [event for _, event in events])

    def _remove_folds(self, account: int, events: Sequence[v1.Event]) -> None:
        """Removes the folds that events may be in; none has neither id."""
        consumer_ids = {event.consumer_id for event in events} - {""}
        customer_ids = {event.customer_info.customer_id for event in events} - {""}
        self._connection.execute(
            "DELETE FROM profiles WHERE account = ? AND consumer_id IN (SELECT value FROM json_each(?))",
            (account, json.dumps(sorted(consumer_ids))),
        )
        self._connection.execute(
            "DELETE FROM profiles WHERE account = ? AND consumer_id = ''"
            " AND customer_id IN (SELECT value FROM json_each(?))",
            (account, json.dumps(sorted(customer_ids))),
        )

    def clear_results(self, account: int, event_ids: Sequence[str]) -> None:
        """Clears the ids, and errors that may quote the events, in the results of uploads."""
        ((account_id,),) = self._connection.execute(
            "SELECT account_id FROM accounts WHERE number = ?", (account,)
        )
        self._rejections.clear_ids(str(account_id), event_ids)

    def _set_secure_delete(self, value: int) -> None:
        self._connection.execute("INSERT INTO search (search, rank) VALUES ('secure-delete', ?)", (value,))

    def _delete_words(self, events: Sequence[tuple[StoredRow, v1.Event]]) -> None:
        values: list[apsw.SQLiteValue] = []
        text_characters = 0
        for row, event in events:
            texts = indexed_texts(event)
            values += (row.position, *texts)
            text_characters += len(texts[0])
        self._connection.execute(delete_words(len(events)), values)
        # Marks are merged like the words that they delete.
        self._merges.merge_share(rows=len(events), text_characters=text_characters)
