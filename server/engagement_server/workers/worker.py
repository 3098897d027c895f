"""The process of a worker: serves calls, reads the store, and lets its parent commit.

The parent starts it with the file descriptor of the control channel as its argument. It exits when the parent
does, because it must not answer calls that can no longer be committed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from engagement import v1
from engagement_server.assembly import Assembly, partition_folder
from engagement_server.errors import EngagementError
from engagement_server.metrics.measures import Measured, Measures
from engagement_server.metrics.rejected_counts import RejectedCounts
from engagement_server.metrics.rejections import Rejections, Snapshot
from engagement_server.node import Server, prepare_process
from engagement_server.stats.streams import OpenStreams
from engagement_server.store.database import DatabaseFile
from engagement_server.supervision import Supervisor
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.counts import MEASURES, REJECTIONS, STATS, Part, WorkerCounts
from engagement_server.workers.remote_log import RemoteLog
from engagement_server.workers.settings import decode_services, decode_settings

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog
    from engagement_server.workers.settings import WorkerSettings

_FAILED = 1
_ORPHANED = 2

_log = logging.getLogger("engagement_server.workers.worker")


def main() -> int:
    """Serves calls until the parent sends the stop message; returns the exit status."""
    return uvloop.run(_run(int(sys.argv[1])))


async def _run(control_end: int) -> int:
    control = await Channel.open(socket.socket(fileno=control_end))
    first = await control.receive()
    if first is None:
        return _ORPHANED
    settings = decode_settings(first.data)
    prepare_process(name=f"worker {settings.number} ")
    stop, supervisor, counts = asyncio.Event(), Supervisor(), WorkerCounts(control)
    watching = asyncio.create_task(_watch_parent(control, stop, supervisor, counts))
    try:
        server = await _start(settings, supervisor, counts)
    except EngagementError as error:
        _log.error("%s", error)
        control.send(Kind.FAILED, str(error).encode())
        status = _FAILED
    else:
        control.send(Kind.LISTENING)
        failing = asyncio.create_task(_exit_on_failure(server))
        await stop.wait()
        await server.stop()
        counts.send()
        failing.cancel()
        status = 0
    watching.cancel()
    await control.close()
    return status


async def _start(settings: WorkerSettings, supervisor: Supervisor, counts: WorkerCounts) -> Server:
    assemblies: list[Assembly] = []
    for number, end in settings.log_ends.items():
        log: CommitLog = await RemoteLog.open(socket.socket(fileno=end))
        folder = partition_folder(settings.config, number)
        assemblies.append(Assembly(number, DatabaseFile(folder, is_lent=True), log))
    measures = Measures(process=settings.number)
    rejections = Rejections(
        read_shared=partial(counts.ask, REJECTIONS), on_rejected=RejectedCounts(measures).note
    )

    async def read_stats() -> v1.GetServerStatsResponse:
        return v1.GetServerStatsResponse.FromString(await counts.ask(STATS, ""))

    server = Server(
        settings.config,
        assemblies,
        is_worker=True,
        supervisor=supervisor,
        rejections=rejections,
        measures=measures,
        read_stats=read_stats,
    )
    counts.add(STATS, Part(server.streams, OpenStreams, answer=bytes))
    counts.add(REJECTIONS, Part(rejections, Snapshot))
    counts.add(MEASURES, Part(measures, Measured))
    counts.send()  # all that there is to count, from 0
    supervisor.start("send-counts", counts.send_periodically)
    await server.listen()
    return server


async def _watch_parent(
    control: Channel, stop: asyncio.Event, supervisor: Supervisor, counts: WorkerCounts
) -> None:
    """Waits for the stop message, and takes what the parent reports; exits if the parent dies."""
    while (message := await control.receive()) is not None:
        if message.kind == Kind.STALLED:
            supervisor.note_elsewhere(decode_services(message.data))
        elif message.kind in (Kind.RESPONSE, Kind.FAILED):
            counts.answer(message)
        else:
            stop.set()
    _exit("the parent process has ended")


async def _exit_on_failure(server: Server) -> None:
    """Exits if one of the logs fails."""
    try:
        await server.fail()
    except Exception as error:
        _exit(error)


def _exit(reason: object) -> None:
    """Exits immediately, without a response to any running call."""
    _log.error("%s", reason)
    logging.shutdown()
    os._exit(_ORPHANED)
