"""What an account has under the ids of a person, and what an erasure leaves under others."""

from __future__ import annotations

import grpc
import pytest

from engagement import EngagementClient, v1
from engagement.upload import Uploader
from engagement_server import persons
from tests.support.events import bad_event, customer_event, personal_event
from tests.support.refused_call import expect_refused

_CONSUMER_ID = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID
_CUSTOMER_ID = v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
_CONVERSATION_ID = v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID
_TOGETHER, _SPELLING = v1.RelatedId.RELATION_SEEN_TOGETHER, v1.RelatedId.RELATION_SPELLING


def event(
    event_id: str, *, consumer: str = "", customer: str | None = None, conversation: str = ""
) -> v1.Event:
    made = customer_event(event_id)
    made.consumer_id, made.conversation_id = consumer, conversation
    if customer is not None:
        made.customer_info.customer_id = customer
    else:
        made.customer_info.ClearField("customer_id")
    return made


def found(related: list[v1.RelatedId]) -> set[tuple[int, str, int, int]]:
    return {(each.kind, each.id, each.relation, each.events) for each in related}


async def test_ids_that_were_seen_together_are_listed_with_what_is_left_there(
    client: EngagementClient,
) -> None:
    await client.record_events(
        [
            event("both", consumer="ada", customer="A1", conversation="talk"),
            event("alone-1", consumer="ada"),
            event("alone-2", consumer="ada", conversation="talk"),
            event("agent", consumer="agent", conversation="talk"),
            event("other", consumer="bela", customer="B1", conversation="elsewhere"),
        ]
    )
    wanted = {(_CONSUMER_ID, "ada", _TOGETHER, 2), (_CONVERSATION_ID, "talk", _TOGETHER, 2)}
    preview = await client.erase_consumer(customer_id="A1", validate_only=True)
    assert (preview.matched_events, found([*preview.related])) == (1, wanted)
    erased = await client.erase_consumer(customer_id="A1")
    assert (erased.erased_events, found([*erased.related])) == (1, wanted)
    recorded = await client.get_erasure(erased.erasure_id)
    assert not recorded.related
    whole = await client.erase_consumer(customer_id="A1", consumer_id="ada", conversation_id="talk")
    assert (whole.erased_events, [*whole.unmatched_subjects]) == (3, [1])
    assert found([*whole.related]) == {(_CONSUMER_ID, "agent", _TOGETHER, 0)}
    assert [stored.event.event_id async for stored in client.list_events()] == ["other"]


async def test_other_spellings_are_listed_and_not_erased(client: EngagementClient) -> None:
    spellings = ["Ada@Example.com", " ada@example.com", "ADA@EXAMPLE.COM", "ada@example.com\u200b"]
    await client.record_events([event(f"e{n}", consumer=each) for n, each in enumerate(spellings)])
    await client.record_events(
        [event("c", customer="ada@example.com"), event("x", consumer="ada@example.co")]
    )
    await client.record_event(event("exact", consumer="ada@example.com"))
    erased = await client.erase_consumer(consumer_id="ada@example.com")
    assert erased.erased_events == 1
    assert found([*erased.related]) == {
        *((_CONSUMER_ID, each, _SPELLING, 1) for each in spellings),
        (_CUSTOMER_ID, "ada@example.com", _SPELLING, 1),
    }
    nothing = await client.erase_consumer(consumer_id="ada@example.com", request_id="again")
    assert (nothing.erasure_id, nothing.HasField("complete_time")) == ("", False)
    assert ([*nothing.unmatched_subjects], len(nothing.related)) == ([0], 5)
    assert [erasure async for erasure in client.list_erasures()] == [
        await client.get_erasure(erased.erasure_id)
    ]


async def test_one_event_of_somebody_else_is_erased(client: EngagementClient) -> None:
    await client.record_events([customer_event("kept"), personal_event("mentions", name="Cy")])
    erased = await client.erase_consumer(event_id=["mentions", "none"])
    assert (erased.erased_events, [*erased.unmatched_event_ids]) == (1, ["none"])
    assert not erased.related
    assert [stored.event.event_id async for stored in client.list_events()] == ["kept"]


async def test_an_event_that_goes_as_well_is_not_left_under_a_related_id(client: EngagementClient) -> None:
    await client.record_events([event("a", consumer="ada", customer="A1"), event("b", customer="A1")])
    await client.record_event(event("c", consumer="ADA"))
    erased = await client.erase_consumer(consumer_id="ada", event_id=["b", "c"])
    assert (erased.erased_events, found([*erased.related])) == (3, {(_CUSTOMER_ID, "A1", _TOGETHER, 0)})


async def test_ids_without_events_of_their_own_are_listed_for_suppression(client: EngagementClient) -> None:
    events = [event("a", consumer="web", customer="K"), event("b", consumer="app", customer="K")]
    await client.record_events(events)
    wanted = {(_CONSUMER_ID, "web", _TOGETHER, 0), (_CONSUMER_ID, "app", _TOGETHER, 0)}
    assert found([*(await client.get_person("K")).related]) == wanted
    preview = await client.erase_consumer(customer_id="K", suppress=True, validate_only=True)
    assert (preview.matched_events, found([*preview.related])) == (2, wanted)


async def test_an_erasure_begins_however_long_it_takes_to_look_for_related_ids(
    client: EngagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persons, "BRIEF_SECONDS", 0.0)
    events = [event(f"e{number}", consumer="ada") for number in range(1500)]
    for start in range(0, len(events), 500):
        await client.record_events(events[start : start + 500])
    preview = await client.erase_consumer(consumer_id="ada", customer_id="none", validate_only=True)
    assert (preview.matched_events, preview.has_more_related) == (1500, False)
    erased = await client.erase_consumer(consumer_id="ada", customer_id="none")
    assert (erased.erased_events, erased.has_more_related) == (1500, True)
    assert not erased.unmatched_subjects


async def test_a_person_is_found_by_either_id(client: EngagementClient) -> None:
    await client.record_events(
        [event("a", consumer="ada"), event("b", customer="ada"), event("c", consumer="ADA")]
    )
    both = event("d", consumer="ada", customer="ada")
    await client.record_event(both)
    bad = bad_event("bad")
    bad.consumer_id = "ada"
    await Uploader(client, upload_id="file").upload([bad])
    await client.erase_consumer(consumer_id="ADA", customer_id="x", suppress=True, request_id="ticket")
    person = await client.get_person("ada")
    assert (person.consumer_events, person.customer_events, person.events, person.rejections) == (2, 2, 3, 1)
    assert person.first_receive_time.ToNanoseconds() <= person.last_receive_time.ToNanoseconds()
    assert not person.suppressions
    other = await client.get_person("ADA")
    assert (other.events, other.suppressions[0].request_id) == (0, "ticket")
    assert found([*other.related]) == {
        (_CONSUMER_ID, "ada", _SPELLING, 2),
        (_CUSTOMER_ID, "ada", _SPELLING, 2),
    }
    wanted = v1.EventFilter(subject_ids=["ada"])
    assert [stored.event.event_id async for stored in client.list_events(wanted)] == ["a", "b", "d"]


@pytest.mark.parametrize("max_compared", [1, 400_000], ids=["in many steps", "in one"])
async def test_rejected_events_are_previewed_and_cleared(
    client: EngagementClient, monkeypatch: pytest.MonkeyPatch, max_compared: int
) -> None:
    monkeypatch.setattr("engagement_server.persons.MAX_COMPARED_HASHES", max_compared)
    await Uploader(client, upload_id="file").upload([bad_event("b1"), bad_event("b2")])
    preview = await client.erase_consumer(consumer_id="ada", validate_only=True)
    assert (preview.matched_events, preview.cleared_rejections, [*preview.unmatched_subjects]) == (0, 2, [])
    await Uploader(client, upload_id="other").upload([customer_event("good"), bad_event("b3")])
    person = await client.get_person("ada")
    places = [(place.upload_id, place.event_number) for place in person.rejected]
    assert places == [("other", 2), ("file", 2), ("file", 1)]
    erased = await client.erase_consumer(consumer_id="ada", request_id="ticket")
    assert (erased.cleared_rejections, erased.HasField("complete_time")) == (3, True)
    assert [each.result.event_id async for each in client.upload_rejections("file")] == ["", ""]
    again = await client.erase_consumer(consumer_id="ada", request_id="ticket")
    assert again == await client.get_erasure(erased.erasure_id)


async def test_rejected_events_that_stay_under_a_related_id_are_counted(client: EngagementClient) -> None:
    await client.record_event(event("both", consumer="ada", customer="A1"))
    rejected = [event("r1", customer="A1"), event("r2", consumer="ada", customer="A1"), event("r3")]
    for each in rejected:
        each.customer_info.role = "\0"
    await Uploader(client, upload_id="file").upload([*rejected, event("stored", consumer="ada")])
    for preview in (True, False):
        erasure = await client.erase_consumer(consumer_id="ada", validate_only=preview)
        assert (erasure.matched_events, erasure.cleared_rejections) in {(2, 1), (0, 1)}
        ((related),) = erasure.related
        assert (related.id, related.events, related.rejections) == ("A1", 0, 1)
    rest = await client.erase_consumer(customer_id="A1")
    assert (rest.cleared_rejections, [*rest.related]) == (1, [])


async def test_erasures_are_found_by_request_and_by_what_they_named(client: EngagementClient) -> None:
    await client.record_events(
        [event("1", consumer="ada"), event("2", customer="A1"), event("3", consumer="b")]
    )
    first = await client.erase_consumer(consumer_id="ada", event_id="2", request_id="first")
    second = await client.erase_consumer(consumer_id=["ada", "b"], request_id="second", suppress=True)

    async def listed(**arguments: str) -> list[str]:
        return [each.erasure_id async for each in client.list_erasures(**arguments, page_size=1)]

    assert await listed() == [second.erasure_id, first.erasure_id]
    assert await listed(request_id="first") == [first.erasure_id]
    assert await listed(request_id="FIRST") == []
    assert await listed(subject_id="ada") == [second.erasure_id, first.erasure_id]
    assert await listed(subject_id="2") == [first.erasure_id]
    assert await listed(subject_id="b", request_id="second") == [second.erasure_id]
    assert await listed(subject_id="b", request_id="first") == []
    assert await listed(subject_id="1") == []  # erased with its consumer


async def test_a_page_token_is_bound_to_the_filter_of_a_list_of_erasures(
    client: EngagementClient, channel: grpc.aio.Channel
) -> None:
    privacy = v1.PrivacyServiceStub(channel)
    await client.record_events([event(f"{number}", consumer="ada") for number in range(2)])
    for number in range(2):
        await client.erase_consumer(event_id=f"{number}", request_id=f"{number}")
    request = v1.ListErasuresRequest(account_id="acme", page_size=1)
    request.page_token = (await privacy.ListErasures(request)).next_page_token
    assert [each.request_id for each in (await privacy.ListErasures(request)).erasures] == ["0"]
    request.request_id = "0"
    assert (await expect_refused(privacy.ListErasures(request))).reason == "PAGE_TOKEN_MISMATCH"
