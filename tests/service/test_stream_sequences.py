"""Messages of uploads and subscriptions in any order, against a small model of them.

`STREAM_SEQUENCES=10000` tries so many orders.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engagement import v1
from engagement_server.api.grpc import rights
from tests.support.asking_server import Serving, alone, worker
from tests.support.stream_machine import Stage, StreamMachine, known

_SEQUENCES = int(os.environ.get("STREAM_SEQUENCES", "25"))


@pytest.fixture(params=["alone", "worker"])
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A server in a loop of its own, which runs while a step is played."""
    monkeypatch.setattr(rights, "LOOK_SECONDS", 0.02)
    grants = known()
    serving: Serving = alone(new_store, grants) if request.param == "alone" else worker(grants)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        context = serving(tmp_path / "data")
        server = runner.run(context.__aenter__())

        async def connect() -> grpc.aio.Channel:
            return grpc.aio.insecure_channel(server.address)

        channel = runner.run(connect())
        yield Stage(loop, grants, v1.IngestServiceStub(channel), v1.EventServiceStub(channel))
        runner.run(channel.close())
        runner.run(context.__aexit__(None, None, None))


@pytest.mark.timeout(120 + _SEQUENCES)
def test_any_order_of_messages_goes_as_the_model_says(stage: Stage) -> None:
    run_state_machine_as_test(
        lambda: StreamMachine(stage),  # type: ignore[arg-type]  # it takes functions, too
        settings=settings(
            max_examples=_SEQUENCES,
            stateful_step_count=25,
            deadline=None,
            database=None,
            # Shorter ones of a failure would each wait for what does not come.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
