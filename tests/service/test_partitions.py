"""Accounts are spread over partitions; a node serves its own and refuses the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement.v1 import (
    entity_service_pb2_grpc,
    event_service_pb2_grpc,
    ingest_service_pb2_grpc,
    privacy_service_pb2_grpc,
)
from engagement_server.config import Config
from engagement_server.errors import ConfigurationError
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from engagement_server.partitions import partition_number
from engagement_server.store.database import DatabaseFile
from tests.support.calls import one, some, stored_ids
from tests.support.cli_process import Cli
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import RefusedCall, expect_refused

HERE, ELSEWHERE = "brand-1", "brand-4"
"""Accounts of the partitions 0 and 1 of two."""


@asynccontextmanager
async def serving(
    cluster: NatsCluster, folder: Path, partitions: str, *, log_name: str = "engagement"
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a node that serves some partitions."""
    config = Config(listen="127.0.0.1:0", data=folder, partitions=partitions)
    log = LogConfig(log=cluster.url, log_name=log_name, log_replicas=1)
    server = await Server.start(config, log)
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel
    await server.stop()


def test_the_accounts_of_these_tests_are_of_both_partitions() -> None:
    assert [partition_number(account_id, count=2) for account_id in (HERE, ELSEWHERE)] == [0, 1]
    assert partition_number(ELSEWHERE, count=1) == 0


async def test_every_call_for_an_account_of_another_partition_is_refused(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    erase = v1.EraseConsumerRequest(
        account_id=ELSEWHERE, request_id="r", subjects=[v1.Subject(consumer_id="c")]
    )
    status = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
    async with serving(cluster, tmp_path, "0/2", log_name="refused") as channel:
        ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        events = event_service_pb2_grpc.EventServiceStub(channel)
        entities = entity_service_pb2_grpc.EntityServiceStub(channel)
        privacy = privacy_service_pb2_grpc.PrivacyServiceStub(channel)
        upload = RawUpload(ingest)
        await upload.send(
            v1.UploadEventsRequest(open=v1.UploadEventsRequest.Open(account_id=ELSEWHERE, upload_id="u"))
        )
        calls: list[Awaitable[object]] = [
            ingest.RecordEvent(one(customer_event(), account_id=ELSEWHERE)),
            ingest.RecordEvent(one(customer_event(), account_id=ELSEWHERE, validate_only=True)),
            ingest.RecordEvents(some(customer_event(), account_id=ELSEWHERE)),
            ingest.GetUpload(v1.GetUploadRequest(account_id=ELSEWHERE, upload_id="u")),
            upload.receive(),
            events.GetEvent(v1.GetEventRequest(account_id=ELSEWHERE, event_id="e")),
            events.ListEvents(v1.ListEventsRequest(account_id=ELSEWHERE)),
            events.GetProfile(v1.GetProfileRequest(account_id=ELSEWHERE, consumer_id="c")),
            RawSubscription(events, subscribing(account_id=ELSEWHERE)).read(),
            entities.ListEntities(v1.ListEntitiesRequest(account_id=ELSEWHERE, kind=status)),
            entities.PutEntities(v1.PutEntitiesRequest(account_id=ELSEWHERE, kind=status, names=["a"])),
            entities.DeleteEntity(v1.DeleteEntityRequest(account_id=ELSEWHERE, kind=status, name="a")),
            privacy.EraseConsumer(erase),
            privacy.GetErasure(v1.GetErasureRequest(account_id=ELSEWHERE, erasure_id="e")),
            privacy.ListErasures(v1.ListErasuresRequest(account_id=ELSEWHERE)),
            privacy.LiftSuppression(
                v1.LiftSuppressionRequest(account_id=ELSEWHERE, subject=v1.Subject(consumer_id="c"))
            ),
        ]
        for call in calls:
            _require_elsewhere(await expect_refused(call))
        await ingest.RecordEvent(one(customer_event("a"), account_id=HERE))
        assert await stored_ids(events, account_id=HERE) == ["a"]


def _require_elsewhere(refused: RefusedCall) -> None:
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PARTITION_NOT_SERVED")
    assert refused.metadata == {"accountId": ELSEWHERE, "partition": "1", "partitionCount": "2"}


async def test_nodes_serve_their_partitions_beside_each_other(cluster: NatsCluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(serving(cluster, tmp_path / name, partitions, log_name="beside"))
            for name, partitions in (("zero", "0/2"), ("one", "1/2"), ("both", "2"))
        ]
        for account_id, node in zip((HERE, ELSEWHERE), nodes, strict=False):
            ingest = ingest_service_pb2_grpc.IngestServiceStub(node)
            await ingest.RecordEvent(one(customer_event(account_id), account_id=account_id))
        both = event_service_pb2_grpc.EventServiceStub(nodes[2])
        for account_id in (HERE, ELSEWHERE):
            # By id: a node looks again before it reports NOT_FOUND.
            found = await both.GetEvent(v1.GetEventRequest(account_id=account_id, event_id=account_id))
            assert found.event.event.event_id == account_id


async def test_operators_hear_which_partitions_a_command_did_not_reach(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data", partitions="0,3/6")
    server = await Server.start(config, LogConfig(log=cluster.url, log_name="reach", log_replicas=1))
    cli = Cli(tmp_path, server=server.address)
    for command in (
        ["retention", "set", "--days", "90", "--preview"],
        ["retention", "set", "--days", "90", "--yes", "--json"],
        ["expiry", "release", "--yes"],
    ):
        done = await asyncio.to_thread(cli.run_process, *command)
        assert "Not reached: partitions 1-2, 4-5 of 6, which this node does not serve." in done.stderr
    await server.stop()


async def test_the_number_of_partitions_cannot_be_changed_over_a_folder(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    async with serving(cluster, tmp_path, "2", log_name="folder"):
        pass
    for partitions in ("1", "3", "0/4"):
        with pytest.raises(ConfigurationError, match="partitions of 2"):
            async with serving(cluster, tmp_path, partitions, log_name="other"):
                pass
    async with serving(cluster, tmp_path, "2", log_name="folder"):
        pass


async def test_a_store_of_one_machine_is_no_partition_of_several(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    database = DatabaseFile(tmp_path)
    database.open_writer().close()
    database.close()
    (tmp_path / "proof of nothing").mkdir()
    with pytest.raises(ConfigurationError, match="partitions of 1"):
        async with serving(cluster, tmp_path, "2", log_name="store"):
            pass
    async with serving(cluster, tmp_path, "1", log_name="store"):
        pass


async def test_the_number_of_partitions_cannot_be_changed_over_a_log(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    async with serving(cluster, tmp_path / "two", "2", log_name="log"):
        pass
    for partitions in ("1", "4", "1/3"):
        with pytest.raises(ConfigurationError, match="another partition count"):
            async with serving(cluster, tmp_path / partitions.replace("/", "of"), partitions, log_name="log"):
                pass
