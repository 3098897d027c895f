"""Bulk upload, against the store alone and the transport alone.

The contestants take turns with the same events, so that other load on the machine affects all of them alike;
each has its own folder, so that all stores have the same size.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.events import EventSource
from benchmarks.load import (
    ACCOUNT_ID,
    chunk_message,
    require_all_accepted,
    time_echo,
    time_upload,
    without_collections,
)
from benchmarks.processes import echo_server, engagement_server
from benchmarks.report import NO_TARGET, Figure, Target
from benchmarks.settings import Settings, announce
from engagement import EngagementClient, Uploader, v1
from engagement.limits import MAX_CHUNK_EVENTS
from engagement.uuid7 import uuid7
from engagement_server.model import Batch, UploadState
from engagement_server.operations import Commit, CommitChunk, FinishUpload, OpenUpload, Operation
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from engagement_server.streams.upload_answers import MAX_UNACKED_CHUNKS
from engagement_server.validation import admit_partly, examine

_SECTION = "Bulk upload"
_ROUNDS = 5
_MIN_RATIO_TO_STORE = Target(minimum=0.5)
_OWNER = "benchmark"


@dataclass(frozen=True, slots=True)
class _Round:
    """Events a second of each contestant."""

    store: float
    upload: float
    uploader: float
    echo: float


async def measure_upload(settings: Settings) -> list[Figure]:
    """Rates of the whole path, of its two ceilings, and the ratios between them."""
    source = EventSource()
    rounds: list[_Round] = []
    with (
        _store(settings.folder / "store") as store,
        engagement_server(settings.folder / "upload") as server,
        engagement_server(settings.folder / "uploader") as uploader_server,
        echo_server() as echo,
    ):
        async with (
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(echo.address) as echo_channel,
            EngagementClient(uploader_server.address, account_id=ACCOUNT_ID) as client,
        ):
            for number in range(1, _ROUNDS + 1):
                announce(f"upload: round {number} of {_ROUNDS}, {settings.window_events:,} events each")
                events = source.take(settings.window_events)
                chunks = _chunks(events)
                rounds.append(
                    _Round(
                        store=len(events) / await _time_store(store, events),
                        upload=len(events) / await time_upload(channel, chunks, events=len(events)),
                        uploader=len(events) / await _time_uploader(client, events),
                        echo=len(events) / await time_echo(echo_channel, chunks),
                    )
                )
    return _figures(rounds)


def _figures(rounds: Sequence[_Round]) -> list[Figure]:
    stores = [a_round.store for a_round in rounds]
    uploads = [a_round.upload for a_round in rounds]
    uploaders = [a_round.uploader for a_round in rounds]
    echoes = [a_round.echo for a_round in rounds]

    def rate(name: str, samples: Sequence[float]) -> Figure:
        return Figure.of_median(_SECTION, name=name, samples=samples, unit="events/s")

    def ratio(
        name: str, rates: Sequence[float], ceiling: Sequence[float], target: Target = NO_TARGET
    ) -> Figure:
        ratios = [rate / bound for rate, bound in zip(rates, ceiling, strict=True)]
        return Figure.of_median(_SECTION, name=name, samples=ratios, unit="", target=target)

    return [
        rate("echo of the same chunks", echoes),
        rate("store alone", stores),
        rate("upload, ready-made chunks", uploads),
        rate("upload with Uploader", uploaders),
        ratio("upload / store alone", uploads, stores, _MIN_RATIO_TO_STORE),
        ratio("upload with Uploader / store alone", uploaders, stores),
        ratio("upload / echo", uploads, echoes),
    ]


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[Writer]:
    """The store as the server opens it, without a server."""
    database = DatabaseFile(folder)
    connection = database.open_writer()
    try:
        yield Writer(connection)
    finally:
        connection.close()
        database.close()


async def _time_store(store: Writer, events: Sequence[v1.Event]) -> float:
    """Seconds that the store takes for checked chunks, in the largest groups that the committer makes."""
    upload_id = uuid7()
    chunks: list[Operation] = [
        CommitChunk(ACCOUNT_ID, upload_id, _OWNER, sequence, await _batch(part, sequence=sequence))
        for sequence, part in enumerate(_parts(events), 1)
    ]
    commits = [
        Commit(chunks[start : start + MAX_UNACKED_CHUNKS], _now_ms())
        for start in range(0, len(chunks), MAX_UNACKED_CHUNKS)
    ]
    store.apply(Commit([OpenUpload(ACCOUNT_ID, upload_id, _OWNER)], _now_ms()))
    with without_collections():
        start_seconds = time.perf_counter()
        for commit in commits:
            store.apply(commit)
        elapsed_seconds = time.perf_counter() - start_seconds
    finish = FinishUpload(ACCOUNT_ID, upload_id, _OWNER, len(chunks))
    (state,) = store.apply(Commit([finish], _now_ms())).results
    assert isinstance(state, UploadState), state
    require_all_accepted(state.tally.accepted, events=len(events))
    return elapsed_seconds


async def _time_uploader(client: EngagementClient, events: Sequence[v1.Event]) -> float:
    """Seconds of a whole upload, opening and finishing included, as the client's users do it."""
    with without_collections():
        start_seconds = time.perf_counter()
        summary = await Uploader(client).upload(events)
        elapsed_seconds = time.perf_counter() - start_seconds
    require_all_accepted(summary.tally.accepted, events=len(events))
    return elapsed_seconds


def _chunks(events: Sequence[v1.Event]) -> list[bytes]:
    return [chunk_message(part, sequence=sequence) for sequence, part in enumerate(_parts(events), 1)]


def _parts(events: Sequence[v1.Event]) -> Iterator[Sequence[v1.Event]]:
    for start in range(0, len(events), MAX_CHUNK_EVENTS):
        yield events[start : start + MAX_CHUNK_EVENTS]


async def _batch(events: Sequence[v1.Event], *, sequence: int) -> Batch:
    """The events as the server hands them to its store."""
    return admit_partly(
        v1.UploadEventsRequest(chunk=v1.UploadEventsRequest.Chunk(sequence=sequence)),
        events,
        await examine(events),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
