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
from engagement_server.access.last_uses import Uses
from engagement_server.access.received import ReceivedAccess
from engagement_server.api.observers import Observers
from engagement_server.assembly import Assembly, partition_folder
from engagement_server.errors import EngagementError
from engagement_server.metrics.measures import Measured, Measures
from engagement_server.metrics.rejected_counts import RejectedCounts
from engagement_server.metrics.rejections import Rejections, Snapshot
from engagement_server.node import Server, prepare_process
from engagement_server.oversight import trace_process
from engagement_server.stats.streams import OpenStreams
from engagement_server.store.database import DatabaseFile
from engagement_server.supervision import Supervisor
from engagement_server.telemetry.setup import report_of_loop
from engagement_server.transport.served_certificate import ServedCertificate
from engagement_server.workers.audit import RemoteAudit
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.counts import MEASURES, REJECTIONS, STATS, USES, Part, WorkerCounts
from engagement_server.workers.quotas import WorkerLedger
from engagement_server.workers.remote_log import RemoteLog
from engagement_server.workers.settings import (
    decode_certificate,
    decode_contents,
    decode_services,
    decode_settings,
)

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog
    from engagement_server.telemetry.spans import Tracer
    from engagement_server.workers.settings import WorkerSettings

_FAILED = 1
_ORPHANED = 2

_log = logging.getLogger("engagement_server.workers.worker")


def main() -> int:
    """Serves calls until the parent sends the stop message; returns the exit status."""
    return uvloop.run(_run(int(sys.argv[1])))


class _Orders:
    """What the parent has told the worker to do."""

    def __init__(self) -> None:
        self.lame_duck = asyncio.Event()
        """To report that it will stop."""
        self.stop = asyncio.Event()


async def _run(control_end: int) -> int:
    control = await Channel.open(socket.socket(fileno=control_end))
    first = await control.receive()
    if first is None:
        return _ORPHANED
    settings = decode_settings(first.data)
    prepare_process(settings.lines, worker=settings.number)
    asyncio.get_running_loop().set_exception_handler(report_of_loop)
    orders, supervisor, counts = _Orders(), Supervisor(), WorkerCounts(control)
    ledger = WorkerLedger(control)
    access = _access(settings, control) if settings.access.is_on else None
    measures, tracing = Measures(process=settings.number), None
    audit = None if settings.audit is None else RemoteAudit(control, settings.audit, measures=measures)
    certificate = None if settings.certificate is None else ServedCertificate(settings.certificate)
    watching = asyncio.create_task(
        _watch_parent(
            control,
            orders,
            supervisor,
            counts,
            ledger=ledger,
            access=access,
            audit=audit,
            certificate=certificate,
        )
    )
    try:
        tracing = trace_process(settings.config, measures, name=f"worker {settings.number}")
        tracer = None if tracing is None else tracing.tracer
        server = await _start(
            settings,
            supervisor,
            counts,
            measures=measures,
            tracer=tracer,
            ledger=ledger,
            access=access,
            audit=audit,
            certificate=certificate,
        )
    except EngagementError as error:
        _log.error("%s", error)
        control.send(Kind.FAILED, str(error).encode())
        status = _FAILED
    else:
        control.send(Kind.LISTENING)
        failing = asyncio.create_task(_exit_on_failure(server))
        await orders.lame_duck.wait()
        server.report_stopping()
        await orders.stop.wait()
        await server.stop()
        if tracing is not None:
            await tracing.close()
        if audit is not None:
            audit.send(is_last=True)
        counts.send()
        failing.cancel()
        status = 0
    watching.cancel()
    await control.close()
    return status


async def _start(  # noqa: PLR0913  # `_run` makes all of them
    settings: WorkerSettings,
    supervisor: Supervisor,
    counts: WorkerCounts,
    *,
    measures: Measures,
    tracer: Tracer | None,
    ledger: WorkerLedger,
    access: ReceivedAccess | None,
    audit: RemoteAudit | None,
    certificate: ServedCertificate | None,
) -> Server:
    assemblies: list[Assembly] = []
    for number, end in settings.log_ends.items():
        log: CommitLog = await RemoteLog.open(socket.socket(fileno=end))
        folder = partition_folder(settings.config, number)
        assemblies.append(Assembly(number, DatabaseFile(folder, is_lent=True), log))
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
        observers=Observers(measures, settings.lines, tracer, audit),
        credentials=None if access is None else access.directory,
        ledger=ledger,
        read_stats=read_stats,
        certificate=certificate,
    )
    if access is not None:
        counts.add(USES, Part(access.uses, Uses))
    counts.add(STATS, Part(server.streams, OpenStreams, answer=bytes))
    counts.add(REJECTIONS, Part(rejections, Snapshot))
    counts.add(MEASURES, Part(measures, Measured))
    counts.send()  # all that there is to count, from 0
    supervisor.start("send-counts", counts.send_periodically)
    if audit is not None:
        supervisor.start("send-audit", audit.send_periodically)
    await server.listen()
    return server


def _access(settings: WorkerSettings, control: Channel) -> ReceivedAccess:
    return ReceivedAccess(
        settings.access, settings.access_files, on_unknown_key=partial(control.send, Kind.ACCESS)
    )


async def _watch_parent(  # noqa: PLR0913  # `_run` makes all of them
    control: Channel,
    orders: _Orders,
    supervisor: Supervisor,
    counts: WorkerCounts,
    *,
    ledger: WorkerLedger,
    access: ReceivedAccess | None,
    audit: RemoteAudit | None,
    certificate: ServedCertificate | None,
) -> None:
    """Waits for orders, and takes what the parent reports; exits if the parent dies."""
    while (message := await control.receive()) is not None:
        if message.kind == Kind.STALLED:
            supervisor.note_elsewhere(decode_services(message.data))
        elif message.kind == Kind.ACCESS and access is not None:
            await access.take(decode_contents(message.data))
        elif message.kind in (Kind.RESPONSE, Kind.FAILED):
            counts.answer(message)
        elif message.kind == Kind.AUDIT_RECORD and audit is not None:
            audit.take(message)
        elif message.kind == Kind.QUOTA:
            ledger.answer(message)
        elif message.kind == Kind.CERTIFICATE and certificate is not None:
            certificate.pem = decode_certificate(message.data)
        else:
            orders.lame_duck.set()
            if message.kind == Kind.STOP:
                orders.stop.set()
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
