"""Adapts batches of a replicated log that were published by a server with another contract."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.readable import read_event
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    from engagement_server.model import Batch, EventRecord


def adapted(batch: Batch) -> Batch:
    """The batch with the texts that this server indexes; the same object if it has them."""
    if batch.fingerprint == FINGERPRINT:
        return batch
    return replace(batch, records=[_adapted(record) for record in batch.records], fingerprint=FINGERPRINT)


def _adapted(record: EventRecord) -> EventRecord:
    event, payload = read_event(record.payload)
    return record._replace(payload=payload, indexed_texts=indexed_texts(event))
