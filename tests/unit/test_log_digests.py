"""Views compare the digests of what they have applied, and vote on them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.log.nats.applier import Applier
from engagement_server.log_entries import DigestVote, LogEntry
from engagement_server.store.database import FILE_NAME, DatabaseFile, Identity
from engagement_server.store.view_copy import ViewCopy
from tests.support.store_file import open_store
from tests.support.view_rows import held_view

BOUNDARY = 4


@pytest.fixture(autouse=True)
def _boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares views after every few messages, and waits for no lock."""
    monkeypatch.setattr("engagement_server.store.log_digest.BOUNDARY_MESSAGES", BOUNDARY)
    monkeypatch.setattr("engagement_server.store.database.BUSY_TIMEOUT_MS", 10)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Applier]:
    """A view in a folder, whose node is connected."""
    with contextlib.closing(DatabaseFile(folder, is_view=True)) as database:
        applier = Applier(database, Identity.new(), on_delay=lambda *_: None)
        try:
            await applier.compare_digests()  # as after each connection
            yield applier
        finally:
            await applier.close()


async def apply(view: Applier, *notes: DigestVote | None) -> None:
    """Applies a message for each of these: a vote, or a message that changes nothing."""
    for sequence, note in enumerate(notes, view.position.sequence + 1):
        await view.apply([LogEntry(sequence, f"{sequence}", "", 0, None, note=note)])


def digest_at(folder: Path, sequence: int) -> bytes:
    """The digest that a view has kept."""
    with contextlib.closing(open_store(folder)) as connection:
        ((digest,),) = connection.execute(
            "SELECT digest FROM log_digests WHERE sequence = ? AND voter = ''", (sequence,)
        )
    return bytes(digest)


@contextlib.asynccontextmanager
async def opened_copy(folder: Path) -> AsyncIterator[Applier]:
    """A view that began as a copy of another, from before the first boundary."""
    async with opened(folder / "first") as view:
        await apply(view, *[None] * (BOUNDARY - 1))
    (folder / "copy").mkdir()
    with contextlib.closing(DatabaseFile(folder / "first", is_view=True)) as database:
        ViewCopy(database, folder / "copy" / FILE_NAME).make()
    async with opened(folder / "copy") as view:
        await apply(view, None)
        yield view


async def test_a_view_that_began_as_a_copy_does_not_vote_if_the_first_boundary_is_in_dispute(
    tmp_path: Path,
) -> None:
    async with opened_copy(tmp_path) as view:
        assert (await view.compare_digests()).newest is None
        others = DigestVote(BOUNDARY, b"another", "other")
        await apply(view, others, *[None] * (BOUNDARY - 1), DigestVote(2 * BOUNDARY, b"another", "other"))
        state = await view.compare_digests()
        assert state.divergence is not None
        assert (state.due, state.newest) == ([], None)


@pytest.mark.parametrize("has_votes", [True, False])
async def test_a_view_that_began_as_a_copy_votes_once_it_has_passed_a_boundary_without_objection(
    tmp_path: Path, *, has_votes: bool
) -> None:
    async with opened_copy(tmp_path) as view:
        vote = DigestVote(BOUNDARY, digest_at(tmp_path / "copy", BOUNDARY), "other")
        await apply(view, vote if has_votes else None, *[None] * (BOUNDARY - 1))
        state = await view.compare_digests()
        assert state.newest is not None
        assert state.newest.sequence == 2 * BOUNDARY
        await apply(view, DigestVote(2 * BOUNDARY, b"another", "other"))
        state = await view.compare_digests()
        assert [vote.sequence for vote in state.due] == [2 * BOUNDARY]


async def test_a_view_that_differs_votes_on_the_first_boundary_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as view:
        await apply(view, *[None] * (2 * BOUNDARY))
        await apply(view, *(DigestVote(number * BOUNDARY, b"another", "other") for number in (1, 2)))
        assert [vote.sequence for vote in (await view.compare_digests()).due] == [BOUNDARY]


async def test_boundaries_in_dispute_are_dropped_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.store.log_digest._MAX_BOUNDARIES", 2)
    async with opened(tmp_path) as view:
        for boundary in range(BOUNDARY, 5 * BOUNDARY, BOUNDARY):
            until = boundary - view.position.sequence
            await apply(view, *[None] * until, DigestVote(boundary, b"another", "other"))
    with contextlib.closing(open_store(tmp_path)) as connection:
        rows = connection.execute("SELECT DISTINCT sequence FROM log_digests").fetchall()
    assert rows == [(3 * BOUNDARY,), (4 * BOUNDARY,)]


async def test_a_view_that_differs_is_refused_even_while_its_store_fails(tmp_path: Path) -> None:
    async with opened(tmp_path) as view:
        await apply(view, *[None] * BOUNDARY, DigestVote(BOUNDARY, b"another", "other"))
        assert (await view.compare_digests()).divergence is not None
        with held_view(tmp_path, "BEGIN IMMEDIATE"):
            assert (await view.compare_digests()).divergence is not None
