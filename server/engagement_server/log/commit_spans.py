"""The span of a commit: it names the spans of the operations that it holds, and they name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.operations import CommitChunk, RecordBatch

if TYPE_CHECKING:
    from engagement_server.log.waiting import Group
    from engagement_server.telemetry.spans import Span


def begin_commit(group: Group) -> Span | None:
    """A span in the trace of the first traced operation of a commit; None if none of them is traced."""
    origins = [origin for origin in group.origins if not origin.is_ended]
    span = next(filter(None, (origin.child("commit") for origin in origins)), None)
    if span is None:
        return None
    for origin in origins:
        span.link(origin)
    batches = [each.batch for each in group.operations if isinstance(each, RecordBatch | CommitChunk)]
    span.attributes |= {
        "engagement.commit.operations": len(group.operations),
        "engagement.commit.events": sum(len(batch.records) for batch in batches),
        "engagement.commit.bytes": sum(batch.size_bytes for batch in batches),
    }
    return span
