"""The index finds every event that matches a filter, whatever the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from unicodedata import normalize
from zlib import crc32

import apsw
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.errors import FilterInvalidError
from engagement_server.store.fingerprint import INDEX_DECLARATION
from engagement_server.store.fold import near_form
from engagement_server.store.predicate import Predicate
from engagement_server.store.search import (
    Phrase,
    contains_phrases,
    identifier_token,
    indexed_texts,
    match_expression,
    parse_text,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0"'), max_size=12)
twists: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [
        str,
        str.upper,
        str.lower,
        str.swapcase,
        str.title,
        str.casefold,
        lambda text: normalize("NFC", text),
        lambda text: normalize("NFD", text),
        lambda text: f"{text[:-1]}*",
    ]
)

spellings: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [
        str,
        str.upper,
        str.casefold,
        lambda text: normalize("NFKC", text),
        lambda text: normalize("NFD", text),
        lambda text: f" {text}\u200b",
        "\t".join,
        lambda text: f"\ufeff{normalize('NFKD', text).casefold()}\u00ad",
    ]
)


@pytest.fixture(scope="module")
def index() -> Iterator[apsw.Connection]:
    """The index of the store, in memory."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(INDEX_DECLARATION)
        yield connection


def filter_of(name: str, identifier: str) -> v1.EventFilter:
    """A filter with one id in the field of a name."""
    wanted = v1.EventFilter()
    getattr(wanted, name).append(identifier)
    return wanted


def is_found(index: apsw.Connection, event: v1.Event, expression: str) -> bool:
    """Whether the index finds an event when it holds no other."""
    row = indexed_texts(event)
    index.execute("BEGIN")
    index.execute(
        "INSERT INTO search (rowid, attributes, consumer_id, conversation_id, customer_id)"
        " VALUES (1, ?, ?, ?, ?)",
        row,
    )
    found = index.execute("SELECT rowid FROM search WHERE search MATCH ?", (expression,)).fetchall()
    index.execute("ROLLBACK")
    return bool(found)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data(), values=st.lists(texts, min_size=5, max_size=5), twist=twists)
def test_the_index_finds_every_event_that_matches_a_filter(
    index: apsw.Connection, data: st.DataObject, values: list[str], twist: Callable[[str], str]
) -> None:
    status, kind, customer_id, consumer_id, conversation_id = values
    event = v1.Event(
        consumer_id=consumer_id,
        conversation_id=conversation_id,
        customer_info=v1.CustomerInfo(customer_status=status, customer_type=kind, customer_id=customer_id),
    )
    options: dict[str, Any] = {
        "consumer_ids": [consumer_id],
        "conversation_ids": [conversation_id],
        "customer_ids": [customer_id],
        "subject_ids": [data.draw(st.sampled_from([consumer_id, customer_id]))],
        "customer_statuses": [twist(status)],
        "customer_types": [twist(kind)],
        "text": twist(f'"{kind}" {status}'),
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(options)), min_size=1))
    wanted = v1.EventFilter(**{name: options[name] for name in chosen})
    try:
        predicate = Predicate.of(wanted)
    except FilterInvalidError:
        assume(False)
    assume(predicate.matches_content(event))
    expression = match_expression(wanted, predicate.phrases)
    assert expression is None or is_found(index, event, expression)


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(["consumer_ids", "customer_ids", "conversation_ids", "subject_ids"]),
    identifier=texts.filter(bool),
    spell=spellings,
    other=texts,
)
def test_the_index_finds_every_spelling_of_an_id(
    index: apsw.Connection, name: str, identifier: str, spell: Callable[[str], str], other: str
) -> None:
    spelling = spell(identifier)
    event = v1.Event(customer_info=v1.CustomerInfo(customer_id=other), consumer_id=other)
    match name:
        case "consumer_ids" | "conversation_ids":
            setattr(event, name.removesuffix("s"), spelling)
        case _:
            event.customer_info.customer_id = spelling
    wanted = filter_of(name, identifier)
    expression = match_expression(wanted, [])
    assert expression is not None
    assume(near_form(spelling) == near_form(identifier))
    assert Predicate.of(wanted, in_any_spelling=True).matches_content(event)
    assert is_found(index, event, expression)
    looked_at = {spelling, other} if name == "subject_ids" else {spelling}
    assert Predicate.of(wanted).matches_content(event) == (identifier in looked_at)


@given(identifier=st.text(st.characters(max_codepoint=0x7F), min_size=1) | texts.filter(bool))
def test_the_token_of_an_id_is_made_of_its_near_form(identifier: str) -> None:
    assert identifier_token(identifier) == hex(crc32(near_form(identifier).encode()))


def test_an_absent_id_is_no_spelling_of_a_blank_one() -> None:
    for name in ("consumer_ids", "customer_ids", "conversation_ids", "subject_ids"):
        predicate = Predicate.of(filter_of(name, " "), in_any_spelling=True)
        assert not predicate.matches_content(v1.Event(customer_info=v1.CustomerInfo()))


@pytest.mark.parametrize("mark", ["\u0301", "\u0316\u0301", "\u200d", "", " "])
@pytest.mark.parametrize("length", [990, 999, 1000, 1001])
def test_the_index_finds_a_long_status_wherever_it_is_cut(
    index: apsw.Connection, length: int, mark: str
) -> None:
    status = "word " + "e" * (length - 5) + mark + "\u0301 word"
    wanted = v1.EventFilter(customer_statuses=[normalize("NFC", status.upper())])
    event = v1.Event(customer_info=v1.CustomerInfo(customer_status=status))
    expression = match_expression(wanted, [])
    assert Predicate.of(wanted).matches_content(event)
    assert expression is not None
    assert is_found(index, event, expression)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with suppress(FilterInvalidError):
        assert all(phrase.words for phrase in parse_text(text))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", []),
        ("vip gold", ["vip", "gold"]),
        ("vip VIP vip*", ["vip", "vip*"]),
        ('"vip gold" Gold', ["vip gold", "gold"]),
        ('x"vip gold"y', ["x", "vip gold", "y"]),
        ('"vip gol"*y "vip" gol*', ["vip gol*", "y", "vip", "gol*"]),
        ('"vip* gold*" a*b *c d**', ["vip gold", "a b", "c", "d*"]),
        ("Ada.Lovelace@exam*", ["ada lovelace exam*"]),
        ("Straße İ", ["strasse", "i\u0307"]),
        ("東京 タワー第2回", ["東 京", "タ ワ ー 第 2 回"]),
        ("한국\u1112\u1161\u11ab น้ำ*", ["한 국 한", "น้ำ*"]),
        ("हिन्दी שָׁלוֹם", ["हिन्दी", normalize("NFC", "שָׁלוֹם")]),
        ("\u0645\u06cc\u200c\u0631\u0648\u0645", ["\u0645\u06cc\u0631\u0648\u0645"]),
        ("cafe\u200d\u0301 cafe\u0301", ["café"]),
        ("vip\u2764\ufe0fgold \u0301abc", ["vip gold", "abc"]),
    ],
)
def test_a_text_is_words_phrases_and_beginnings(text: str, phrases: list[str]) -> None:
    assert parse_text(text) == [
        Phrase(tuple(phrase.rstrip("*").split()), is_beginning=phrase.endswith("*")) for phrase in phrases
    ]


@pytest.mark.parametrize("text", ["*", "vip *", '"vip" *', '"*"', "**", "\u0301", "\u200d", "\U0001f600*"])
def test_a_part_without_letters_and_digits_is_refused(text: str) -> None:
    with pytest.raises(FilterInvalidError, match="no letters or digits"):
        parse_text(text)


def test_more_beginnings_than_the_index_should_collect_are_refused() -> None:
    assert len(parse_text("a* b* c* d* e* a*")) == 5
    with pytest.raises(FilterInvalidError, match="more than 5 beginnings"):
        parse_text("a* b* c* d* e* f*")


@given(
    values=st.lists(st.text("ab1 .\n-", max_size=8), max_size=4),
    words=st.lists(st.text("ab1", min_size=1, max_size=2), min_size=1, max_size=3),
    is_beginning=st.booleans(),
)
def test_ascii_values_contain_the_phrases_that_they_contain_beside_other_text(
    values: list[str], words: list[str], is_beginning: bool
) -> None:
    phrases = [Phrase(tuple(words), is_beginning)]
    assert contains_phrases(values, phrases) == contains_phrases([*values, "é"], phrases)
    assert contains_phrases([value.upper() for value in values], phrases) == contains_phrases(values, phrases)
