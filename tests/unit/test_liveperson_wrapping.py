"""Neither depth, nor wrapping, nor blocks, nor memory change what is found in a document."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.liveperson import ImportedEvent, Importer
from tests.support.liveperson_input import customer, open_importer, person, read, read_events
from tests.unit.test_liveperson_walk import PUSHED, VISITOR, avro_set, session

# Machines may be slow.
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

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
        {"meta": {"session": {"visitorId": "p-1", "sessionId": "c-1"}}},
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
    conversation_id = (
        "c-1" if {"conversationId", "info", "meta"} & {*said} else "v-1" if "header" in said else ""
    )
    naming = {"consumerId", "consumerParticipants", "visitorInfo", "header", "meta"}
    consumer_id = "p-1" if naming & {*said} else ""
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
        yield from (event * 100 for _ in range(150))
        yield event[:-1] + b'], "conversationId": "c-1"}, "consumerId": "p-1"}'

    count, peak, consumers = peak_memory(blocks())
    assert (count, consumers) == (15_001, {"p-1"})
    assert peak < 12_500_000


def test_a_large_file_of_any_shape_takes_little_memory() -> None:
    record = json.dumps(session(*(str(number) for number in range(40)))).encode() + b","

    def blocks() -> Iterator[bytes]:
        yield b'{"metaData": {"accountId": "7"}, "recordCollection": ['
        yield from (record for _ in range(250))
        yield record[:-1] + b"]}"

    count, peak, consumers = peak_memory(blocks())
    assert (count, consumers) == (10_040, {"p-1"})
    assert peak < 3_500_000


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
