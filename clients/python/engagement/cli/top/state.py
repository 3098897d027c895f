"""What a server is like now: calls that fail, subscriptions, files, partitions and nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from engagement import v1
from engagement.cli.top.charset import Charset
from engagement.cli.top.quantities import (
    bytes_text,
    count_text,
    duration_seconds,
    length_text,
    seconds_between,
)
from engagement.cli.top.table import Column, lay_out

_SHORT_NODE_ID_CHARACTERS: Final = 12
_SUBSCRIPTION_COLUMNS: Final = (
    Column("behind", rank=0, is_number=True, style="bold"),
    Column("oldest", rank=0, is_number=True),
    Column("account", rank=0, least=8),
    Column("open for", rank=1, is_number=True),
)
_PARTITION_COLUMNS: Final = (
    Column("partition", rank=0, is_number=True),
    Column("state", rank=0, least=8),
    Column("events", rank=0, is_number=True),
    Column("oldest", rank=1, is_number=True),
    Column("next expiry", rank=2, is_number=True),
    Column("expired", rank=4, is_number=True),
    Column("erasures", rank=3, is_number=True),
    Column("log lag", rank=3, is_number=True),
    Column("view age", rank=3, is_number=True),
)


def failed_call_lines(stats: v1.GetServerStatsResponse, *, width: int | None = None) -> list[Text]:
    """The calls that ended with an error, by reason."""
    failed = [f"{each.reason} {count_text(each.calls)}" for each in stats.failed_calls]
    return _named("Failed calls", failed or ["none since the start"], width=width)


def subscription_lines(
    stats: v1.GetServerStatsResponse, *, width: int | None, charset: Charset
) -> list[Text]:
    """How many there are, and those that are behind, the slowest first."""
    behind = [each for each in stats.subscriptions if each.lag_events > 0]
    counts = [f"{count_text(stats.open_subscriptions)} open"]
    if behind:
        slowest = (
            f"{count_text(behind[0].lag_events)} events or {length_text(duration_seconds(behind[0].lag))}"
        )
        counts.append(f"the slowest {slowest} behind")
    elif stats.open_subscriptions:
        counts.append("none behind")
    counts.append(f"uploads: {count_text(stats.open_uploads)} open")
    title = _named("Subscriptions", counts, width=width)
    rows = [
        (
            count_text(each.lag_events),
            length_text(duration_seconds(each.lag)),
            each.account_id,
            length_text(seconds_between(each.start_time, stats.sample_time)),
        )
        for each in behind
    ]
    return [*title, *lay_out(_SUBSCRIPTION_COLUMNS, rows, width=width, charset=charset)] if rows else title


def store_lines(stats: v1.GetServerStatsResponse, *, width: int | None = None) -> list[Text]:
    """The sizes of files and memory."""
    limit = f" of {bytes_text(stats.memory_limit_bytes)}" if stats.memory_limit_bytes else ""
    texts = [f"memory {bytes_text(stats.memory_bytes)}{limit}"]
    texts += [f"{each.kind} {bytes_text(each.bytes)}" for each in stats.files]
    if stats.HasField("disk_free_bytes"):
        texts.append(f"free on disk {bytes_text(stats.disk_free_bytes)}")
    return _named("Store", texts, width=width)


def partition_lines(stats: v1.GetServerStatsResponse, *, width: int | None, charset: Charset) -> list[Text]:
    """A table of the partitions that the node carries."""
    if not stats.partitions:
        return []
    rows = [_partition_row(each, stats) for each in stats.partitions]
    return lay_out(_PARTITION_COLUMNS, rows, width=width, charset=charset)


def partition_summary(stats: v1.GetServerStatsResponse) -> list[Text]:
    """The partitions in a line: those that are not well by number, the others by their events."""
    unwell = [
        f"{each.number} {state}" for each in stats.partitions if (state := partition_state(each)) != "current"
    ]
    events = sum(each.stored_events for each in stats.partitions)
    texts = [f"{len(stats.partitions):,}", f"{count_text(events)} events", *unwell]
    erasures = sum(each.pending_erasures for each in stats.partitions)
    return _named("Partitions", [*texts, f"{count_text(erasures)} erasures to do"] if erasures else texts)


def node_lines(stats: v1.GetServerStatsResponse, *, width: int | None = None) -> list[Text]:
    """The nodes of a replicated log, and how long ago each wrote to it."""
    texts = []
    for each in stats.nodes:
        name = each.node_id[:_SHORT_NODE_ID_CHARACTERS] + (" (this one)" if each.self else "")
        texts.append(f"{name} {length_text(seconds_between(each.last_commit_time, stats.sample_time))} ago")
    return _named("Nodes by last commit", texts, width=width)


def partition_state(partition: v1.PartitionStats) -> str:
    """The worst that can be said of a partition."""
    if partition.damage:
        return "damaged"
    if not partition.current:
        return "behind"
    return "expiry held" if partition.HasField("expiry_hold") else "current"


def _partition_row(each: v1.PartitionStats, stats: v1.GetServerStatsResponse) -> tuple[str, ...]:
    now = stats.sample_time
    oldest = seconds_between(each.oldest_receive_time, now) if each.HasField("oldest_receive_time") else None
    expiry = seconds_between(now, each.next_expiry_time) if each.HasField("next_expiry_time") else None
    return (
        str(each.number),
        partition_state(each),
        count_text(each.stored_events),
        "" if oldest is None else length_text(oldest),
        "" if expiry is None else f"in {length_text(expiry)}" if expiry > 0 else "due",
        count_text(each.expired_events) if each.expired_events else "",
        count_text(each.pending_erasures) if each.pending_erasures else "",
        count_text(each.log_lag_messages) if each.log_lag_messages else "",
        length_text(duration_seconds(each.view_age)) if each.HasField("view_age") else "",
    )


def _named(name: str, texts: Iterable[str], *, width: int | None = None) -> list[Text]:
    """A name and texts behind it, on as many lines as they need; without a width on one."""
    lines = [Text.assemble((name, "bold"), " ", end="")]
    for place, text in enumerate(texts):
        if place:
            lines[-1].append(",")
        if width is not None and place and lines[-1].cell_len + cell_len(text) + len(" ,") > width:
            lines.append(Text(" ", end=""))
        lines[-1].append(f" {text}")
    return lines
