"""A worker: a process that takes calls, reads the store, and has its commits made by the one that writes.

It is started by that process and by nobody else; its argument is the file descriptor of the channel between
them. It ends with that channel: what cannot be committed must not be answered.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

import uvloop

from engagement_server.errors import EngagementError
from engagement_server.node import Assembly, Server, partition_folder, prepare_process
from engagement_server.store.database import DatabaseFile
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.remote_log import RemoteLog
from engagement_server.workers.settings import decode_settings

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog
    from engagement_server.workers.settings import WorkerSettings

_FAILED = 1
_ORPHANED = 2

_log = logging.getLogger("engagement_server.workers.worker")


def main() -> int:
    """Takes calls until it is told to stop; its exit status."""
    return uvloop.run(_run(int(sys.argv[1])))


async def _run(control_end: int) -> int:
    control = await Channel.open(socket.socket(fileno=control_end))
    first = await control.receive()
    if first is None:
        return _ORPHANED
    settings = decode_settings(first.data)
    prepare_process(name=f"worker {settings.number} ")
    stop = asyncio.Event()
    watching = asyncio.create_task(_watch(control, stop))
    try:
        server = await _start(settings)
    except EngagementError as error:
        _log.error("%s", error)
        control.send(Kind.FAILED, str(error).encode())
        status = _FAILED
    else:
        control.send(Kind.LISTENING)
        failing = asyncio.create_task(_end_with(server))
        await stop.wait()
        await server.stop()
        failing.cancel()
        status = 0
    watching.cancel()
    await control.close()
    return status


async def _start(settings: WorkerSettings) -> Server:
    assemblies: list[Assembly] = []
    for number, end in settings.log_ends.items():
        log: CommitLog = await RemoteLog.open(socket.socket(fileno=end))
        folder = partition_folder(settings.config, number)
        assemblies.append(Assembly(number, DatabaseFile(folder, is_lent=True), log))
    server = Server(settings.config, assemblies, is_worker=True)
    await server.listen()
    return server


async def _watch(control: Channel, stop: asyncio.Event) -> None:
    """Hears when to stop, and ends with the process that would say so."""
    while await control.receive() is not None:
        stop.set()
    _end_at_once("the process that writes has ended")


async def _end_with(server: Server) -> None:
    """Ends with any of the logs, whatever ends it."""
    try:
        await server.fail()
    except Exception as error:
        _end_at_once(error)


def _end_at_once(reason: object) -> None:
    """Ends without another word to anybody: nothing that was not answered will be."""
    _log.error("%s", reason)
    logging.shutdown()
    os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
