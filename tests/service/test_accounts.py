"""The list of accounts: all that were written to, with what they have stored."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from engagement import EngagementClient, v1
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from engagement_server.partitions import partition_number
from tests.support.events import customer_event, customer_events
from tests.support.nats_cluster import NatsCluster
from tests.support.refused_call import expect_refused
from tests.support.waiting import eventually


async def record(server: Server, account_id: str, *events: v1.Event) -> None:
    async with EngagementClient(server.address, account_id=account_id) as client:
        await client.record_events(events)


async def listed(client: EngagementClient, *, page_size: int = 1000) -> list[v1.Account]:
    return [account async for account in client.list_accounts(page_size=page_size)]


async def test_a_new_server_has_no_accounts(client: EngagementClient) -> None:
    assert await listed(client) == []


async def test_accounts_are_in_the_order_of_their_ids_whatever_the_page_size(
    client: EngagementClient, server: Server
) -> None:
    names = ["b", "a", "Z", "-", "_", "a1", "A", "c" * 64]
    for count, name in enumerate(names, 1):
        await record(server, name, *customer_events(count))
    expected = sorted((name, count) for count, name in enumerate(names, 1))
    for page_size in (1, 3, 8, 1000):
        accounts = await listed(client, page_size=page_size)
        assert [(account.account_id, account.events) for account in accounts] == expected


async def test_an_account_has_the_time_of_its_last_acceptance(client: EngagementClient) -> None:
    await client.record_events([customer_event("a")])
    await client.record_events([customer_event("b"), customer_event("a")])
    (account,) = await listed(client)
    last = await client.get_event(event_id="b")
    assert account == v1.Account(
        account_id="acme",
        events=2,
        last_receive_time=last.receive_time,
        stored_bytes=sum(customer_event(name).ByteSize() for name in "ab"),
    )


async def test_an_account_without_events_has_no_time(client: EngagementClient) -> None:
    await client.put_entities(v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE, ["vip"])
    assert await listed(client) == [v1.Account(account_id="acme")]


async def test_a_page_token_is_taken_unchanged_only(
    client: EngagementClient, server: Server, channel: grpc.aio.Channel
) -> None:
    for name in ("a", "b"):
        await record(server, name, customer_event())
    stub = v1.ServerServiceStub(channel)
    page = await stub.ListAccounts(v1.ListAccountsRequest(page_size=1))
    assert [account.account_id for account in page.accounts] == ["a"]
    changed = v1.ListAccountsRequest(page_token=f"{page.next_page_token}A")
    assert (await expect_refused(stub.ListAccounts(changed))).reason == "PAGE_TOKEN_MISMATCH"
    too_long = v1.ListAccountsRequest(page_token="A" * 1025)
    assert (await expect_refused(stub.ListAccounts(too_long))).fields == ["page_token"]


async def test_a_node_lists_the_accounts_of_all_its_partitions_and_no_others(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    names = [f"brand-{number}" for number in range(20)]
    served = {"0-1": {0, 1}, "2": {2}, "0-2": {0, 1, 2}}
    async with AsyncExitStack() as stack:
        clients = []
        for partitions in served:
            config = Config(listen="127.0.0.1:0", data=tmp_path / partitions, partitions=f"{partitions}/3")
            log = LogConfig(log=cluster.url, log_name="accounts", log_replicas=1)
            node = await Server.start(config, log)
            stack.push_async_callback(node.stop)
            clients.append(await stack.enter_async_context(EngagementClient(node.address, account_id="acme")))
        for name in names:
            await record(node, name, customer_event())
        for client, numbers in zip(clients, served.values(), strict=True):
            expected = sorted(name for name in names if partition_number(name, count=3) in numbers)

            async def has_all(client: EngagementClient = client, expected: list[str] = expected) -> bool:
                accounts = await listed(client, page_size=3)
                return [account.account_id for account in accounts] == expected

            await eventually(has_all, "the node has applied all events")
