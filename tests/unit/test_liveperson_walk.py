"""Sets are found wherever they stand, with the context around them, whatever is held in memory at a time."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings

from engagement import v1
from engagement.liveperson import ImportedEvent, UnreadableEvent
from tests.support.liveperson_input import customer, open_importer, read, read_event, read_events

# Machines may be slow.
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PUSHED = {"type": "ctmrinfo", "info": {"customerId": "K-1", "ctype": "gold"}}
VISITOR = {"x.dataaccess.VisitorHeader": {"visitId": {"string": "v-1"}, "visitorId": {"string": "p-1"}}}


def subject_of(event: v1.Event) -> tuple[str, str, bool]:
    return event.conversation_id, event.consumer_id, event.authenticated


def avro_set(customer_id: str) -> dict[str, Any]:
    return {
        "timestamp": {"long": 1467291718263},
        "data": {"x.dataaccess.CustomerInfo": {"customerId": {"string": customer_id}, "balance": None}},
    }


def session(*customer_ids: str, header: object = VISITOR) -> dict[str, Any]:
    sets = {"array": [avro_set(customer_id) for customer_id in customer_ids]}
    return {"body": {"x.WebSessionEngAttrsData": {"header": header, "engagementAttributes": sets}}}


def test_a_whole_data_access_file_is_read_and_other_records_are_counted_by_type() -> None:
    navigation = {
        "body": {"x.WebSessionNavigationData": {"header": VISITOR, "navigationData": {"array": [{}]}}}
    }
    importer = open_importer(
        {
            "dataType": {"x.DataTypeEnum": "WebSession"},
            "metaData": {"accountId": {"string": "75555000"}, "endTime": None},
            "recordCollection": [session("1"), navigation, navigation, session("2", "3")],
        }
    )
    found = [result for result in importer if isinstance(result, ImportedEvent)]
    assert [result.event.customer_info.customer_id for result in found] == ["1", "2", "3"]
    assert {subject_of(result.event) for result in found} == {("v-1", "p-1", False)}
    assert found[2].place == "recordCollection[3].body.x.WebSessionEngAttrsData.engagementAttributes.array[1]"
    assert found[0].event.customer_info.server_time_stamp == 1467291718263
    assert importer.counts.skipped == {"set type WebSessionNavigationData": 2}


def test_a_data_access_file_without_attributes_is_known() -> None:
    importer = open_importer({"recordCollection": [{"body": {"x.WebSessionNavigationData": {"a": 1}}}]})
    assert list(importer) == []
    assert importer.counts.is_recognized
    assert importer.counts.skipped == {"set type WebSessionNavigationData": 1}


def test_requests_of_a_connector_hold_sets_that_it_vouches_for() -> None:
    request = {"type": "userprofile.SetUserProfile", "body": {"authenticatedData": {"lp_sdes": [PUSHED]}}}
    other = {"kind": "req", "type": "cm.ConsumerRequestConversation", "body": {"brandId": "1"}}
    response = {"type": "userprofile.GetUserProfile", "body": [PUSHED]}
    importer = open_importer([request, other, response])
    set_event, got_event = (cast("ImportedEvent", result).event for result in importer)
    assert (set_event.customer_info.customer_id, set_event.authenticated) == ("K-1", True)
    assert (got_event.customer_info.customer_id, got_event.authenticated) == ("K-1", False)
    assert importer.counts.skipped == {"set type cm.ConsumerRequestConversation": 1}


@pytest.mark.parametrize("sdes", [[PUSHED], {"customerInfo": {"customerId": "K-1", "customerType": "gold"}}])
@pytest.mark.parametrize("is_before", [True, False])
def test_claims_of_a_token_are_vouched_for_by_its_issuer(sdes: object, *, is_before: bool) -> None:
    claims = {"sub": "K-1", "given_name": "Nora", "email": "other@example.test"}
    token = (
        {**claims, "iss": "idp", "lp_sdes": sdes} if is_before else {"lp_sdes": sdes, "iss": "idp", **claims}
    )
    event = read_event(token)
    assert event.authenticated
    assert (event.customer_info.customer_id, event.customer_info.customer_type) == ("K-1", "gold")
    assert not event.additional_attributes
    assert not read_event({**claims, "lp_sdes": sdes}).authenticated


def test_a_bots_context_says_which_sets_are_authenticated() -> None:
    context = {
        "conversationId": "c-1",
        "authenticatedSdes": {"customerInfo": {"customerInfo": {"customerId": "1"}}},
        "unauthenticatedSdes": {"personalInfo": {"name": "Ada"}, "customerInfo": {"role": "x"}},
    }
    events = read_events({"context": context, "consumerId": "p-1"})
    assert [(event.WhichOneof("attributes"), *subject_of(event)) for event in events] == [
        ("customer_info", "c-1", "p-1", True),
        ("customer_info", "c-1", "p-1", False),
        ("personal_info", "c-1", "p-1", False),
    ]


def test_lines_of_a_tap_hold_conversations() -> None:
    record = {
        "info": {"conversationId": "c-6", "brandId": "7"},
        "consumerParticipant": [{"participantId": "p-6"}],
        "sdes": {"events": [customer({"customerId": "1"})]},
    }
    lines = [
        {"type": "SCHEMA", "stream": "s", "schema": {"properties": {"id": {"type": "string"}}}},
        {"type": "RECORD", "stream": "s", "record": record, "time_extracted": "2024-07-03T10:00:00Z"},
        {"type": "STATE", "value": {"bookmarks": {"s": "x"}}},
    ]
    importer = open_importer("\n".join(map(json.dumps, lines)))
    [result] = importer
    assert isinstance(result, ImportedEvent)
    assert subject_of(result.event) == ("c-6", "p-6", True)
    assert importer.counts.skipped == {"set type SCHEMA": 1, "set type STATE": 1}


def test_sets_may_have_their_attributes_beside_their_type() -> None:
    flat = [
        {"type": "ctmrinfo", "customerId": "K-5", "companyBranch": "Harbour", "lastPaymentDate": None},
        {
            "type": "personal",
            "firstname": "Nora",
            "contacts": [{"email": "a@example.test"}],
            "visitorId": "p-5",
        },
        {"sdeType": "CUSTOMER_INFO", "customerStatus": "x", "serverTimeStamp": 1500000000000, "other": "y"},
    ]
    first, second, third = read_events(flat)
    assert first.customer_info == v1.CustomerInfo(customer_id="K-5", company_branch="Harbour")
    assert second.personal_info == v1.PersonalInfo(name="Nora", email="a@example.test")
    assert second.consumer_id == "p-5"
    assert third.customer_info == v1.CustomerInfo(customer_status="x", server_time_stamp=1500000000000)
    assert dict(third.additional_attributes) == {"other": "y"}


def test_strangers_that_share_a_type_are_no_sets() -> None:
    importer = open_importer(
        [{"type": "personal", "address": {"street": "x"}}, {"type": "ctmrinfo", "id": 1}]
    )
    assert list(importer) == []
    assert not importer.counts.is_recognized


@pytest.mark.parametrize(
    "name", ["customer_info", "CustomerInfo", "customerinfo", "personal_info", "PersonalInfo", "ctmrinfo"]
)
def test_members_that_look_like_sets_and_are_none_are_refused(name: str) -> None:
    [result] = read({"a": [{name: {"customerId": "1", "email": "a@example.test"}}]})
    assert isinstance(result, UnreadableEvent)
    assert (result.place, result.field, result.rule) == ("a[0]", name, "import.name")


def test_any_object_beside_may_say_whom_an_event_is_about() -> None:
    message = {
        "offset": 1,
        "value": {"payload": [PUSHED], "meta": {"visit": {"visitorId": "p-1", "sessionId": "c-1"}}},
    }
    assert subject_of(read_event([message])) == ("c-1", "p-1", False)
    beside = {**PUSHED, "visitor": {"visitorId": {"string": "p-1"}}}
    assert read_event([beside]).consumer_id == "p-1"
    set_of_its_own = {"type": "ctmrinfo", "info": {"customerId": "1", "device": {"visitorId": "other"}}}
    assert read_event([set_of_its_own]).consumer_id == ""


@pytest.mark.parametrize("block_bytes", [1, 1 << 18])
def test_objects_that_differ_in_whom_an_event_is_about_are_a_conflict(block_bytes: int) -> None:
    pair = {"from": {"visitorId": "p-1"}, "to": {"visitorId": "p-2"}, "sets": [PUSHED]}
    [result] = read(pair, block_bytes=block_bytes)
    assert isinstance(result, UnreadableEvent)
    assert (result.rule, "visitorId" in result.description) == ("import.conflict", True)
    # What says it better, or nearer, decides.
    for better in ({**pair, "consumerId": "p-3"}, {**pair, "sets": [{**PUSHED, "visitorId": "p-3"}]}):
        assert read_event(better, block_bytes=block_bytes).consumer_id == "p-3"


def test_an_event_of_ours_among_others_is_refused_instead_of_stored_without_its_consumer() -> None:
    ours = {"eventId": "e-1", "consumerId": "p-1", "customerInfo": {"balance": "1"}}
    imported, refused = read([customer({"customerId": "1"}), ours])
    assert isinstance(imported, ImportedEvent)
    assert isinstance(refused, UnreadableEvent)
    assert refused.rule == "import.own_event"


@pytest.mark.parametrize(
    ("text", "place", "field"),
    [
        ('[{"type":"ctmrinfo","info":{"balance":"1","balance":"2"}}]', "[0]", "info.balance"),
        ('[{"type":"personal","personal":{"name":"a"},"personal":{"phone":"1"}}]', "[0]", "personal"),
        ('[{"customerInfo":{"a":"1"},"customerInfo":{"b":"2"}}]', "[0]", "customerInfo"),
        (
            '[{"personalInfo":{"name":"a","contacts":[{"email":"1","email":"2"}]}}]',
            "[0]",
            "personalInfo.contacts[0].email",
        ),
        ('{"consumerId":"a","sdes":[{"customerInfo":{"role":"1"}}],"consumerId":"b"}', "sdes[0]", ""),
        (
            '{"info":{"conversationId":"a","conversationId":"b"},"sdes":[{"customerInfo":{"role":"1"}}]}',
            "sdes[0]",
            "",
        ),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 18])
@pytest.mark.parametrize("spaced", [False, True])
def test_a_member_that_appears_twice_is_refused(
    text: str, place: str, field: str, block_bytes: int, *, spaced: bool
) -> None:
    text = text.replace('":', '" :') if spaced else text
    [result] = read(text, block_bytes=block_bytes)
    assert isinstance(result, UnreadableEvent)
    assert (result.place, result.field, result.rule) == (place, field, "import.repeated")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("block_bytes", [1, 1 << 18])
def test_a_number_that_json_does_not_have_costs_its_event_only(constant: str, block_bytes: int) -> None:
    good = '{"customerInfo":{"balance":1}}'
    for bad, field in (
        (f'{{"customerInfo":{{"balance":{constant}}}}}', "customerInfo.balance"),
        (f'{{"customerInfo":{{"other":{{"deep":[1,{constant}]}}}}}}', "customerInfo.other.deep[1]"),
    ):
        text = f'{{"limit":{constant},"sdes":[{good},{bad},{good}]}}'
        first, second, third = read(text, block_bytes=block_bytes)
        assert isinstance(first, ImportedEvent)
        assert isinstance(second, UnreadableEvent)
        assert (second.place, second.field, second.rule) == ("sdes[1]", field, "import.number")
        assert isinstance(third, ImportedEvent)


def test_an_id_that_is_no_number_of_json_costs_the_events_below_it() -> None:
    [result] = read('{"conversationId":NaN,"sdes":[{"customerInfo":{"balance":1}}]}')
    assert isinstance(result, UnreadableEvent)
    assert (result.place, result.rule) == ("sdes[0]", "import.number")


def test_members_that_appear_twice_elsewhere_lose_nothing() -> None:
    inner = json.dumps([customer({"customerId": "1"})])
    text = f'{{"a":{inner},"a":{inner},"note":"1","note":"\\":\\" :"}}'
    for block_bytes in (1, 1 << 18):
        assert len(read_events(text, block_bytes=block_bytes)) == 2


def test_text_that_looks_like_members_is_text() -> None:
    members = {"role": 'a":"b', "balance": "\\", "a\\": ' " : ', "userName": '{"balance":1,"balance":2}'}
    event = read_event([{"type": "ctmrinfo", "info": members}])
    assert event.customer_info.user_name == members["userName"]
    assert dict(event.additional_attributes) == {"a\\": ' " : '}
