"""Quotas: how much the callers of a grant may use, beside what they may do."""

from __future__ import annotations

from typing import Final, NamedTuple

EVENTS_PER_SECOND: Final = "events_per_second"
CONCURRENT_STREAMS: Final = "concurrent_streams"
STORED_BYTES: Final = "stored_bytes"
MAX_NEW_ACCOUNTS: Final = "max_new_accounts"
PUBLISHABLE_EVENTS_PER_SECOND: Final = 1_000.0
"""Of a publishable grant that names no rate."""


class Quotas(NamedTuple):
    """The quotas of a grant, by their keys there; None: no limit."""

    events_per_second: float | None = None
    """What its callers may send to one account, or with a publishable grant to all accounts, by one node."""
    concurrent_streams: int | None = None
    """Uploads and subscriptions that its callers may have open at one node."""
    stored_bytes: int | None = None
    """How much an account may store, whoever sent it, for its callers to send more."""
    max_new_accounts: int | None = None
    """How many accounts may have their first event from its callers."""


NO_QUOTAS: Final = Quotas()
PUBLISHABLE_QUOTAS: Final = Quotas(events_per_second=PUBLISHABLE_EVENTS_PER_SECOND)
"""Of a publishable grant that names none."""
