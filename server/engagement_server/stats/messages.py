"""What was sampled, as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from engagement import v1
from engagement_server.messages import MAX_DAMAGE_CHARACTERS, hold_message
from engagement_server.metrics.catalogue import REFUSED, STORE_BYTES
from engagement_server.metrics.rejections import OTHER_SOURCES

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from engagement_server.http.checks import Check
    from engagement_server.metrics.measures import Count, Key
    from engagement_server.metrics.rejected_rules import RejectedRule
    from engagement_server.metrics.samples import Sample
    from engagement_server.stats.stores import StoreWatch
    from engagement_server.streams.lags import Lag

MAX_FAILED_REASONS: Final = 50
MAX_NODES: Final = 100
_MAX_PROBLEM_CHARACTERS = 1024


def sample_message(sample: Sample) -> v1.ServerSample:
    """What happened in a short time."""
    accepted, duplicate, suppressed, rejected = sample.outcomes
    message = v1.ServerSample(
        accepted_events=accepted,
        duplicate_events=duplicate,
        suppressed_events=suppressed,
        rejected_events=rejected,
        calls=sample.calls,
        failed_calls=sample.failed_calls,
        commits=sample.commits,
        memory_bytes=sample.memory_bytes,
        max_lag_events=sample.max_lag_events,
    )
    message.end_time.FromMilliseconds(sample.end_ms)
    _set(message.duration, sample.seconds)
    _set(message.median_call_time, sample.median_call)
    _set(message.p99_call_time, sample.p99_call)
    _set(message.p99_commit_time, sample.p99_commit)
    return message


def check_message(check: Check) -> v1.ServerCheck:
    """A condition that the node checks about itself."""
    problem = check.problem[:_MAX_PROBLEM_CHARACTERS]
    return v1.ServerCheck(name=check.name, problem=problem, required=check.is_required)


def rule_message(rule: RejectedRule) -> v1.RejectedRule:
    """A broken rule."""
    is_other = rule.key.source == OTHER_SOURCES
    message = v1.RejectedRule(
        account_id=rule.account_id,
        source="" if is_other else rule.key.source,
        other=is_other,
        field=rule.key.field,
        rule=rule.key.rule,
        reason=v1.ErrorReason.Name(rule.key.reason),
        events=rule.events,
    )
    if rule.last is not None:
        message.last_reject_time.FromMilliseconds(rule.last.time_ms)
    if rule.last_described is not None:
        message.description = rule.last_described.event.description
        message.value_shape = rule.last_described.event.shape
    return message


def lag_message(lag: Lag) -> v1.SubscriptionStats:
    """An open subscription."""
    message = v1.SubscriptionStats(account_id=lag.account_id, lag_events=lag.events)
    message.start_time.FromMilliseconds(lag.start_ms)
    message.lag.FromMilliseconds(lag.age_ms)
    return message


def failed_calls(counts: Iterable[tuple[Key, Count]]) -> list[v1.FailedCalls]:
    """The reasons of errors that ended calls, most frequent first."""
    found = [
        (int(count.value), labels[0])
        for (name, labels), count in counts
        if name == REFUSED.name and count.value
    ]
    found.sort(key=lambda each: (-each[0], each[1]))
    return [v1.FailedCalls(reason=reason, calls=calls) for calls, reason in found[:MAX_FAILED_REASONS]]


def file_messages(gauges: Iterable[tuple[Key, float]]) -> list[v1.StoreFile]:
    """The sizes of the files of the store."""
    return [
        v1.StoreFile(kind=labels[0], bytes=int(value))
        for (name, labels), value in gauges
        if name == STORE_BYTES.name
    ]


def partition_message(store: StoreWatch, *, clock_ms: int) -> v1.PartitionStats:
    """The state of a partition; of its store, what that said last."""
    log, summary = store.log, store.summary
    message = v1.PartitionStats(
        number=store.number,
        current=log.is_current,
        log_lag_messages=log.lag_messages,
        damage=log.damage.message[:MAX_DAMAGE_CHARACTERS] if log.damage is not None else "",
    )
    if log.view_time_ms:
        message.view_age.FromMilliseconds(max(0, clock_ms - log.view_time_ms))
    if summary is None:
        return message
    message.stored_events = summary.events
    message.expired_events = summary.expired_events
    message.pending_erasures = summary.pending_erasures
    retention_ms, hold = summary.retention.retention_ms, summary.retention.hold
    if hold is not None:
        due, stored = (0, 0) if summary.due is None else summary.due[:2]
        message.expiry_hold.CopyFrom(hold_message(hold, due=due, stored=stored))
    if summary.oldest_receive_ms is not None:
        message.oldest_receive_time.FromMilliseconds(summary.oldest_receive_ms)
        if hold is None and retention_ms is not None:
            message.next_expiry_time.FromMilliseconds(summary.oldest_receive_ms + retention_ms)
    return message


def node_messages(stores: Sequence[StoreWatch]) -> list[v1.NodeStats]:
    """The nodes that have committed lately to the logs of some partitions, this one first among many."""
    own_ids = {store.log.node_id for store in stores}
    latest_ms: dict[str, int] = {}
    for store in stores:
        for node_id, time_ms in store.summary.publishers if store.summary is not None else ():
            latest_ms[node_id] = max(time_ms, latest_ms.get(node_id, 0))
    latest = sorted(latest_ms.items(), key=lambda each: (each[0] not in own_ids, -each[1]))[:MAX_NODES]
    messages = []
    for node_id, time_ms in sorted(latest):
        message = v1.NodeStats(node_id=node_id, self=node_id in own_ids)
        message.last_commit_time.FromMilliseconds(time_ms)
        messages.append(message)
    return messages


def _set(duration: Duration, seconds: float | None) -> None:
    if seconds is not None:
        duration.FromNanoseconds(round(seconds * 1_000_000_000))
