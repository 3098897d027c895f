"""Opens what the partitions of a node are made of: the stores, locked, and their logs."""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError
from engagement_server.jobs.agreement import Terms, agree_on_retention
from engagement_server.jobs.spans import DAY_MS, duration_text, time_text
from engagement_server.log.local import LocalLog
from engagement_server.log.writer_thread import prepare_store
from engagement_server.oversight import VERSION
from engagement_server.store.data_folder import unusable
from engagement_server.store.database import FILE_NAME, DatabaseFile
from engagement_server.store.reserve import Reserve
from engagement_server.store.retention_rows import read_retention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engagement_server.config import Config
    from engagement_server.log.base import CommitLog
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.metrics.measures import Measures
    from engagement_server.model import RetentionState

_log = logging.getLogger(__name__)


class Assembly(NamedTuple):
    """What a partition is made of."""

    number: int
    database: DatabaseFile
    log: CommitLog


async def open_assemblies(config: Config, log: LogConfig | None, *, measures: Measures) -> list[Assembly]:
    """All stores and logs of this node. `measures` gets what the logs measure. Raises ConfigurationError."""
    is_replicated = log is not None and bool(log.servers)
    if config.partition_count > 1 and not is_replicated:
        raise ConfigurationError("more than one partition needs a replicated log; give --log as well")
    if log is not None:
        log.require_usable()  # first, as all that may refuse a start before there is a folder
    databases = _databases(config, are_views=is_replicated)
    assemblies: list[Assembly] = []
    node_id = secrets.token_hex(8)
    try:
        for number, database in zip(config.served_partitions, databases, strict=True):
            opened = await _open_log(config, log, number, database, node_id=node_id, measures=measures)
            assemblies.append(Assembly(number, database, opened))
            await _agree(config, assemblies[-1])
    except BaseException:
        for assembly in assemblies:
            await assembly.log.close()
        for database in reversed(databases):
            database.undo()
        raise
    return assemblies


def partition_folder(config: Config, number: int) -> Path:
    """Folder of a partition's store."""
    count = config.partition_count
    return config.data if count == 1 else config.data / f"{number}of{count}"


def terms_of(config: Config) -> Terms:
    """How long this node was asked to keep events and unfinished uploads."""
    return Terms(
        retention_ms=None if config.retention_days is None else round(config.retention_days * DAY_MS) or 1,
        idle_uploads_ms=round(config.upload_idle_hours * 3_600_000),
        allows_short=config.allow_short_retention,
        folder=config.data,
    )


@contextlib.contextmanager
def cluster_extra() -> Iterator[None]:
    """Says what to install if an import inside fails. Raises ConfigurationError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a replicated log needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server,cluster]'"
        ) from error


def _databases(config: Config, *, are_views: bool) -> list[DatabaseFile]:
    """The store of each partition of this node, locked. Raises ConfigurationError."""
    databases: list[DatabaseFile] = []
    try:
        _require_count(config.data, config.partition_count)
        for number in config.served_partitions:
            databases.append(DatabaseFile(partition_folder(config, number), is_view=are_views))
    except OSError as error:
        raise unusable(config.data, error) from error
    except ConfigurationError:
        for database in reversed(databases):
            database.undo()
        raise
    return databases


def _require_count(data: Path, count: int) -> None:
    """Refuses a folder with another number of partitions: accounts would be looked up in the wrong ones."""
    counts = {int(path.parent.name.partition("of")[2]) for path in data.glob(f"[0-9]*of[0-9]*/{FILE_NAME}")}
    if (data / FILE_NAME).exists():
        counts.add(1)
    if others := counts - {count}:
        raise ConfigurationError(
            f"{data} holds partitions of {min(others)}, and these are of {count}: the number cannot be"
            " changed. Choose another folder"
        )


async def _open_log(  # noqa: PLR0913  # all but the first four are named at the call
    config: Config,
    log: LogConfig | None,
    number: int,
    database: DatabaseFile,
    *,
    node_id: str,
    measures: Measures,
) -> CommitLog:
    def reserve() -> Reserve:
        return Reserve(database.folder, size_bytes=config.reserve_megabytes << 20)

    if log is None or not log.servers:
        await prepare_store(database)
        return LocalLog(database, reserve=reserve())
    with cluster_extra():
        from engagement_server.log.nats.opening import open_log  # noqa: PLC0415  # an optional room

    return await open_log(
        database,
        log,
        partition=number,
        partition_count=config.partition_count,
        reserve=reserve,
        node_id=node_id,
        measures=measures,
    )


async def _agree(config: Config, assembly: Assembly) -> None:
    """Agrees with the store on the retention, and logs what this start means. Raises ConfigurationError."""

    def read() -> RetentionState:
        with contextlib.closing(assembly.database.open_reader()) as connection:
            return read_retention(connection)

    with assembly.database.usable():
        state = await agree_on_retention(assembly.log, terms_of(config), read=read)
    _log.info("version %s, %s: %s", VERSION, assembly.database.folder, _retention_text(state))


def _retention_text(state: RetentionState) -> str:
    if state.retention_ms is None:
        return "the retention is not known until the node follows the log"
    before = time_text(now_ms() - state.retention_ms)
    text = f"keeps events for {duration_text(state.retention_ms)}, removes those accepted before {before}"
    return text if state.hold is None else f"{text}, but expiry is held"
