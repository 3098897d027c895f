"""The record of the events that a server has rejected: counts by account, source and rule, and the last few.

It is in memory only: rejected events leave nothing in the store but the results of uploads. It knows neither
gRPC nor the store. See docs/decisions/0053-rejections-are-counted-in-memory.md.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from engagement_server.clock import now_ms
from engagement_server.metrics.counters import Counters
from engagement_server.metrics.rejected_events import RejectedEvent

HOUR_MS = 3_600_000
WINDOW_HOURS = 48
"""How many hours are kept, with the present one."""
MAX_ACCOUNTS = 200
"""Limit on accounts with counts in one hour, and on those with recent events."""
MAX_SOURCES = 32
"""Limit on sources of an account in one hour."""
MAX_ACCOUNT_RULES = 200
"""Limit on broken rules of an account in one hour: each is of one source and one field."""
MAX_RULES = 1_000
"""Limit on broken rules of all accounts in one hour."""
MAX_RECENT = 20
"""Limit on recent events of an account."""
OTHER_SOURCES = "\0"
"""In place of the sources that an account has no room for; no source has this name."""


class RuleKey(NamedTuple):
    """One rule that events of one source broke in one field."""

    source: str
    field: str
    rule: str
    reason: int
    """A number of `ErrorReason`."""


class Recent(NamedTuple):
    """One rejected event."""

    time_ms: int
    method: str
    """The method of the contract that brought it."""
    event: RejectedEvent


class AccountCounts(NamedTuple):
    """The counts of one account in one hour."""

    events: Sequence[tuple[str, int]]
    """Rejected events by source."""
    rules: Sequence[tuple[RuleKey, int]]
    """Rejected events by broken rule."""
    other_rules: int
    """Rejected events by broken rules that there was no room for."""

    @property
    def is_complete(self) -> bool:
        """Whether each source and rule has a count of its own."""
        return not self.other_rules and all(source != OTHER_SOURCES for source, _ in self.events)


class HourCounts(NamedTuple):
    """The counts of one hour."""

    accounts: Mapping[str, AccountCounts]
    other_events: int
    """Rejected events of accounts that there was no room for."""


class Snapshot(NamedTuple):
    """What was counted; times are epoch milliseconds."""

    since_ms: int
    """When the record began."""
    hours: Mapping[int, HourCounts]
    """By number since 1970."""
    recent: Mapping[str, Sequence[Recent]]
    """The last events of each account, oldest first."""


class _Account:
    """The counts of one account in one hour."""

    __slots__ = ("events", "rules")

    def __init__(self) -> None:
        self.events: Counters[str] = Counters(max_keys=MAX_SOURCES)
        self.rules: Counters[RuleKey] = Counters(max_keys=MAX_ACCOUNT_RULES)

    def counts(self) -> AccountCounts:
        events = [*self.events]
        if self.events.others:
            events.append((OTHER_SOURCES, self.events.others))
        return AccountCounts(events, [*self.rules], self.rules.others)


class _Hour:
    """The counts of one hour."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._rules = 0
        self.other_events = 0

    def add(
        self, account_id: str, events: Iterable[tuple[str, int]], rules: Iterable[tuple[RuleKey, int]]
    ) -> None:
        """Counts events by source and by broken rule, which have room as long as no limit is reached."""
        account = self._accounts.get(account_id)
        if account is None:
            if len(self._accounts) >= MAX_ACCOUNTS or self._rules >= MAX_RULES:
                self.other_events += sum(amount for _, amount in events)
                return
            account = self._accounts[account_id] = _Account()
        for source, amount in events:
            if source == OTHER_SOURCES:
                account.events.others += amount
            else:
                account.events.add(source, amount)
        counted = account.rules
        for key, amount in rules:
            known = key if key.source in account.events else key._replace(source=OTHER_SOURCES)
            if known in counted:
                counted.add(known, amount)
            elif self._rules < MAX_RULES and counted.has_room:
                self._rules += 1
                counted.add(known, amount)
            else:
                counted.others += amount

    def counts(self, account_id: str | None = None) -> HourCounts:
        """All counts, or those of one account."""
        found = {
            name: account.counts()
            for name, account in self._accounts.items()
            if account_id is None or name == account_id
        }
        return HourCounts(found, self.other_events)

    def merge(self, counts: HourCounts) -> None:
        for account_id, account in counts.accounts.items():
            self.add(account_id, account.events, account.rules)
            if account_id in self._accounts:
                self._accounts[account_id].rules.others += account.other_rules
        self.other_events += counts.other_events


class Rejections:
    """The record of one process, of the last hours.

    The parent of workers merges theirs into its own: see `Mergeable`.
    """

    def __init__(
        self,
        *,
        read_shared: Callable[[str], Awaitable[Snapshot]] | None = None,
        on_rejected: Callable[[RejectedEvent, int], None] = lambda _, __: None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`read_shared` asks the process that has everything for the snapshot of an account.

        `on_rejected` is called for events that this process rejects, with their number.
        """
        self._read_shared = read_shared
        self._on_rejected = on_rejected
        self._clock = clock
        self._since_ms = clock()
        self._hours: dict[int, _Hour] = {}
        self._recent: OrderedDict[str, deque[Recent]] = OrderedDict()

    def note(self, account_id: str, method: str, event: RejectedEvent, *, events: int = 1) -> None:
        """Counts rejected events that are described alike; one of them is among the recent."""
        time_ms = self._clock()
        source, reason = event.source, event.reason
        rules = [(RuleKey(source, field, rule, reason), events) for field, rule in event.rules]
        self._hour(time_ms // HOUR_MS).add(account_id, ((source, events),), rules)
        self._add_recent(account_id, (Recent(time_ms, method, event),))
        self._on_rejected(event, events)

    async def read(self, account_id: str) -> Snapshot:
        """What all processes of this server have counted for an account. Raises StoreUnavailableError."""
        if self._read_shared is not None:
            return await self._read_shared(account_id)
        return self.of(account_id)

    def of(self, subject: str) -> Snapshot:
        """What this process has counted for an account: see `Mergeable.of`."""
        hours = {number: hour.counts(subject) for number, hour in self._kept()}
        recent = self._recent.get(subject)
        return Snapshot(self.since_ms, hours, {subject: list(recent)} if recent else {})

    def latest(self, hours: int) -> Snapshot:
        """What this process has counted for all accounts in the present hour and those before it."""
        present = self._clock() // HOUR_MS
        counted = {n: hour.counts() for n, hour in self._kept() if present - hours < n <= present}
        return Snapshot(self.since_ms, counted, {name: [*last] for name, last in self._recent.items()})

    @property
    def since_ms(self) -> int:
        """When the record begins: with this process, or with the first hour that is kept."""
        self._since_ms = min(self._since_ms, self._clock())  # it may have been set back
        return max(self._since_ms, self._first_hour() * HOUR_MS)

    def drain(self) -> Snapshot | None:
        """See `Mergeable.drain`."""
        if not self._hours:
            return None
        hours = {number: hour.counts() for number, hour in self._kept()}
        snapshot = Snapshot(self.since_ms, hours, {name: [*last] for name, last in self._recent.items()})
        self._hours.clear()
        self._recent.clear()
        return snapshot

    def merge(self, snapshot: Snapshot) -> None:
        """See `Mergeable.merge`."""
        for number, counts in snapshot.hours.items():
            self._hour(number).merge(counts)
        for account_id, events in snapshot.recent.items():
            self._add_recent(account_id, events)

    def _first_hour(self) -> int:
        return self._clock() // HOUR_MS - WINDOW_HOURS + 1

    def _kept(self) -> list[tuple[int, _Hour]]:
        first = self._first_hour()
        return sorted((number, hour) for number, hour in self._hours.items() if number >= first)

    def _hour(self, number: int) -> _Hour:
        """An hour; a new one ends the oldest."""
        hour = self._hours.get(number)
        if hour is None:
            first = self._first_hour()
            self._hours = {kept: each for kept, each in self._hours.items() if kept >= first}
            hour = self._hours[number] = _Hour()
            if len(self._hours) > WINDOW_HOURS:  # the clock was set back
                del self._hours[max(self._hours)]
        return hour

    def _add_recent(self, account_id: str, events: Sequence[Recent]) -> None:
        last = self._recent.get(account_id)
        if last is None:
            last = self._recent[account_id] = deque(maxlen=MAX_RECENT)
            if len(self._recent) > MAX_ACCOUNTS:
                self._recent.popitem(last=False)
        self._recent.move_to_end(account_id)
        time_ms = self._clock()
        while last and last[-1].time_ms > time_ms:  # the clock was set back
            last.pop()
        if last and events and events[0].time_ms < last[-1].time_ms:
            latest_ms = self._clock()  # later ones are of a clock that was ahead
            events = sorted([*(each for each in last if each.time_ms <= latest_ms), *events])
            last.clear()
        last.extend(events)
