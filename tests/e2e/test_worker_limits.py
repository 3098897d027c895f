"""A worker bounds rude clients as one process does, with its share of the memory."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from engagement import EngagementClient, v1
from tests.support.connection import ACCOUNT, connect
from tests.support.raw_http2 import RawHttp2
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import expect_refused
from tests.support.rude_clients import LIST, fill, first_answer, refused_calls
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline

LISTS, UPLOADS = 12, 20
# Of 768 MiB each process has 256, which is room for 42; a lone caller gets a third and one more.
OPEN_UPLOADS = 15


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    """Its processes have as much memory as servers of other tests."""
    return ServerProcess(tmp_path / "data", options=("--workers", "2", "--max-memory", "768M"))


async def test_a_worker_bounds_answers_uploads_and_messages(server: ServerProcess) -> None:
    with server.start():
        async with EngagementClient(server.address, account_id=ACCOUNT) as client:
            await fill(client)
            with RawHttp2(server.address, window_bytes=0) as rude:
                for _ in range(LISTS):
                    rude.call(LIST, v1.ListEventsRequest(account_id=ACCOUNT))
                async with deadline("answers that there is no room for are refused"):
                    assert await refused_calls(rude.frames(), calls=8) == 8
                assert len([stored async for stored in client.list_events()]) == 50

        async with connect(server.address) as greedy, connect(server.address) as modest:
            opened = [await first_answer(RawUpload(greedy.ingest), f"rude-{n}") for n in range(UPLOADS)]
            assert opened == ["opened"] * OPEN_UPLOADS + ["OVERLOADED"] * (UPLOADS - OPEN_UPLOADS)
            assert await first_answer(RawUpload(modest.ingest), "modest") == "opened"

            event = v1.Event(additional_attributes={f"{number}": "x" * 50_000 for number in range(170)})
            refused = await expect_refused(modest.record(event))
            assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
