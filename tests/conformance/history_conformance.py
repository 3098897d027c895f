"""Any history of commits and restarts leaves a log in the same state as the model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.model import EntityList, SourceDigest
from engagement_server.operations import (
    AbandonUpload,
    Commit,
    CommitChunk,
    DeleteEntity,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
)
from tests.conformance.log_bench import START_MS, LogBench, LogTests
from tests.conformance.model_log import ModelEvent, ModelLog, comparable
from tests.support.events import bad_event, batch_of, customer_event, personal_event

KINDS = (v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE)

# Few names, so that operations collide.
_accounts = st.sampled_from(["acme", "acme", "other"])
_event_ids = st.sampled_from("abcd")
_kinds = st.sampled_from(KINDS)
_names = st.sampled_from(["gold", "GOLD", "Straße", "STRASSE", "Zürich", "zu\u0308RICH"])
_values = _names | st.sampled_from(["tin", ""])


@st.composite
def _described_events(draw: st.DrawFn) -> v1.Event:
    """An event that has a status, a type or both."""
    attributes = draw(st.dictionaries(st.sampled_from(["customer_status", "customer_type"]), _values))
    return customer_event(draw(_event_ids), **attributes)


_events = st.one_of(
    _described_events(),
    _event_ids.map(customer_event),
    _event_ids.map(personal_event),
    _event_ids.map(bad_event),
)
_batches = st.lists(_events, max_size=4).map(batch_of)
_sources = st.none() | st.builds(SourceDigest, st.integers(0, 3), st.just("0" * 64))
_upload = (_accounts, st.sampled_from(["upload"]), st.sampled_from(["first", "second"]))
_records = st.builds(RecordBatch, _accounts, _batches, st.booleans())
_lists: st.SearchStrategy[Operation] = st.one_of(
    st.builds(PutEntities, _accounts, _kinds, st.lists(_names, max_size=3), st.none() | st.booleans()),
    st.builds(DeleteEntity, _accounts, _kinds, _names),
)
_operations: st.SearchStrategy[Operation] = st.one_of(
    _records,
    st.builds(OpenUpload, *_upload, st.sampled_from(["salt", "pepper"]), st.sampled_from(["", "a", "b"])),
    st.builds(CommitChunk, *_upload, st.integers(1, 4), _batches, st.sampled_from([b"1", b"2"]), _sources),
    st.builds(FinishUpload, *_upload, st.integers(0, 3), _sources, st.integers(0, 2)),
    st.builds(ExpireUploads, st.integers(START_MS, START_MS + 10)),
    st.builds(AbandonUpload, *_upload),
    _lists,
)
# Events before and after a change of a list would hardly ever occur by chance.
commits = st.lists(_operations, min_size=1, max_size=4) | st.tuples(_records, _lists, _records).map(
    list[Operation]
)
"""Operations of one commit, without erasures."""


class HistoryConformance(LogTests):
    """Everything together."""

    @settings(
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(steps=st.lists(commits | st.none(), max_size=10))
    async def test_any_history_is_as_in_the_model(self, steps: list[list[Operation] | None]) -> None:
        """None is a restart."""
        model = ModelLog()
        with tempfile.TemporaryDirectory() as folder:
            async with LogBench(self.open_node, Path(folder)) as bench:
                for step in steps:
                    if step is None:
                        await bench.reopen()
                    else:
                        await self._compare(bench, model, step)

    async def _compare(self, bench: LogBench, model: ModelLog, operations: list[Operation]) -> None:
        """Applies a commit to both; results and stored state must be equal."""
        results = await bench.commit(*operations)
        expected = model.apply(Commit(operations, bench.time_ms))
        ranks = {0: 0}
        for account_id in ("acme", "other"):
            rows = await bench.stored(account_id=account_id)
            ranks |= {row.position: rank for rank, row in enumerate(rows, 1)}
            assert [ModelEvent(ranks[row.position], *row[1:]) for row in rows] == list(
                model.events.get(account_id, {}).values()
            )
            for kind in KINDS:
                entities = await bench.entities(kind, account_id=account_id)
                assert entities == model.entities.get((account_id, kind), EntityList([]))
            is_known = await bench.account_number(account_id) is not None
            assert is_known == (account_id in model.accounts)
        model_ranks = {rank: rank for rank in ranks.values()}
        assert [comparable(result, ranks=ranks) for result in results] == [
            comparable(result, ranks=model_ranks) for result in expected
        ]
        for (account_id, upload_id), upload in model.uploads.items():
            assert await bench.upload(account_id=account_id, upload_id=upload_id) == upload.state
