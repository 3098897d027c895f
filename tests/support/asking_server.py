"""Servers that ask who calls, of each kind: alone, over a replicated log, and as a worker."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engagement_server.access.identities import Credentials
from engagement_server.assembly import Assembly, partition_folder
from engagement_server.config import Config
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from engagement_server.store.database import DatabaseFile
from engagement_server.workers.channel import Channel
from engagement_server.workers.remote_log import RemoteLog
from engagement_server.workers.remote_log_server import RemoteLogServer
from tests.support.scoped_callers import ScopeTokens

Serving: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Server]]


def alone(new_store: Path, credentials: Credentials | None = None) -> Serving:
    """A server of one process; its store is a copy. Without credentials, tokens name their scopes."""
    asked = credentials or ScopeTokens()

    @asynccontextmanager
    async def serving(folder: Path) -> AsyncIterator[Server]:
        shutil.copytree(new_store, folder)
        server = await Server.start(Config(listen="127.0.0.1:0", data=folder), credentials=asked)
        try:
            yield server
        finally:
            await server.stop()

    return serving


def replicated(url: str, *, log_name: str, credentials: Credentials | None = None) -> Serving:
    """A node of a replicated log."""
    asked = credentials or ScopeTokens()

    @asynccontextmanager
    async def serving(folder: Path) -> AsyncIterator[Server]:
        config = Config(listen="127.0.0.1:0", data=folder)
        log = LogConfig(log=url, log_name=log_name, log_replicas=1)
        server = await Server.start(config, log, credentials=asked)
        try:
            yield server
        finally:
            await server.stop()

    return serving


def worker(credentials: Credentials) -> Serving:
    """A worker that knows its callers by these credentials."""
    return partial(as_worker, credentials=credentials)


@asynccontextmanager
async def as_worker(folder: Path, *, credentials: Credentials | None = None) -> AsyncIterator[Server]:
    """A worker in this process, which is that of the writer as well."""
    asked = credentials or ScopeTokens()
    config = Config(listen="127.0.0.1:0", data=folder)
    database = DatabaseFile(partition_folder(config, 0))
    log = LocalLog(database)
    committer = Committer(log)
    host = RemoteLogServer(log, committer)
    ours, theirs = socket.socketpair()
    channel = await Channel.open(ours)
    lending = asyncio.create_task(host.serve(channel, kill=lambda: None))
    lent = DatabaseFile(partition_folder(config, 0), is_lent=True)
    assembly = Assembly(0, lent, await RemoteLog.open(theirs))
    server = Server(config, [assembly], is_worker=True, credentials=asked)
    await server.listen()
    try:
        yield server
    finally:
        await server.stop()
    await lending
    host.close()
    await committer.close()
    await log.close()
    database.close()
