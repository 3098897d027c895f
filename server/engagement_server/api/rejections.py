"""Rejected events of calls: notes them for the record, and shows the record of an account."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.api.times import require_times
from engagement_server.clock import ceil_ms
from engagement_server.errors import EntityUnknownError, EventIdConflictError
from engagement_server.metrics.rejected_events import describe
from engagement_server.metrics.rejections import HOUR_MS, OTHER_SOURCES, RuleKey
from engagement_server.model import Outcome
from engagement_server.validation import event_error, require_valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engagement_server.errors import FieldInvalidError
    from engagement_server.metrics.rejections import AccountCounts, Recent, Rejections, Snapshot
    from engagement_server.model import Verdict
    from engagement_server.validation import Examined

MAX_COUNTS = 1_000
"""Limit on the counts of a response."""
_UNKNOWN = v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN
_CONFLICT = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
# What neither a source nor a rule has had room for.
_OTHER_RULES = RuleKey(OTHER_SOURCES, "", "", 0)


class CallRejections:
    """Puts the rejected events of one call into the record."""

    def __init__(self, rejections: Rejections, *, account_id: str, method: str) -> None:
        self._rejections = rejections
        self._account_id = account_id
        self._method = method

    def note_refused(
        self, events: Sequence[v1.Event], examined: Examined, error: FieldInvalidError | EventIdConflictError
    ) -> None:
        """Notes the events because of which a call was refused as a whole."""
        if isinstance(error, EventIdConflictError):
            named = [event for event in events if event.event_id == error.metadata["eventId"]]
            for event in named[-1:]:  # the one before it with the same id, if any, had its content
                self._note(event, v1.EventError(reason=_CONFLICT))
        elif isinstance(error, EntityUnknownError):
            unknown = event_error(error.violations)
            unknown.reason = _UNKNOWN
            self._note(events[error.index], unknown)
        elif all(violation.field != "account_id" for violation in error.violations):
            for index, violations in examined.violations.items():
                self._note(events[index], event_error(violations))

    def note_rejected(self, events: Sequence[v1.Event], verdicts: Sequence[Verdict]) -> None:
        """Notes the events of a batch that were rejected alone."""
        for verdict in verdicts:
            if verdict.outcome == Outcome.REJECTED:
                self._note(events[verdict.index], v1.EventError.FromString(verdict.error))

    def _note(self, event: v1.Event, error: v1.EventError) -> None:
        self._rejections.note(self._account_id, self._method, describe(event, error))


async def list_rejections(
    request: v1.ListRejectionsRequest, rejections: Rejections
) -> v1.ListRejectionsResponse:
    """Returns the record of an account. Raises FieldInvalidError and StoreUnavailableError."""
    require_valid(request)
    require_times(request)
    selected = _Selection(
        start_ms=ceil_ms(request.start_time.ToNanoseconds()),
        end_ms=ceil_ms(request.end_time.ToNanoseconds()) if request.HasField("end_time") else None,
        source=request.source if request.HasField("source") else None,
    )
    return _response(await rejections.read(request.account_id), request.account_id, selected)


class _Selection(NamedTuple):
    """Which rejected events are asked for."""

    start_ms: int
    end_ms: int | None
    source: str | None
    """Exact; None for any."""

    def has_hour(self, number: int) -> bool:
        start_ms = number * HOUR_MS
        return start_ms + HOUR_MS > self.start_ms and (self.end_ms is None or start_ms < self.end_ms)

    def has_source(self, source: str) -> bool:
        return self.source is None or self.source == source

    def has(self, recent: Recent) -> bool:
        is_before_end = self.end_ms is None or recent.time_ms < self.end_ms
        return recent.time_ms >= self.start_ms and is_before_end and self.has_source(recent.event.source)


def _response(snapshot: Snapshot, account_id: str, selected: _Selection) -> v1.ListRejectionsResponse:
    response = v1.ListRejectionsResponse()
    response.record_start_time.FromMilliseconds(snapshot.since_ms)
    by_rule: defaultdict[RuleKey, Counter[int]] = defaultdict(Counter)
    for number, counts in snapshot.hours.items():
        if not selected.has_hour(number):
            continue
        account = counts.accounts.get(account_id)
        # Which accounts had no room, only each process knew.
        response.incomplete |= counts.other_events > 0
        if account is None:
            continue
        response.incomplete |= not account.is_complete
        response.rejected_events += sum(
            events for source, events in account.events if selected.has_source(source)
        )
        for key, events in _rules(account):
            if selected.has_source(key.source):
                by_rule[key][number] += events
    largest = sorted(by_rule.items(), key=lambda rule: (-rule[1].total(), rule[0]))
    response.incomplete |= len(largest) > MAX_COUNTS
    response.counts.extend(_count_message(key, hours) for key, hours in largest[:MAX_COUNTS])
    for recent in reversed(snapshot.recent.get(account_id, ())):
        if recent.time_ms >= snapshot.since_ms and selected.has(recent):
            response.recent.append(_recent_message(recent))
    return response


def _rules(account: AccountCounts) -> Iterator[tuple[RuleKey, int]]:
    yield from account.rules
    if account.other_rules:
        yield _OTHER_RULES, account.other_rules


def _count_message(key: RuleKey, hours: Mapping[int, int]) -> v1.RejectionCount:
    is_other = key.source == OTHER_SOURCES
    message = v1.RejectionCount(
        source="" if is_other else key.source,
        other=is_other,
        field=key.field,
        rule=key.rule,
        reason=v1.ErrorReason.Name(key.reason),
        events=sum(hours.values()),
    )
    for number, events in sorted(hours.items()):
        message.hours.add(events=events).start_time.FromMilliseconds(number * HOUR_MS)
    return message


def _recent_message(recent: Recent) -> v1.RecentRejection:
    event = recent.event
    message = v1.RecentRejection(
        method=recent.method,
        source=event.source,
        field=event.rules[0].field,
        rule=event.rules[0].rule,
        reason=v1.ErrorReason.Name(event.reason),
        description=event.description,
        value_shape=event.shape,
        violations_total=event.violations_total,
    )
    message.reject_time.FromMilliseconds(recent.time_ms)
    return message
