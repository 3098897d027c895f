"""Sets are found wherever they stand, with the context around them, whatever is held in memory at a time."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.liveperson import ImportedEvent, Importer, UnreadableEvent
from tests.support.liveperson_input import customer, open_importer, person, read, read_event, read_events

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


# What stands around an event, from the inside out: each level adds members or a list around the value.
fillers = st.sampled_from(
    [1, None, "x", [], {}, [1, {"a": "b"}], {"type": "TEXT", "data": {"x": 1}}, {"info": 5}]
)
names = st.sampled_from(["a", "b", "items", "payload", "body", "record", "result", "value", "event"])
contexts = st.sampled_from(
    [
        {"conversationId": "c-1"},
        {"info": {"conversationId": "c-1", "brandId": "7"}},
        {"consumerId": "p-1"},
        {"consumerParticipants": [{"participantId": "p-1"}]},
        {"header": VISITOR},
        {"metaData": {"accountId": {"string": "7"}}},
        {"visitorInfo": {"visitorId": "p-1"}},
        {"serverTimeStamp": "1500000000000"},
    ]
)
levels = st.lists(
    st.one_of(
        st.tuples(st.just("list"), st.lists(fillers, max_size=2), st.lists(fillers, max_size=2)),
        st.tuples(st.just("object"), names, st.lists(contexts, max_size=2), st.lists(contexts, max_size=2)),
    ),
    max_size=6,
)
CONTEXT_NAMES = ("conversationId", "consumerId", "info", "header", "consumerParticipants", "visitorInfo")


def wrap(value: object, around: list[Any]) -> object:
    """The value inside of these levels."""
    for kind, *rest in around:
        if kind == "list":
            before, behind = rest
            value = [*before, value, *behind]
        else:
            name, first, last = rest
            members = {key: each for part in first for key, each in part.items()}
            members[name] = value
            value = members | {key: each for part in last for key, each in part.items() if key not in members}
    return value


def expected_subject(around: list[Any]) -> tuple[str, str]:
    """Whether some level names a conversation, and a consumer."""
    said = [
        key for kind, *rest in around if kind == "object" for part in (*rest[1], *rest[2]) for key in part
    ]
    conversation_id = "c-1" if {"conversationId", "info"} & {*said} else "v-1" if "header" in said else ""
    consumer_id = "p-1" if {"consumerId", "consumerParticipants", "visitorInfo", "header"} & {*said} else ""
    return conversation_id, consumer_id


@tolerant
@given(levels, st.sampled_from([customer, person]), st.integers(1, 60), st.booleans())
def test_an_event_is_found_at_any_depth_with_what_surrounds_it(
    around: list[Any], make: Any, block_bytes: int, is_pushed: bool
) -> None:
    members = {"role": "x"} if make is customer else {"name": "x"}
    item = PUSHED if is_pushed else make(members)
    text = json.dumps(wrap(item, around))
    [result] = [each for each in read(text) if isinstance(each, ImportedEvent)]
    conversation_id, consumer_id = expected_subject(around)
    assert result.event.consumer_id == consumer_id
    # The nearest level wins, whichever name it has.
    assert bool(result.event.conversation_id) == bool(conversation_id)
    assert read(text, block_bytes=block_bytes) == read(text)


MEMBERS = (
    *("a", "b", "sdes", "events", "lp_sdes", "info", "data", "personal", "recordCollection", "header"),
    *("conversationHistoryRecords", "appSessions", "authenticatedSdes", "customerInfo", "conversationId"),
    *("iss", "type"),
)
documents = st.recursive(
    st.one_of(
        fillers,
        st.just(PUSHED),
        st.just(customer({"role": "x"})),
        st.just(avro_set("1")),
        st.just({"customerInfo": {"role": "y"}, "personalInfo": {"name": "z"}}),
        st.just({"customerInfo": "text"}),
        st.just({"sdeType": "LEAD", "lead": {"a": 1}}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def outcome(document: str, **options: Any) -> tuple[list[object], dict[str, int], bool]:
    importer = open_importer(document, **options)
    results: list[object] = [*importer]
    return results, importer.counts.skipped, importer.counts.is_recognized


@tolerant
@given(documents, st.integers(1, 60))
def test_neither_blocks_nor_memory_change_what_is_found(document: object, block_bytes: int) -> None:
    text = json.dumps(document)
    assert outcome(text, block_bytes=block_bytes) == outcome(text)


class Generated(io.RawIOBase):
    """A stream that makes its bytes when they are asked for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, size: int = -1) -> bytes:
        return next(self._blocks, b"")


def peak_memory(blocks: Iterator[bytes]) -> tuple[int, int, set[str]]:
    """The number of events in a stream, the peak of memory while it is read, and the consumers."""
    tracemalloc.start()
    try:
        count, consumers = 0, set()
        for result in Importer(cast("BinaryIO", Generated(blocks)), source="x"):
            assert isinstance(result, ImportedEvent)
            count += 1
            consumers.add(result.event.consumer_id)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return count, peak, consumers


def test_events_are_held_on_disk_until_the_context_behind_them_is_read() -> None:
    event = json.dumps(PUSHED).encode() + b","

    def blocks() -> Iterator[bytes]:
        yield b'{"a": {"b": ['
        yield from (event * 100 for _ in range(300))
        yield event[:-1] + b'], "conversationId": "c-1"}, "consumerId": "p-1"}'

    count, peak, consumers = peak_memory(blocks())
    assert (count, consumers) == (30_001, {"p-1"})
    assert peak < 15_000_000


def test_a_large_file_of_any_shape_takes_little_memory() -> None:
    record = json.dumps(session(*(str(number) for number in range(40)))).encode() + b","

    def blocks() -> Iterator[bytes]:
        yield b'{"metaData": {"accountId": "7"}, "recordCollection": ['
        yield from (record for _ in range(1000))
        yield record[:-1] + b"]}"

    count, peak, consumers = peak_memory(blocks())
    assert (count, consumers) == (40_040, {"p-1"})
    assert peak < 10_000_000


def test_the_same_sets_have_the_same_ids_in_every_wrapping() -> None:
    plain = read_events([PUSHED, PUSHED, PUSHED])
    for wrapped in (
        {"lp_sdes": [PUSHED, PUSHED, PUSHED]},
        [[PUSHED], {"a": PUSHED}, {"b": {"c": [PUSHED]}}],
        [{"x": 1}, PUSHED, {"y": [PUSHED, {"type": "cart"}, PUSHED]}, None],
    ):
        results = [result for result in read(wrapped) if isinstance(result, ImportedEvent)]
        assert [result.event.event_id for result in results] == [event.event_id for event in plain]


def test_random_documents_of_a_million_characters_are_read_alike_in_any_blocks() -> None:
    rng = random.Random(14)
    talk = [{"msg": "x" * rng.randrange(200), "seq": number} for number in range(3000)]
    records = [
        {
            "messageRecords": talk,
            "sdes": {"events": [customer({"role": str(number)})]},
            "info": {"visitorId": "p"},
        }
        for number in range(3)
    ]
    text = json.dumps({"interactionHistoryRecords": records})
    assert len(text) > 1_000_000
    whole = read(text, block_bytes=1 << 22)
    assert len(whole) == 3
    assert read(text, block_bytes=997) == whole
