"""The text of an event that the index holds, and the queries over it.

The index finds candidates; `predicate.py` decides. Both compare the words of `words.py`, so the candidates
include every match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from zlib import crc32

from google.protobuf.message import Message

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import FilterInvalidError
from engagement_server.store.fold import NEAR_BYTES, near_form
from engagement_server.store.words import words_of

# Longer values are looked up by their first words.
_MAX_LOOKED_UP_WORDS = 32
_MAX_LOOKED_UP_CHARACTERS = 1_000
# The index collects all words with a beginning before it finds the first event.
_MAX_BEGINNINGS = 5
_MAX_SHOWN_CHARACTERS = 40
DAMAGED_WORD = "zzdamagedeventzz"
"""The only word of an event that could not be read when it was indexed."""
DAMAGED_SETTING = "search_damaged"
"""The setting of a store whose index has that word."""
SEARCH_MATCHES = (
    f"search MATCH ? || iif(EXISTS (SELECT 1 FROM settings WHERE name = '{DAMAGED_SETTING}'),"  # noqa: S608
    f" ' OR (attributes : {DAMAGED_WORD})', '')"
)
"""The condition of a query, for an expression in parentheses.

It finds damaged events as well: reading one says so, instead of leaving it out. Looking for their word takes
as long as looking for an id, so it is done only if the index has it.
"""
# The days of a century: formatting a date takes longer than reading it.
_CACHED_DATES = 36_525
_CACHED_PATTERNS = 256
# Between values; none contains it.
_VALUE_END = "\0"


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to be found side by side in one value; the last one may be the beginning of a word."""

    words: tuple[str, ...]
    is_beginning: bool

    @property
    def excerpt(self) -> str:
        """The phrase as it appears among words that each have a space on both sides."""
        return f" {' '.join(self.words)}{'' if self.is_beginning else ' '}"


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
        # In the order of their keys: that of a map differs from process to process.
        values += [value for _, value in sorted(event.additional_attributes.items())]
    return values


def attributes_text(event: v1.Event) -> str:
    """The indexed text of the attribute values."""
    values = attribute_values(event)
    text = "\n".join(values)
    if text.isascii():
        return text.lower()
    # The tokenizer of the index splits text at ASCII characters, and only there.
    return "\n".join([value.lower() if value.isascii() else " ".join(words_of(value)) for value in values])


def identifier_token(identifier: str) -> str:
    """The indexed text of an id: one short token, whatever the id consists of; "" if it is empty.

    All spellings of an id share a token, and other ids may; the predicate tells them apart.
    """
    if not identifier:
        return ""
    near = identifier.encode().translate(NEAR_BYTES)
    if 0 in near:  # seldom: making the form takes longer
        near = near_form(identifier).encode()
    return hex(crc32(near))


def indexed_texts(event: v1.Event) -> tuple[str, str, str, str]:
    """The indexed texts of an event, in the order of the columns. Deleting it takes the same texts."""
    return (
        attributes_text(event),
        identifier_token(event.consumer_id),
        identifier_token(event.conversation_id),
        identifier_token(event.customer_info.customer_id),
    )


def parse_text(text: str) -> list[Phrase]:
    """The words and quoted phrases of `EventFilter.text`; a `*` at the end of one makes it a beginning.

    Raises FilterInvalidError for an open quotation mark, for words without letters or digits, and for too
    many beginnings.
    """
    if not text:
        return []
    pieces = text.split('"')
    if len(pieces) % 2 == 0:
        raise _invalid_text("a quotation mark is not closed")
    phrases: list[Phrase] = []
    for number, piece in enumerate(pieces):
        if number % 2 == 1:
            phrases.append(Phrase(_required_words(piece), pieces[number + 1].startswith("*")))
        else:
            parts = (piece.lstrip("*") if number else piece).split()
            phrases += [Phrase(_required_words(part), part.endswith("*")) for part in parts]
    distinct = [*dict.fromkeys(phrases)]
    if sum(phrase.is_beginning for phrase in distinct) > _MAX_BEGINNINGS:
        raise _invalid_text(f"has more than {_MAX_BEGINNINGS} beginnings of words")
    return distinct


def _required_words(text: str) -> tuple[str, ...]:
    words = tuple(words_of(text))
    if not words:
        raise _invalid_text(f"{text[:_MAX_SHOWN_CHARACTERS]!r} has no letters or digits to search for")
    return words


def _invalid_text(description: str) -> FilterInvalidError:
    return FilterInvalidError([Violation("filter.text", "server.filter.text", description)])


def contains_phrases(values: Sequence[str], phrases: Iterable[Phrase]) -> bool:
    """Whether each phrase occurs in some value."""
    text = _VALUE_END.join(values)
    if text.isascii():  # one search takes a tenth of the time of cutting the values into words
        text = text.lower()
        return all(_ascii_pattern(phrase).search(text) is not None for phrase in phrases)
    text = "\n".join([f" {' '.join(words_of(value))} " for value in values])
    return all(phrase.excerpt in text for phrase in phrases)


@lru_cache(_CACHED_PATTERNS)
def _ascii_pattern(phrase: Phrase) -> re.Pattern[str]:
    """Finds the phrase in values of ASCII characters, in lower case."""
    words = f"[^a-z0-9{_VALUE_END}]+".join(map(re.escape, phrase.words))
    return re.compile(f"(?<![a-z0-9]){words}{'' if phrase.is_beginning else '(?![a-z0-9])'}")


def match_expression(wanted: v1.EventFilter, phrases: Iterable[Phrase]) -> str | None:
    """The index query that finds every matching event, among others; None if the index cannot help.

    For `SEARCH_MATCHES`.
    """
    clauses = [f"attributes : {_quote(phrase.words)}{' *' * phrase.is_beginning}" for phrase in phrases]
    for column, values, words in (
        ("consumer_id", wanted.consumer_ids, _identifier_words),
        ("conversation_id", wanted.conversation_ids, _identifier_words),
        ("customer_id", wanted.customer_ids, _identifier_words),
        ("{consumer_id customer_id}", wanted.subject_ids, _identifier_words),
        ("attributes", wanted.customer_statuses, _first_words),
        ("attributes", wanted.customer_types, _first_words),
    ):
        choices = [*map(words, values)]
        if choices and all(choices):
            clauses.append(f"{column} : ({' OR '.join(map(_quote, choices))})")
    return f"({' AND '.join(clauses)})" if clauses else None


def _identifier_words(identifier: str) -> list[str]:
    return [token] if (token := identifier_token(identifier)) else []


def _first_words(value: str) -> list[str]:
    """Words that the value begins with: all of them unless it is long."""
    words = words_of(value[:_MAX_LOOKED_UP_CHARACTERS])
    # The last one may be cut, and even in another form than in the whole value.
    return words if len(value) <= _MAX_LOOKED_UP_CHARACTERS else words[:-1]


def _quote(words: Sequence[str]) -> str:
    return '"' + " ".join(words[:_MAX_LOOKED_UP_WORDS]) + '"'
