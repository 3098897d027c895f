"""The index finds every event that matches a filter, whatever the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.errors import FilterInvalidError
from engagement_server.store.fingerprint import INDEX_DECLARATION
from engagement_server.store.predicate import Predicate
from engagement_server.store.search import (
    Tokenizer,
    index_tokenizer,
    indexed_texts,
    match_expression,
    parse_text,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0"'), max_size=12)
twists: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [str, str.upper, str.lower, str.swapcase, str.title, str.casefold]
)


@pytest.fixture(scope="module")
def index() -> Iterator[apsw.Connection]:
    """The index of the store, in memory."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(INDEX_DECLARATION)
        yield connection


@pytest.fixture(scope="module")
def tokenize(index: apsw.Connection) -> Tokenizer:
    return index_tokenizer(index)


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
    index: apsw.Connection,
    tokenize: Tokenizer,
    data: st.DataObject,
    values: list[str],
    twist: Callable[[str], str],
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
        "customer_statuses": [twist(status)],
        "customer_types": [twist(kind)],
        "text": twist(f'"{kind}" {status}'),
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(options)), min_size=1))
    wanted = v1.EventFilter(**{name: options[name] for name in chosen})
    try:
        predicate = Predicate.of(wanted, tokenize=tokenize)
    except FilterInvalidError:
        assume(False)
    assume(predicate.matches_content(event))
    expression = match_expression(wanted, predicate.phrases, tokenize=tokenize)
    assert expression is None or is_found(index, event, expression)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_understood_or_refused(tokenize: Tokenizer, text: str) -> None:
    with suppress(FilterInvalidError):
        assert all(parse_text(text, tokenize=tokenize))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", []),
        ("vip gold", [["vip"], ["gold"]]),
        ('"vip gold" Gold', [["vip", "gold"], ["gold"]]),
        ('x"vip gold"y', [["x"], ["vip", "gold"], ["y"]]),
        ("Ada.Lovelace@example.com", [["ada", "lovelace", "example", "com"]]),
        ("Straße İ", [["strasse"], ["i\u0307"]]),
    ],
)
def test_a_text_is_words_and_phrases(tokenize: Tokenizer, text: str, phrases: list[list[str]]) -> None:
    assert parse_text(text, tokenize=tokenize) == phrases
