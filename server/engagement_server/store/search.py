"""The text of an event that the index holds, and the queries over it.

The index finds candidates; `predicate.py` decides. Both use full Unicode case folding, so the candidates
include every match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any
from zlib import crc32

import apsw
from google.protobuf.message import Message

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import FilterInvalidError

Tokenizer = Callable[[str], list[str]]
"""Splits case-folded text into the tokens of the index."""

# Longer values are looked up by their beginning.
_MAX_PHRASE_TOKENS = 32
_MAX_SHOWN_CHARACTERS = 40
# The days of a century: formatting a date takes longer than reading it.
_CACHED_DATES = 36_525


def _text_getter(message: type[Message]) -> Callable[[Message], tuple[str, ...]]:
    """Reads all text fields, absent ones as "", in one call: a third of the time of asking for each."""
    names = [field.name for field in message.DESCRIPTOR.fields if field.type == field.TYPE_STRING]
    return attrgetter(*names)


_customer_texts = _text_getter(v1.CustomerInfo)
_personal_texts = _text_getter(v1.PersonalInfo)


_date_parts = attrgetter("year", "month", "day")


@lru_cache(maxsize=_CACHED_DATES)
def _date_text(year: int, month: int, day: int) -> str:
    return f"{year:04}-{month:02}-{day:02}"


def attribute_values(event: v1.Event) -> list[str]:
    """The searchable values of an event: every attribute value, dates as `2014-10-15`."""
    if event.HasField("customer_info"):
        customer = event.customer_info
        values = [*_customer_texts(customer)]
        if customer.HasField("last_payment_date"):
            values.append(_date_text(*_date_parts(customer.last_payment_date)))
        if customer.HasField("registration_date"):
            values.append(_date_text(*_date_parts(customer.registration_date)))
    else:
        personal = event.personal_info
        values = [*_personal_texts(personal)]
        for contact in personal.other_contacts:
            values += contact.email, contact.phone
    if event.additional_attributes:
        values += event.additional_attributes.values()
    return values


def attributes_text(event: v1.Event) -> str:
    """The indexed text of the attribute values."""
    return "\n".join(attribute_values(event)).casefold()


def identifier_token(identifier: str) -> str:
    """The indexed text of an id: one short token, whatever the id consists of; "" if it is empty.

    Ids may share a token; the predicate tells them apart.
    """
    return hex(crc32(identifier.encode())) if identifier else ""


def indexed_texts(event: v1.Event) -> tuple[str, str, str, str]:
    """The indexed texts of an event, in the order of the columns. Deleting it takes the same texts."""
    return (
        attributes_text(event),
        identifier_token(event.consumer_id),
        identifier_token(event.conversation_id),
        identifier_token(event.customer_info.customer_id),
    )


def index_tokenizer(connection: apsw.Connection) -> Tokenizer:
    """The tokenizer of the index, for use on the thread of the connection only."""
    split: Any = connection.fts5_tokenizer("unicode61", ["remove_diacritics", "0"])  # Any: has no type

    def tokenize(text: str) -> list[str]:
        tokens: list[str] = split(
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
        )
        return tokens

    return tokenize


def parse_text(text: str, *, tokenize: Tokenizer) -> list[list[str]]:
    """The words and quoted phrases of `EventFilter.text`: each is a run of tokens within one value.

    Raises FilterInvalidError for an open quotation mark and for words without letters or digits.
    """
    pieces = text.casefold().split('"')
    if len(pieces) % 2 == 0:
        raise _invalid_text("a quotation mark is not closed")
    phrases: list[list[str]] = []
    for number, piece in enumerate(pieces):
        is_quoted = number % 2 == 1
        for phrase in [piece] if is_quoted else piece.split():
            tokens = tokenize(phrase)
            if not tokens:
                raise _invalid_text(
                    f"{phrase[:_MAX_SHOWN_CHARACTERS]!r} has no letters or digits to search for"
                )
            phrases.append(tokens)
    return phrases


def contains_phrases(values: Iterable[str], phrases: Iterable[Sequence[str]], *, tokenize: Tokenizer) -> bool:
    """Whether each phrase occurs in some value."""
    joined = [f" {' '.join(tokenize(value.casefold()))} " for value in values]
    return all(any(f" {' '.join(phrase)} " in text for text in joined) for phrase in phrases)


def _invalid_text(description: str) -> FilterInvalidError:
    return FilterInvalidError([Violation("filter.text", "server.filter.text", description)])


def match_expression(
    wanted: v1.EventFilter, phrases: Iterable[Sequence[str]], *, tokenize: Tokenizer
) -> str | None:
    """The index query that finds every matching event, among others; None if the index cannot help."""
    clauses = [f"attributes : {_quote(phrase)}" for phrase in phrases]
    for column, values, fold in (
        ("consumer_id", wanted.consumer_ids, identifier_token),
        ("conversation_id", wanted.conversation_ids, identifier_token),
        ("customer_id", wanted.customer_ids, identifier_token),
        ("attributes", wanted.customer_statuses, str.casefold),
        ("attributes", wanted.customer_types, str.casefold),
    ):
        choices = [tokenize(fold(value)) for value in values]
        if choices and all(choices):
            clauses.append(f"{column} : ({' OR '.join(map(_quote, choices))})")
    return " AND ".join(clauses) or None


def _quote(tokens: Sequence[str]) -> str:
    return '"' + " ".join(tokens[:_MAX_PHRASE_TOKENS]) + '"'
