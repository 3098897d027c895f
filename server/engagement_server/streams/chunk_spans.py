"""The span of a chunk: from its arrival until its commit is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.telemetry.spans import current_tracer, within

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from engagement_server.operations import CommitChunk
    from engagement_server.telemetry.spans import Span


def chunk_span() -> AbstractContextManager[Span | None]:
    """A span for the chunk that has arrived, if it is traced."""
    tracer = current_tracer.get()
    return within(None if tracer is None else tracer.begin_chunk("chunk"), ends=False)


def describe(span: Span, operation: CommitChunk) -> None:
    """Sets the attributes of a chunk's span."""
    span.attributes |= {
        "engagement.account_id": operation.account_id,
        "engagement.chunk.sequence": operation.sequence,
        "engagement.chunk.events": len(operation.batch.records),
        "engagement.chunk.rejected": len(operation.batch.rejections),
        "engagement.chunk.bytes": operation.batch.size_bytes,
    }
