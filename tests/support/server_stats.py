"""States of a server that a test makes, as JSON: a busy one, and one that is all text of a stranger."""

from __future__ import annotations

import functools
import json
import math
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from engagement import v1
from tests.support.events import text_fields

NOW_SECONDS: Final = 1_700_000_000
_DAY_SECONDS: Final = 86_400
_SAMPLES: Final = 120
_SAMPLE_SECONDS: Final = 5

Json = dict[str, Any]  # Any: whatever JSON has


def as_json(message: Message) -> Json:
    """The message as the server prints it: each field without presence, whatever its value."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def busy_answer() -> Json:
    """The state of a busy server as JSON."""
    answer: Json = json.loads(_busy_text())
    return answer


@functools.cache
def _busy_text() -> str:
    return json.dumps(as_json(busy_server()))


def busy_server() -> v1.GetServerStatsResponse:
    """A node of a cluster that has something in every part of its state."""
    stats = v1.GetServerStatsResponse(
        version="0.1.0",
        rejected_events=4211,
        open_subscriptions=37,
        open_uploads=3,
        disk_free_bytes=61 * 2**30,
        memory_bytes=420 * 2**20,
        memory_limit_bytes=2 * 2**30,
    )
    stats.start_time.FromSeconds(NOW_SECONDS - 3 * _DAY_SECONDS - 4 * 3600)
    stats.sample_time.FromSeconds(NOW_SECONDS)
    for number in range(_SAMPLES):
        _fill(stats.samples.add(), number)
    for name in ("server", "log", "memory", "disk", "files of the store", "jobs", "expiry"):
        stats.checks.add(name=name, required=name in {"server", "log", "files of the store"})
    for number, reason in enumerate(("FIELD_INVALID", "OVERLOADED", "EVENT_ID_CONFLICT", "INTERNAL")):
        stats.failed_calls.add(reason=reason, calls=4 ** (6 - number))
    for number in range(20):
        _follow(stats.subscriptions.add(), number)
    for kind, size in (("database", 14 * 2**30), ("wal", 22 * 2**20), ("reserve", 64 * 2**20)):
        stats.files.add(kind=kind, bytes=size)
    for number in range(34):
        _reject(stats.rejected_rules.add(), number)
    for number in range(4):
        _hold(stats.partitions.add(), number)
    for number in range(3):
        node = stats.nodes.add(node_id=f"node-{number}-7f3a9c", self=number == 0)
        node.last_commit_time.FromSeconds(NOW_SECONDS - 2 * number)
    return stats


def _fill(sample: v1.ServerSample, number: int) -> None:
    wave = math.sin(number / 9) + 1.5
    sample.end_time.FromSeconds(NOW_SECONDS - _SAMPLE_SECONDS * (_SAMPLES - 1 - number))
    sample.duration.FromSeconds(_SAMPLE_SECONDS)
    sample.accepted_events = int(2000 * wave)
    sample.duplicate_events = 300 + number % 7 * 40
    sample.suppressed_events = 12
    sample.rejected_events = 900 if 70 < number < 90 else 25
    sample.calls = int(700 * wave)
    sample.failed_calls = 60 if 70 < number < 90 else 0
    sample.median_call_time.FromMicroseconds(int(1800 + 900 * wave))
    sample.p99_call_time.FromMicroseconds(int(9000 + 4000 * wave * (number % 5)))
    sample.commits = int(160 * wave)
    sample.p99_commit_time.FromMicroseconds(6200)
    sample.memory_bytes = (400 + number % 30) * 2**20
    sample.max_lag_events = number * 11 % 900


def _reject(rule: v1.RejectedRule, number: int) -> None:
    rule.account_id = f"brand-{number % 5}"
    rule.source = f"crm-{number % 3}"
    rule.field = "customer_info.last_payment_date"
    rule.rule = "date.valid" if number % 2 else "int64.gte"
    rule.reason = v1.ErrorReason.ERROR_REASON_FIELD_INVALID
    rule.events = 2000 // (number + 1)
    rule.last_reject_time.FromSeconds(NOW_SECONDS - 7 * number)
    rule.description = "must be a day of the calendar, with a year from 1 to 9999"
    rule.value_shape = "9999-99"


def _follow(subscription: v1.SubscriptionStats, number: int) -> None:
    subscription.account_id = f"brand-{number % 5}"
    subscription.start_time.FromSeconds(NOW_SECONDS - 1200 + number)
    subscription.lag_events = max(0, 3000 - 200 * number)
    subscription.lag.FromMilliseconds(max(0, 9500 - 600 * number))


def _hold(partition: v1.PartitionStats, number: int) -> None:
    partition.number = number
    partition.current = number != 2
    partition.stored_events = 12_345_678 + number
    partition.oldest_receive_time.FromSeconds(NOW_SECONDS - 300 * _DAY_SECONDS)
    partition.expired_events = 90_000
    partition.view_age.FromMilliseconds(700)
    if number == 1:
        hold = partition.expiry_hold
        hold.reason = v1.ExpiryHold.REASON_CLOCKS_DISAGREE
        hold.hold_time.FromSeconds(NOW_SECONDS - 900)
        hold.due_events, hold.stored_events = 120, 12_345_679
    else:
        partition.next_expiry_time.FromSeconds(NOW_SECONDS + 96 * _DAY_SECONDS)
    if number == 2:
        partition.pending_erasures, partition.log_lag_messages = 2, 340
    if number == 3:
        partition.damage = "message 17 of the log cannot be read"


def filled_with(text: str) -> v1.GetServerStatsResponse:
    """A state with the text in every field of text, followed by the name of the field."""
    stats = busy_server()
    _fill_texts(stats, text)
    return stats


def _fill_texts(message: Message, text: str) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                _fill_texts(each, text)
    for name in text_fields(message):
        setattr(message, name, f"{text} {name}")
