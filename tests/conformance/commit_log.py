"""Tests of the promises of `CommitLog` and of its operations, for any log.

Each log subclasses them and says how to open it.
"""

from __future__ import annotations

import asyncio

import pytest

from engagement_server.errors import (
    EventIdConflictError,
    RequestError,
    SequenceGapError,
    StoreUnavailableError,
    UploadNotFoundError,
)
from engagement_server.model import Outcome, Tally
from engagement_server.operations import FinishUpload, OpenUpload, Operation
from tests.conformance.account_conformance import AccountConformance
from tests.conformance.entity_conformance import EntityConformance
from tests.conformance.erasure_conformance import ErasureConformance
from tests.conformance.event_conformance import EventConformance
from tests.conformance.history_conformance import HistoryConformance
from tests.conformance.log_bench import LogBench, LogTests, chunk, outcomes, record
from tests.conformance.upload_conformance import UploadConformance
from tests.support.events import bad_event, customer_event, customer_events, noise, personal_event

DUPLICATE = Outcome.DUPLICATE


class OrderConformance(LogTests):
    """Durability, order, rejected operations and failures."""

    async def test_what_is_committed_is_there_after_reopening(self, bench: LogBench) -> None:
        verdicts = await bench.record(customer_event("a"), bad_event("b"), personal_event("c"))
        await bench.open()
        committed = await bench.chunk(1, customer_event("a"), customer_event("d"), bad_event("e"))
        before = await bench.stored(), await bench.upload()
        await bench.reopen()
        assert (await bench.stored(), await bench.upload()) == before
        assert await bench.stored_ids() == ["a", "c", "d"]
        again = await bench.chunk(1, customer_event("a"), customer_event("d"), bad_event("e"))
        assert again == committed
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
        large = customer_event("large", **dict.fromkeys(("balance", "role", "imei"), noise(50_000)))
        operations: list[Operation] = [
            OpenUpload("acme", "upload", "first"),
            chunk(1, customer_event("small")),
            record(large),
        ]
        await bench.node.fill_storage()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await bench.commit(*operations)
        assert await bench.stored_ids() == ["before"]
        with pytest.raises(UploadNotFoundError):
            await bench.upload()
        await bench.node.free_storage()
        await bench.commit(*operations)
        assert await bench.stored_ids() == ["before", "small", "large"]
        assert (await bench.upload()).committed_through == 1


class CommitLogConformance(
    OrderConformance,
    EventConformance,
    AccountConformance,
    UploadConformance,
    EntityConformance,
    ErasureConformance,
    HistoryConformance,
):
    """Subclass it and say how to open a log: `open_node = staticmethod(…)`."""
