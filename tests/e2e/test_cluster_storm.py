"""Uploads and a follower while servers are killed, frozen and cut off: nothing is lost, nothing doubled.

CLUSTER_STORM_SECONDS is the length of a storm of random incidents; without it each kind of server is killed.
CLUSTER_STORM_SEED repeats a run, CLUSTER_STORM_RATE is the load in events a second.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import pytest

from engagement import v1
from tests.support.agreement import agreed, clients, views_agree
from tests.support.cluster_incidents import Incident, Incidents
from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster, target
from tests.support.steady_upload import SteadyUpload
from tests.support.waiting import DEADLINE_SECONDS, eventually

_SECONDS = float(os.environ.get("CLUSTER_STORM_SECONDS", "0"))
_RATE = int(os.environ.get("CLUSTER_STORM_RATE", "1000"))
_UPLOADS = 2
# Snapshots are so frequent that there is one when a node is lost.
_SETTINGS = {"ENGAGEMENT_SNAPSHOT_HOURS": str(30 / 3600)}
_ACCOUNT = "acme"
_COMPARISON_SECONDS = DEADLINE_SECONDS + _SECONDS

pytestmark = pytest.mark.timeout(5 * DEADLINE_SECONDS + 3 * _SECONDS)


class Storm:
    """Incidents, one after the other, under the load of some uploads."""

    def __init__(self, incidents: Incidents, uploads: list[SteadyUpload], chance: Random) -> None:
        self.silences: defaultdict[str, list[float]] = defaultdict(list)
        """For each incident, by kind: the longest silence of an upload."""
        self._incidents = incidents
        self._uploads = uploads
        self._chance = chance

    async def rage(self) -> None:
        """Runs one incident after the other."""
        for name, incident, lasts_seconds in self._forecast():
            for upload in self._uploads:
                upload.longest_silence_seconds = 0
            async with incident():
                await self._hear()
                # The duration itself is under test; no condition can replace it.
                await asyncio.sleep(lasts_seconds)
            await self._incidents.settle()
            await self._hear()
            self.silences[name].append(max(upload.longest_silence_seconds for upload in self._uploads))

    async def _hear(self) -> None:
        await asyncio.gather(*(upload.next_ack() for upload in self._uploads))

    def _forecast(self) -> Iterator[tuple[str, Incident, float]]:
        incidents = self._incidents
        if not _SECONDS:
            yield "leader killed", partial(incidents.server_is_killed, leads=True), 0
            for number in range(3):
                yield "node killed", partial(incidents.node_is_killed, number), 0
        kinds: list[tuple[str, Incident, float]] = [
            ("leader killed", partial(incidents.server_is_killed, leads=True), 3),
            ("server killed", incidents.server_is_killed, 3),
            ("server frozen", incidents.server_is_frozen, 8),
            ("server cut off", incidents.server_is_cut_off, 12),
            ("leader silent", incidents.leader_is_silent, 12),
            ("node killed", incidents.node_is_killed, 3),
            ("node killed", incidents.node_is_killed, 3),
            ("node stopped", incidents.node_is_stopped, 3),
            ("node lost", incidents.node_is_lost, 3),
            ("node paused", incidents.node_pauses, 0),
        ]
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            name, incident, longest_seconds = self._chance.choice(kinds)
            yield name, incident, self._chance.uniform(0, longest_seconds)


async def test_a_storm_loses_nothing_doubles_nothing_and_leaves_all_nodes_equal(tmp_path: Path) -> None:
    seed = os.environ.get("CLUSTER_STORM_SEED") or str(time.time_ns())
    print(f"CLUSTER_STORM_SEED={seed}")
    chance = Random(seed)
    with (
        NatsCluster(tmp_path / "nats", cuttable=True) as nats,
        ServerCluster(tmp_path / "nodes", nats, environment=_SETTINGS) as servers,
    ):
        incidents = Incidents(nats, servers, chance)
        addresses = servers.addresses
        targets = [target([*addresses[n % 3 :], *addresses[: n % 3]]) for n in range(_UPLOADS + 1)]
        seen: list[str] = []
        async with clients(*targets, account_id=_ACCOUNT) as (following, *producing), AsyncExitStack() as end:

            async def follow() -> None:
                async with following.follow(earliest=True) as follower:
                    async for batch in follower.batches():
                        seen.extend(stored.cursor for stored in batch.events)

            uploads = [
                SteadyUpload(
                    client,
                    name=f"upload-{number}",
                    events_a_second=_RATE // _UPLOADS,
                    max_seconds=4 * DEADLINE_SECONDS + 2 * _SECONDS,
                )
                for number, client in enumerate(producing)
            ]
            storm = Storm(incidents, uploads, chance)
            follower = asyncio.create_task(follow())
            for upload in uploads:
                await end.enter_async_context(upload.running())
            await storm.rage()
            await end.aclose()
            _check_tallies(uploads)
            listed = await agreed(addresses, account_id=_ACCOUNT, seconds=_COMPARISON_SECONDS)

            await eventually(
                lambda: len(seen) >= len(listed) or follower.done(), "the follower saw all events"
            )
            assert not follower.done(), follower.result()
            follower.cancel()
        assert seen == [cursor for _, cursor in listed]
        _check_events([event_id for event_id, _ in listed], uploads)
        await views_agree([node.data_dir for node in servers.nodes], seconds=_COMPARISON_SECONDS)
    _report(storm, incidents, uploads)


def _check_events(ids: list[str], uploads: list[SteadyUpload]) -> None:
    for number, upload in enumerate(uploads):
        assert [event_id for event_id in ids if event_id.startswith(f"upload-{number}-")] == upload.ids
    assert len(ids) == sum(upload.produced for upload in uploads)


def _check_tallies(uploads: list[SteadyUpload]) -> None:
    for upload in uploads:
        assert upload.summary is not None
        assert upload.summary.tally == v1.Tally(accepted=upload.produced)


def _report(storm: Storm, incidents: Incidents, uploads: list[SteadyUpload]) -> None:
    events = sum(upload.produced for upload in uploads)
    reconnects = sum(upload.summary.reconnects for upload in uploads if upload.summary)
    print(f"{events} events, {reconnects} reconnects; seconds without an ack:")
    for name, silences in sorted(storm.silences.items()):
        ordered = sorted(silences)
        middle, longest = ordered[len(ordered) // 2], ordered[-1]
        print(f"  {name:15} {len(ordered):4} times, median {middle:5.1f}, longest {longest:5.1f}")
    starts = sorted(incidents.start_seconds)
    middle, longest = starts[len(starts) // 2], starts[-1]
    print(f"seconds until a started node served: median {middle:.1f}, longest {longest:.1f}")
