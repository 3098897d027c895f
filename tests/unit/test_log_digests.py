"""Views compare the digests of what they have applied, and vote on them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.log.nats.applier import Applier
from engagement_server.operations import DigestVote, LogEntry
from engagement_server.store.database import DatabaseFile, Identity
from tests.support.view_rows import held_view

BOUNDARY = 4


@pytest.fixture(autouse=True)
def _boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares views after every few messages, and waits for no lock."""
    monkeypatch.setattr("engagement_server.store.log_digest.BOUNDARY_MESSAGES", BOUNDARY)
    monkeypatch.setattr("engagement_server.store.database.BUSY_TIMEOUT_MS", 10)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Applier]:
    """A view in a folder."""
    with contextlib.closing(DatabaseFile(folder, is_view=True)) as database:
        applier = Applier(database, Identity.new(), on_delay=lambda *_: None)
        try:
            yield applier
        finally:
            await applier.close()


async def apply(view: Applier, *notes: DigestVote | None) -> None:
    """Applies a message for each of these: a vote, or a message that changes nothing."""
    for sequence, note in enumerate(notes, view.position.sequence + 1):
        await view.apply([LogEntry(sequence, f"{sequence}", "", 0, None, note=note)])


async def test_a_view_that_differs_is_refused_even_while_its_store_fails(tmp_path: Path) -> None:
    async with opened(tmp_path) as view:
        await apply(view, *[None] * BOUNDARY, DigestVote(BOUNDARY, b"another", "other"))
        assert (await view.compare_digests()).divergence is not None
        with held_view(tmp_path, "BEGIN IMMEDIATE"):
            assert (await view.compare_digests()).divergence is not None
