"""Uploads: their progress, their owners, and their expiry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engagement_server.errors import (
    ChunkChangedError,
    FinishMismatchError,
    ScopeMissingError,
    SequenceGapError,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTakenOverError,
)
from engagement_server.model import CommittedChunk, Outcome, SourceDigest, Tally, UploadState
from engagement_server.operations import CommitChunk, ExpireUploads, FinishUpload, Opening, OpenUpload
from engagement_server.store.reader import Reader
from engagement_server.store.upload_lists import UploadQuery
from tests.conformance.log_bench import START_MS, LogBench, LogTests, chunk
from tests.support.events import bad_event, batch_of, customer_event

DUPLICATE, REJECTED = Outcome.DUPLICATE, Outcome.REJECTED


class UploadConformance(LogTests):
    """Progress, results, owners and expiry."""

    async def test_an_upload_knows_how_far_it_is_committed(self, bench: LogBench) -> None:
        opened = await bench.open()
        assert (opened.committed_through, opened.tally, opened.is_finished) == (0, Tally(), False)
        first = await bench.chunk(1, customer_event("a"), bad_event("b"), customer_event("a"))
        assert (first.committed_through, first.tally) == (1, Tally(accepted=1, duplicate=1, rejected=1))
        assert [(verdict.index, verdict.outcome) for verdict in first.not_accepted] == [
            (1, REJECTED),
            (2, DUPLICATE),
        ]
        second = await bench.chunk(2)
        assert (second.committed_through, second.tally) == (2, first.tally)
        state = await bench.open(owner="second")
        assert (state.committed_through, state.tally) == (2, first.tally)
        assert (state.create_time_ms, state.update_time_ms) == (START_MS + 1, START_MS + 3)

    async def test_a_repeated_chunk_answers_with_its_stored_results(self, bench: LogBench) -> None:
        await bench.open()
        first = await bench.chunk(1, customer_event("a"), bad_event("b"))
        second = await bench.chunk(2, customer_event("c"))
        again = await bench.chunk(1, customer_event("a"), bad_event("b"))
        assert again.not_accepted == first.not_accepted
        assert (again.sequence, again.committed_through, again.tally) == (1, 2, second.tally)
        assert await bench.stored_ids() == ["a", "c"]

    async def test_a_repeated_chunk_with_other_events_is_refused(self, bench: LogBench) -> None:
        await bench.open()
        await bench.chunk(1, customer_event("a"))
        await bench.chunk(2, customer_event("b"))
        for changed in ([customer_event("c")], [customer_event("a"), customer_event("c")], []):
            with pytest.raises(ChunkChangedError) as caught:
                await bench.chunk(1, *changed)
            assert caught.value.metadata == {"uploadId": "upload", "sequence": "1", "committedThrough": "2"}
        assert await bench.stored_ids() == ["a", "b"]

    async def test_a_bounded_number_of_chunks_is_remembered(
        self, bench: LogBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engagement_server.store.upload_rows.MAX_REMEMBERED_CHUNKS", 3)
        await bench.open()
        for sequence in range(1, 6):
            await bench.chunk(sequence, customer_event(str(sequence)))
        await bench.chunk(3, customer_event("3"))
        with pytest.raises(ChunkChangedError):
            await bench.chunk(2, customer_event("2"))
        assert [known.sequence for known in (await bench.open()).chunks] == [3, 4, 5]

    async def test_an_upload_knows_its_salt_and_the_digests_of_its_source(self, bench: LogBench) -> None:
        first, whole = SourceDigest(2, "0" * 64), SourceDigest(3, "1" * 64)
        for salt in ("salt", "another"):
            (opened,) = await bench.commit(OpenUpload("acme", "upload", "first", salt))
            assert isinstance(opened, UploadState)
            assert (opened.salt, opened.source, opened.chunks) == ("salt", None, ())
        await bench.commit(replace(chunk(1, customer_event("a")), source=first))
        await bench.commit(chunk(2, customer_event("b"), customer_event("c")))
        opened = await bench.open()
        assert opened.source is None, "the last chunk had none"
        assert opened.chunks == (CommittedChunk(1, 1, first), CommittedChunk(2, 3, None))
        await bench.commit(FinishUpload("acme", "upload", "first", 2, whole))
        assert (await bench.open()).source == whole

    async def test_a_gap_is_refused_with_the_expected_sequence(self, bench: LogBench) -> None:
        await bench.open()
        await bench.chunk(1, customer_event("a"))
        with pytest.raises(SequenceGapError) as caught:
            await bench.chunk(3, customer_event("b"))
        assert caught.value.metadata == {"uploadId": "upload", "sequence": "3", "expected": "2"}
        with pytest.raises(SequenceGapError):
            await bench.finish(2)
        assert await bench.stored_ids() == ["a"]
        assert (await bench.upload()).committed_through == 1

    async def test_a_finished_upload_takes_no_more_chunks(self, bench: LogBench) -> None:
        await bench.open()
        committed = await bench.chunk(1, bad_event("a"))
        finished = await bench.finish(1)
        assert finished.is_finished
        assert await bench.finish(1) == finished
        with pytest.raises(FinishMismatchError) as caught:
            await bench.finish(5)
        assert caught.value.metadata == {"uploadId": "upload", "lastSequence": "5", "committedThrough": "1"}
        assert replace(await bench.open(), chunks=()) == finished
        assert await bench.chunk(1, bad_event("a")) == committed
        with pytest.raises(UploadFinishedError):
            await bench.chunk(2, customer_event("b"))
        assert await bench.stored_ids() == []

    async def test_only_the_latest_owner_goes_on_with_an_upload(self, bench: LogBench) -> None:
        await bench.open(owner="first")
        await bench.open(owner="second")
        for attempt in (bench.chunk(1, customer_event("a")), bench.finish(0)):
            with pytest.raises(UploadTakenOverError):
                await attempt
        await bench.chunk(1, customer_event("b"), owner="second")
        assert await bench.stored_ids() == ["b"]

    async def test_an_upload_that_was_never_opened_is_not_found(self, bench: LogBench) -> None:
        for attempt in (bench.chunk(1, customer_event("a")), bench.finish(0)):
            with pytest.raises(UploadNotFoundError):
                await attempt
        assert await bench.stored_ids() == []

    async def test_only_idle_unfinished_uploads_expire(self, bench: LogBench) -> None:
        for upload_id in ("idle", "finished", "busy"):
            await bench.commit(OpenUpload("acme", upload_id, "first"))
        await bench.commit(FinishUpload("acme", "finished", "first", 0))
        await bench.commit(
            CommitChunk("acme", "idle", "first", 1, batch_of([bad_event("a"), customer_event("b")]))
        )
        limit_ms = bench.time_ms + 1
        await bench.commit(CommitChunk("acme", "busy", "first", 1, batch_of([])))
        # A result, the subject of its event, a chunk and the upload.
        assert await bench.commit(ExpireUploads(limit_ms)) == [4]
        assert await bench.commit(ExpireUploads(limit_ms)) == [0]
        with pytest.raises(UploadNotFoundError):
            await bench.upload(upload_id="idle")
        for upload_id in ("finished", "busy"):
            assert (await bench.upload(upload_id=upload_id)).upload_id == upload_id
        assert await bench.stored_ids() == ["b"]

    async def test_an_event_names_its_upload_while_that_is_on_record(self, bench: LogBench) -> None:
        await bench.record(customer_event("single"))
        await bench.open()
        await bench.chunk(1, customer_event("single"), customer_event("a"))
        await bench.chunk(2, bad_event("b"), customer_event("a"), customer_event("c"))
        places = [(row.upload_id, row.event_number) for row in await bench.stored()]
        assert places == [(None, None), ("upload", 2), ("upload", 5)]
        await bench.reopen()
        await bench.commit(ExpireUploads(bench.time_ms + 1))
        assert [row.upload_id for row in await bench.stored()] == [None, None, None]

    async def test_an_event_never_names_another_upload_than_its_own(self, bench: LogBench) -> None:
        await bench.open()
        await bench.chunk(1, customer_event("a"))
        await bench.commit(ExpireUploads(bench.time_ms + 1))
        await bench.reopen()
        await bench.open()  # all others are gone: a number that is free would be used again
        await bench.chunk(1, customer_event("b"))
        assert [row.upload_id for row in await bench.stored()] == [None, "upload"]

    async def test_one_commit_forgets_a_bounded_number_of_uploads(self, bench: LogBench) -> None:
        await bench.commit(*(OpenUpload("acme", f"upload-{number}", "first") for number in range(250)))
        forgotten: list[object] = []
        while not forgotten or forgotten[-1] != 0:
            forgotten += await bench.commit(ExpireUploads(bench.time_ms + 1))
        assert forgotten == [100, 100, 50, 0]

    async def test_one_commit_expires_a_bounded_number_of_chunks(self, bench: LogBench) -> None:
        for upload_id in ("first", "second", "third"):
            await bench.commit(OpenUpload("acme", upload_id, "owner"))
            for sequence in range(1, 4):
                await bench.commit(CommitChunk("acme", upload_id, "owner", sequence, batch_of([])))
        expired = [await bench.commit(ExpireUploads(bench.time_ms + 1, max_rows=4)) for _ in range(4)]
        assert expired == [[4], [4], [4], [0]]

    async def test_an_upload_belongs_to_the_principal_that_opened_it(self, bench: LogBench) -> None:
        await bench.open(principal="crm")
        await bench.chunk(1, customer_event("a"))
        with pytest.raises(ScopeMissingError):
            await bench.open(owner="other", principal="web")
        assert (await bench.chunk(2, customer_event("b"))).committed_through == 2
        assert (await bench.open(owner="second", principal="crm")).committed_through == 2
        assert (await bench.open(owner="third", principal="web", is_admin=True)).committed_through == 2
        with pytest.raises(ScopeMissingError):
            await bench.open(owner="fourth", principal="web")

    async def test_an_upload_of_nobody_belongs_to_everybody(self, bench: LogBench) -> None:
        await bench.open()
        await bench.chunk(1, customer_event("a"))
        assert (await bench.open(owner="second", principal="crm")).committed_through == 1
        assert (await bench.open(owner="third", principal="web")).committed_through == 1

    async def test_an_opening_that_is_refused_takes_nothing_over(self, bench: LogBench) -> None:
        applied: list[object] = []
        bench.node.log.subscribe(lambda each: applied.extend(each.openings))
        await bench.open(principal="crm")
        with pytest.raises(ScopeMissingError):
            await bench.open(owner="other", principal="web")
        await bench.open(owner="second", principal="crm")
        assert applied == [Opening("acme", "upload", "first"), Opening("acme", "upload", "second")]

    async def test_a_principal_sees_its_uploads_and_those_of_nobody(self, bench: LogBench) -> None:
        await bench.commit(
            OpenUpload("acme", "mine", "o", principal="crm"),
            OpenUpload("acme", "theirs", "o", principal="web"),
            OpenUpload("acme", "old", "o"),
        )

        def seen(reader: Reader) -> list[str]:
            found = reader.uploads(UploadQuery("acme", 10, principal="crm")).uploads
            return [upload.upload_id for upload in found]

        assert await bench.node.readers.run(seen) == ["old", "mine"]
        with pytest.raises(UploadNotFoundError):
            await bench.node.readers.run(lambda reader: reader.upload("acme", "theirs", principal="crm"))
