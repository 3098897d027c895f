"""Lists of statuses and types: which names are on them, and which requests are refused."""

from __future__ import annotations

import grpc
import pytest

from engagement import EngagementClient, InvalidArgumentError, NotFoundError, v1
from engagement.limits import MAX_ENTITY_NAME_CHARACTERS, MAX_ENTITY_NAMES
from engagement_server.node import Server
from tests.support.calls import ACCEPTED
from tests.support.events import customer_event
from tests.support.refused_call import assert_receivable, expect_refused

STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
TYPE = v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE


async def test_a_list_that_was_never_put_is_empty_and_open(client: EngagementClient) -> None:
    assert await client.list_entities(STATUS) == v1.ListEntitiesResponse()


async def test_names_stay_in_the_order_in_which_they_were_added(client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["gold", "Bronze"])
    answer = await client.put_entities(STATUS, ["silver", "gold"])
    assert (list(answer.names), answer.closed) == (["gold", "Bronze", "silver"], False)
    assert await client.list_entities(STATUS) == v1.ListEntitiesResponse(names=answer.names)


async def test_a_new_spelling_keeps_the_place_of_the_name(client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["Straße", "gold"])
    answer = await client.put_entities(STATUS, ["silver", "STRASSE", "GOLD", "Gold"])
    assert list(answer.names) == ["STRASSE", "Gold", "silver"]


async def test_the_two_lists_and_the_accounts_are_apart(server: Server, client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["gold"], closed=True)
    assert await client.list_entities(TYPE) == v1.ListEntitiesResponse()
    async with EngagementClient(server.address, account_id="other") as other:
        assert await other.list_entities(STATUS) == v1.ListEntitiesResponse()
        result = await other.record_event(customer_event(customer_status="none"))
        assert result.outcome == ACCEPTED


async def test_a_list_is_closed_and_opened_without_touching_its_names(client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["gold"])
    seen = [
        (list(answer.names), answer.closed)
        for closed in (True, None, False)
        for answer in [await client.put_entities(STATUS, closed=closed)]
    ]
    assert seen == [(["gold"], True), (["gold"], True), (["gold"], False)]


async def test_a_name_is_taken_off_in_any_case_and_once(client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["gold", "Silver"], closed=True)
    answer = await client.delete_entity(STATUS, "sILVER")
    assert (list(answer.names), answer.closed) == (["gold"], True)
    with pytest.raises(NotFoundError) as caught:
        await client.delete_entity(STATUS, "Silver")
    assert (caught.value.reason, caught.value.metadata["name"]) == ("ENTITY_NOT_FOUND", "Silver")


async def test_a_list_holds_110_names_and_refuses_the_next_as_a_whole(client: EngagementClient) -> None:
    names = [f"name {number}" for number in range(MAX_ENTITY_NAMES)]
    await client.put_entities(STATUS, names)
    # Names that are there already take no room.
    answer = await client.put_entities(STATUS, [name.upper() for name in names])
    assert list(answer.names) == [name.upper() for name in names]
    with pytest.raises(InvalidArgumentError) as caught:
        await client.put_entities(STATUS, ["Name 0", "one more"], closed=True)
    (violation,) = caught.value.violations
    assert (violation.field, violation.rule) == ("names", "server.entities.max_names")
    assert "111" in violation.description
    assert await client.list_entities(STATUS) == v1.ListEntitiesResponse(names=answer.names)
    await client.delete_entity(STATUS, "name 0")
    await client.put_entities(STATUS, ["one more"])


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (v1.PutEntitiesRequest(account_id="acme", kind=STATUS, names=["gold", ""]), "names[1]"),
        (v1.PutEntitiesRequest(account_id="acme", kind=STATUS, names=["a\0"]), "names[0]"),
        (v1.PutEntitiesRequest(account_id="acme", kind=STATUS, names=["x" * 257]), "names[0]"),
        (v1.PutEntitiesRequest(account_id="acme", kind=STATUS, names=["x"] * 111), "names"),
        (v1.PutEntitiesRequest(account_id="acme", names=["gold"]), "kind"),
        (v1.ListEntitiesRequest(account_id="acme"), "kind"),
        (v1.ListEntitiesRequest(account_id="no account", kind=TYPE), "account_id"),
        (v1.DeleteEntityRequest(account_id="acme", kind=TYPE), "name"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused_with_the_field(
    channel: grpc.aio.Channel,
    request_: v1.PutEntitiesRequest | v1.ListEntitiesRequest | v1.DeleteEntityRequest,
    field: str,
) -> None:
    method = type(request_).__name__.removesuffix("Request")
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/engagement.v1.EntityService/{method}"
    )
    refused = await expect_refused(call(request_.SerializeToString()))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refused.fields == [field]


async def test_a_put_sent_twice_changes_nothing(client: EngagementClient) -> None:
    first = await client.put_entities(TYPE, ["a", "B"], closed=True)
    assert await client.put_entities(TYPE, ["a", "B"], closed=True) == first


async def test_a_name_that_is_not_there_is_named_within_the_bounds(channel: grpc.aio.Channel) -> None:
    stub = v1.EntityServiceStub(channel)
    request = v1.DeleteEntityRequest(
        account_id="acme", kind=STATUS, name="\U0001f600" * MAX_ENTITY_NAME_CHARACTERS
    )
    refused = await expect_refused(stub.DeleteEntity(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND")
    assert_receivable(refused)


async def test_the_server_says_how_long_lists_and_names_may_be(client: EngagementClient) -> None:
    limits = (await client.get_server_info()).limits
    assert (limits.max_entity_names, limits.max_entity_name_characters) == (110, 256)
    assert limits.max_subscription_batch_events == 1000
