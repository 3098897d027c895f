"""Nothing but damage leaves a gap in the sequences of a stream: what views take for a gap is one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError

from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import eventually

STREAM = "numbers"
_PUBLISHERS = 2
_FULL = 10077
"""Error code of NATS: the stream is full."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "nats") as running:
        yield running


class _Traffic:
    """Publishers that repeat what is not acknowledged, as nodes do, until they are stopped."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._is_stopping = False
        self._tasks = [asyncio.create_task(self._publish(number)) for number in range(_PUBLISHERS)]
        self.acknowledged = 0
        self.refused_as_full = 0

    async def stop(self) -> None:
        self._is_stopping = True
        await asyncio.gather(*self._tasks)

    async def grow(self, *, by: int = 25) -> None:
        """Waits until more messages were acknowledged."""
        enough = self.acknowledged + by
        await eventually(lambda: self.acknowledged >= enough, "messages are acknowledged")

    async def _publish(self, publisher: int) -> None:
        number = 0
        while not self._is_stopping:
            number += 1
            # Each also in vain: a repeated id, and a condition that does not hold.
            await self._until_acknowledged(f"{publisher}.{number}")
            await self._once({"Nats-Msg-Id": f"{publisher}.{number}"})
            await self._once({"Nats-Expected-Last-Sequence": "1"})

    async def _until_acknowledged(self, message_id: str) -> None:
        await eventually(lambda: self._once({"Nats-Msg-Id": message_id}), f"{message_id} is acknowledged")
        self.acknowledged += 1

    async def _once(self, headers: dict[str, str]) -> bool:
        try:
            await self._js.publish(STREAM, b"x" * 100, timeout=0.5, headers=headers)
        except APIError as error:
            self.refused_as_full += error.err_code == _FULL
            return False
        except nats.errors.Error:
            return False
        return True


async def leader_of(js: JetStreamContext) -> str:
    """The name of the server that leads the stream, once there is one."""
    found = ""

    async def has_leader() -> bool:
        nonlocal found
        with suppress(nats.errors.Error, APIError):
            info = await js.stream_info(STREAM)
            found = (info.cluster and info.cluster.leader) or ""
        return bool(found)

    await eventually(has_leader, "the stream has a leader")
    return found


async def test_elections_repeats_failed_conditions_and_a_full_stream_leave_no_gap(
    servers: NatsCluster,
) -> None:
    client = await nats.connect(servers.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    js = client.jetstream(timeout=2)
    config = StreamConfig(name=STREAM, subjects=[STREAM], num_replicas=3, discard=DiscardPolicy.NEW)
    await js.add_stream(config)
    traffic = _Traffic(js)
    await traffic.grow()
    # An election that is asked for, one after a stop, one after a kill.
    await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", timeout=5)
    await traffic.grow()
    for end in (signal.SIGTERM, signal.SIGKILL):
        leader = servers.node(await leader_of(js))
        leader.send(end)
        await asyncio.to_thread(leader.wait)
        await traffic.grow()
        leader.launch()
        await asyncio.to_thread(leader.wait_until_listening)
    await asyncio.to_thread(servers.wait_until_healthy)
    # Full, and with room again.
    size = (await js.stream_info(STREAM)).state.bytes
    await js.update_stream(StreamConfig(**{**config.__dict__, "max_bytes": size + 1_000}))
    await eventually(lambda: traffic.refused_as_full > 10, "publishers run into the limit")
    await js.update_stream(StreamConfig(**{**config.__dict__, "max_bytes": -1}))
    await traffic.grow()
    await traffic.stop()
    state = (await js.stream_info(STREAM)).state
    assert (state.first_seq, state.num_deleted or 0) == (1, 0)
    assert state.messages == state.last_seq
    assert state.last_seq >= traffic.acknowledged
    await client.close()
