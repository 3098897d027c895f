"""The promises of `CommitLog` and of the operations that it applies, as tests for any log.

A log's own test is a subclass that says how to open one.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.errors import (
    EventIdConflictError,
    RequestError,
    SequenceGapError,
    StoreUnavailableError,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTakenOverError,
)
from engagement_server.model import Outcome, Tally, Verdict
from engagement_server.operations import (
    Commit,
    CommitChunk,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    Operation,
    RecordBatch,
)
from tests.conformance.log_bench import START_MS, LogBench, OpenNode, chunk, record
from tests.conformance.model_log import ModelEvent, ModelLog, comparable
from tests.events import bad_event, batch_of, customer_event, customer_events, personal_event

ACCEPTED, DUPLICATE, REJECTED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED

# Few names, so that operations meet.
_accounts = st.sampled_from(["acme", "other"])
_event_ids = st.sampled_from("abcd")
_events = st.one_of(_event_ids.map(customer_event), _event_ids.map(personal_event), _event_ids.map(bad_event))
_batches = st.lists(_events, max_size=4).map(batch_of)
_upload = (_accounts, st.sampled_from(["upload"]), st.sampled_from(["first", "second"]))
_operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(RecordBatch, _accounts, _batches, st.booleans()),
    st.builds(OpenUpload, *_upload),
    st.builds(CommitChunk, *_upload, st.integers(1, 4), _batches),
    st.builds(FinishUpload, *_upload, st.integers(0, 3)),
    st.builds(ExpireUploads, st.integers(START_MS, START_MS + 10)),
)
_commits = st.lists(_operations, min_size=1, max_size=4)


def outcomes(verdicts: list[Verdict]) -> list[Outcome]:
    return [verdict.outcome for verdict in verdicts]


def with_unknown_fields(*numbers: int) -> v1.Event:
    """The usual event and fields of a later contract, in this order on the wire."""
    tail = b"".join(bytes([0xC0, number, 1]) for number in numbers)  # numbers beyond the contract's, varints
    return v1.Event.FromString(customer_event().SerializeToString() + tail)


class CommitLogConformance:
    """Subclass it and say how to open a log: `open_node = staticmethod(…)`."""

    open_node: OpenNode

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[LogBench]:
        async with LogBench(self.open_node, tmp_path) as bench:
            yield bench

    # Durability and order.

    async def test_what_is_committed_is_there_after_reopening(self, bench: LogBench) -> None:
        verdicts = await bench.record(customer_event("a"), bad_event("b"), personal_event("c"))
        await bench.open()
        committed = await bench.chunk(1, customer_event("a"), customer_event("d"), bad_event("e"))
        before = await bench.stored(), await bench.upload()
        await bench.reopen()
        assert (await bench.stored(), await bench.upload()) == before
        assert await bench.stored_ids() == ["a", "c", "d"]
        assert await bench.chunk(1) == committed
        assert outcomes(await bench.record(customer_event("a"))) == [DUPLICATE]
        assert [row.position for row in before[0]][:2] == [verdicts[0].position, verdicts[2].position]

    async def test_commits_take_effect_in_the_order_of_the_calls(self, bench: LogBench) -> None:
        await asyncio.gather(*(bench.record(customer_event(f"{number:02}")) for number in range(20)))
        assert await bench.stored_ids() == [f"{number:02}" for number in range(20)]

    async def test_operations_take_effect_in_the_order_of_their_commit(self, bench: LogBench) -> None:
        await bench.commit(
            record(customer_event("a")),
            OpenUpload("acme", "upload", "first"),
            chunk(1, customer_event("b"), customer_event("a")),
            record(customer_event("c"), customer_event("b")),
            FinishUpload("acme", "upload", "first", 1),
        )
        assert await bench.stored_ids() == ["a", "b", "c"]
        assert (await bench.upload()).tally == Tally(accepted=1, duplicate=1)
        assert (await bench.upload()).is_finished

    async def test_positions_grow_and_are_never_given_twice(self, bench: LogBench) -> None:
        given = [verdict.position for verdict in await bench.record(*customer_events(3))]
        await bench.commit(record(customer_event("event-000000", role="other"), is_atomic=True))
        await bench.reopen()
        given += [verdict.position for verdict in await bench.record(*customer_events(3, start=3))]
        assert given == sorted(set(given))

    async def test_readers_see_whole_commits_only(self, bench: LogBench) -> None:
        has_ended = asyncio.Event()

        async def count_while_written() -> list[int]:
            seen: list[int] = []
            while not has_ended.is_set():
                seen.append(len(await bench.stored()))
            return seen

        counting = [asyncio.create_task(count_while_written()) for _ in range(2)]
        for number in range(40):
            await bench.commit(
                record(*customer_events(3, start=7 * number)),
                record(*customer_events(4, start=7 * number + 3)),
            )
        has_ended.set()
        for counts in await asyncio.gather(*counting):
            assert [count % 7 for count in counts] == [0] * len(counts)
            assert counts == sorted(counts)

    # Events.

    async def test_the_same_event_is_stored_once(self, bench: LogBench) -> None:
        first = await bench.record(customer_event("a"), customer_event("b"), customer_event("a"))
        assert outcomes(first) == [ACCEPTED, ACCEPTED, DUPLICATE]
        again = await bench.record(customer_event("b"), customer_event("c"), customer_event("a"))
        assert outcomes(again) == [DUPLICATE, ACCEPTED, DUPLICATE]
        assert [again[0].position, again[2].position] == [first[1].position, first[0].position]
        assert first[2].position == first[0].position
        assert await bench.stored_ids() == ["a", "b", "c"]

    async def test_other_content_under_the_same_id_is_rejected(self, bench: LogBench) -> None:
        other = customer_event("a", balance="1")
        first = await bench.record(customer_event("a"), other)
        again = await bench.record(other, customer_event("b"))
        assert (outcomes(first), outcomes(again)) == ([ACCEPTED, REJECTED], [REJECTED, ACCEPTED])
        for verdict in (first[1], again[0]):
            reason = v1.EventError.FromString(verdict.error).reason
            assert reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
            assert verdict.position == 0

    async def test_unknown_fields_in_another_order_are_the_same_content(self, bench: LogBench) -> None:
        first, second = with_unknown_fields(2, 3), with_unknown_fields(3, 2)
        assert batch_of([first]).records[0].payload != batch_of([second]).records[0].payload
        assert outcomes(await bench.record(first)) == [ACCEPTED]
        assert outcomes(await bench.record(second)) == [DUPLICATE]

    async def test_other_unknown_fields_are_other_content(self, bench: LogBench) -> None:
        await bench.record(with_unknown_fields(2, 3))
        assert outcomes(await bench.record(with_unknown_fields(2, 4))) == [REJECTED]
        assert outcomes(await bench.record(customer_event())) == [REJECTED]

    async def test_accounts_do_not_share_ids(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        verdicts = await bench.record(customer_event("a", balance="1"), account_id="other")
        assert outcomes(verdicts) == [ACCEPTED]
        assert await bench.stored_ids(account_id="other") == ["a"]

    async def test_an_event_without_time_has_that_of_its_commit_for_ever(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"), customer_event("b", server_time_stamp=5))
        committed_ms = bench.time_ms
        assert outcomes(await bench.record(customer_event("a"))) == [DUPLICATE]
        times = [(row.server_time_ms, row.receive_time_ms) for row in await bench.stored()]
        assert times == [(committed_ms, committed_ms), (5, committed_ms)]

    @pytest.mark.parametrize("is_stored_before", [True, False])
    async def test_an_atomic_batch_with_a_conflict_stores_nothing(
        self, bench: LogBench, *, is_stored_before: bool
    ) -> None:
        taken = customer_event("taken")
        if is_stored_before:
            await bench.record(taken)
        batch = [customer_event("new"), taken, customer_event("taken", balance="1")]
        (refused,) = await bench.commit(record(*batch, is_atomic=True))
        assert isinstance(refused, EventIdConflictError)
        assert refused.metadata == {"eventId": "taken"}
        assert await bench.stored_ids() == ["taken"] * is_stored_before

    # Refusals and failures.

    async def test_a_refused_operation_leaves_the_others_of_its_commit_alone(self, bench: LogBench) -> None:
        conflict = [customer_event("b"), customer_event("a", balance="1")]
        results = await bench.commit(
            record(customer_event("a")),
            record(*conflict, is_atomic=True),
            chunk(1, customer_event("c")),
            OpenUpload("acme", "upload", "first"),
            chunk(2, customer_event("d")),
            FinishUpload("acme", "upload", "first", 1),
            record(customer_event("e")),
        )
        refused = [type(result) for result in results if isinstance(result, RequestError)]
        assert refused == [EventIdConflictError, UploadNotFoundError, SequenceGapError, SequenceGapError]
        assert await bench.stored_ids() == ["a", "e"]
        assert await bench.upload() == results[3]

    async def test_a_failing_store_takes_nothing_of_a_commit_and_recovers(self, bench: LogBench) -> None:
        await bench.record(customer_event("before"))
        large = customer_event("large", **dict.fromkeys(("balance", "role", "imei"), "x" * 50_000))
        operations: list[Operation] = [
            OpenUpload("acme", "upload", "first"),
            chunk(1, customer_event("small")),
            record(large),
        ]
        bench.node.fill_storage()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await bench.commit(*operations)
        assert await bench.stored_ids() == ["before"]
        with pytest.raises(UploadNotFoundError):
            await bench.upload()
        bench.node.free_storage()
        await bench.commit(*operations)
        assert await bench.stored_ids() == ["before", "small", "large"]
        assert (await bench.upload()).committed_through == 1

    # Uploads.

    async def test_an_upload_knows_how_far_it_is_committed(self, bench: LogBench) -> None:
        opened = await bench.open()
        assert (opened.committed_through, opened.tally, opened.is_finished) == (0, Tally(), False)
        first = await bench.chunk(1, customer_event("a"), bad_event("b"), customer_event("a"))
        assert (first.committed_through, first.tally) == (1, Tally(accepted=1, duplicate=1, rejected=1))
        assert [(verdict.item, verdict.outcome) for verdict in first.not_accepted] == [
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
        again = await bench.chunk(1, customer_event("never looked at"))
        assert again.not_accepted == first.not_accepted
        assert (again.sequence, again.committed_through, again.tally) == (1, 2, second.tally)
        assert await bench.stored_ids() == ["a", "c"]

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
        assert await bench.open() == finished
        assert await bench.chunk(1) == committed
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

    async def test_an_upload_nobody_opened_is_not_found(self, bench: LogBench) -> None:
        for attempt in (bench.chunk(1, customer_event("a")), bench.finish(0)):
            with pytest.raises(UploadNotFoundError):
                await attempt
        assert await bench.stored_ids() == []

    async def test_only_idle_unfinished_uploads_are_forgotten(self, bench: LogBench) -> None:
        for upload_id in ("idle", "finished", "busy"):
            await bench.commit(OpenUpload("acme", upload_id, "first"))
        await bench.commit(FinishUpload("acme", "finished", "first", 0))
        await bench.commit(
            CommitChunk("acme", "idle", "first", 1, batch_of([bad_event("a"), customer_event("b")]))
        )
        limit_ms = bench.time_ms + 1
        await bench.commit(CommitChunk("acme", "busy", "first", 1, batch_of([])))
        assert await bench.commit(ExpireUploads(limit_ms)) == [2]
        assert await bench.commit(ExpireUploads(limit_ms)) == [0]
        with pytest.raises(UploadNotFoundError):
            await bench.upload(upload_id="idle")
        for upload_id in ("finished", "busy"):
            assert (await bench.upload(upload_id=upload_id)).upload_id == upload_id
        assert await bench.stored_ids() == ["b"]

    async def test_one_commit_forgets_a_bounded_number_of_uploads(self, bench: LogBench) -> None:
        await bench.commit(*(OpenUpload("acme", f"upload-{number}", "first") for number in range(250)))
        forgotten: list[object] = []
        while not forgotten or forgotten[-1] != 0:
            forgotten += await bench.commit(ExpireUploads(bench.time_ms + 1))
        assert forgotten == [100, 100, 50, 0]

    # Everything together.

    @settings(
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(steps=st.lists(_commits | st.none(), max_size=10))
    async def test_any_history_is_as_in_the_model(self, steps: list[list[Operation] | None]) -> None:
        """None stands for a restart."""
        model = ModelLog()
        with tempfile.TemporaryDirectory() as folder:
            async with LogBench(self.open_node, Path(folder)) as bench:
                for step in steps:
                    if step is None:
                        await bench.reopen()
                    else:
                        await self._compare(bench, model, step)

    async def _compare(self, bench: LogBench, model: ModelLog, operations: list[Operation]) -> None:
        """Lets both apply a commit; results and all that is stored must be equal."""
        results = await bench.commit(*operations)
        expected = model.apply(Commit(operations, bench.time_ms))
        ranks = {0: 0}
        for account_id in ("acme", "other"):
            rows = await bench.stored(account_id=account_id)
            ranks |= {row.position: rank for rank, row in enumerate(rows, 1)}
            assert [
                ModelEvent(ranks[row.position], row.payload, row.server_time_ms, row.receive_time_ms)
                for row in rows
            ] == list(model.events.get(account_id, {}).values())
        model_ranks = {rank: rank for rank in ranks.values()}
        assert [comparable(result, ranks=ranks) for result in results] == [
            comparable(result, ranks=model_ranks) for result in expected
        ]
        for (account_id, upload_id), upload in model.uploads.items():
            assert await bench.upload(account_id=account_id, upload_id=upload_id) == upload.state
