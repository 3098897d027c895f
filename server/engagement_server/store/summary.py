"""A store at a glance: how much it holds, what is about to be removed, and who has committed to it.

Reading it takes longer the more accounts there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engagement_server.cursor import BLOCK_BITS
from engagement_server.model import DueEvents, RetentionState
from engagement_server.store.receive_times import ReceiveTimes
from engagement_server.store.retention_rows import read_retention

if TYPE_CHECKING:
    import apsw

MAX_PUBLISHERS: Final = 1_000
"""Limit on the publishers that are told."""
# Beyond, there may be an older event than the one that is told.
_MAX_LOOKED_AT: Final = 256


class SummaryQuery(NamedTuple):
    """What a summary is about, in epoch milliseconds."""

    clock_ms: int
    """The time of the clock."""
    max_clock_lead_ms: int
    """How far ahead of it events may have been accepted."""
    committed_since_ms: int
    """Publishers with a commit since then are told."""


class Summary(NamedTuple):
    """What a store holds; times are epoch milliseconds."""

    events: int
    expired_events: int
    """Events that have been expired so far; those that were erased before count as well."""
    oldest_receive_ms: int | None
    """When the oldest event was accepted; None if there is none."""
    pending_erasures: int
    retention: RetentionState
    due: DueEvents | None
    """What would expire now; only while expiry is held."""
    publishers: Sequence[tuple[str, int]]
    """The publishers that have committed lately, and when they did last."""


def read_summary(connection: apsw.Connection, query: SummaryQuery) -> Summary:
    """Reads it through the connection of the caller."""
    ((events, expired),) = connection.execute(
        "SELECT coalesce(sum(events), 0), coalesce(sum(expired_sequence), 0) FROM accounts"
    )
    ((erasures,),) = connection.execute("SELECT count(*) FROM erasures WHERE complete_time_ms IS NULL")
    publishers: Any = connection.execute(  # Any: each column has its own type
        "SELECT publisher, time_ms FROM publishers WHERE time_ms >= ? ORDER BY time_ms DESC LIMIT ?",
        (query.committed_since_ms, MAX_PUBLISHERS),
    )
    times, retention = ReceiveTimes(connection), read_retention(connection)
    due = None
    if retention.hold is not None and retention.retention_ms is not None:
        due = times.count_due(
            accepted_before_ms=query.clock_ms - retention.retention_ms,
            confirmed_before_ms=0,
            clock_ms=query.clock_ms + query.max_clock_lead_ms,
        )
    oldest_ms = _oldest_receive_ms(connection, times)
    return Summary(int(events), int(expired), oldest_ms, int(erasures), retention, due, list(publishers))


def _oldest_receive_ms(connection: apsw.Connection, times: ReceiveTimes) -> int | None:
    """When the oldest event was accepted, as the first one of each block tells.

    The bounds of a block include events that were removed since.
    """
    blocks: Any = connection.execute(  # Any: each column has its own type
        "SELECT block, min_receive_ms FROM blocks ORDER BY min_receive_ms LIMIT ?", (_MAX_LOOKED_AT,)
    ).fetchall()
    oldest_ms = None
    for block, lowest_ms in blocks:
        if oldest_ms is not None and lowest_ms >= oldest_ms:
            break
        first_ms = times.first_accepted_ms((block << BLOCK_BITS) - 1, (block + 1 << BLOCK_BITS) - 1)
        if first_ms is not None:
            oldest_ms = first_ms if oldest_ms is None else min(oldest_ms, first_ms)
    return oldest_ms
