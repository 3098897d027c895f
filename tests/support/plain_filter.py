"""The meaning of `EventFilter` in plain Python: the reference for lists."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby

from apsw.unicode import codepoint_name, grapheme_iter
from google.protobuf.message import Message

from engagement import v1

Phrase = tuple[list[str], bool]
"""Words side by side, and whether the last one is the beginning of a word."""

_QUERY_PART = re.compile(r'"([^"]*)"(\**)|([^\s"]*?)(\**)(?=[\s"]|$)')
_WITHOUT_SPACES = re.compile(
    "(HALFWIDTH )?(CJK|IDEOGRAPHIC|HIRAGANA|KATAKANA|BOPOMOFO|HANGUL|THAI|LAO|KHMER|MYANMAR|YI|TAI|AHOM)\\b"
    "|NEW TAI|TANGUT|KHITAN|NUSHU|HENTAIGANA|KATAKANA-HIRAGANA|VERTICAL (KANA|IDEOGRAPHIC)|MASU|HANGZHOU"
    "|OLD CHINESE"
)

_INVISIBLE_NAME = re.compile(
    "^VARIATION SELECTOR|FREE VARIATION SELECTOR|GRAPHEME JOINER|HANGUL.*FILLER|VOWEL INHERENT"
)


def takes(wanted: v1.EventFilter, stored: v1.StoredEvent) -> bool:
    """Whether an event matches."""
    event = stored.event
    customer = event.customer_info
    time_ms = (customer if event.HasField("customer_info") else event.personal_info).server_time_stamp
    set_number = 1 if event.HasField("customer_info") else 2
    return all(
        [
            not wanted.attribute_sets or set_number in wanted.attribute_sets,
            not wanted.consumer_ids or event.consumer_id in wanted.consumer_ids,
            not wanted.conversation_ids or event.conversation_id in wanted.conversation_ids,
            not wanted.customer_ids
            or (customer.HasField("customer_id") and customer.customer_id in wanted.customer_ids),
            not wanted.subject_ids
            or event.consumer_id in wanted.subject_ids
            or (customer.HasField("customer_id") and customer.customer_id in wanted.subject_ids),
            not wanted.customer_statuses
            or (
                customer.HasField("customer_status")
                and caseless(customer.customer_status) in map(caseless, wanted.customer_statuses)
            ),
            not wanted.customer_types
            or (
                customer.HasField("customer_type")
                and caseless(customer.customer_type) in map(caseless, wanted.customer_types)
            ),
            not wanted.HasField("authenticated") or wanted.authenticated == event.authenticated,
            not wanted.HasField("start_time") or wanted.start_time.ToNanoseconds() <= time_ms * 1_000_000,
            not wanted.HasField("end_time") or time_ms * 1_000_000 < wanted.end_time.ToNanoseconds(),
            not wanted.HasField("receive_start_time")
            or wanted.receive_start_time.ToNanoseconds() <= stored.receive_time.ToNanoseconds(),
            not wanted.HasField("receive_end_time")
            or stored.receive_time.ToNanoseconds() < wanted.receive_end_time.ToNanoseconds(),
            all(
                any(occurs(phrase, words(value)) for value in _values(event))
                for phrase in phrases(wanted.text)
            ),
        ]
    )


def caseless(text: str) -> str:
    """The canonical caseless form."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def near_form(identifier: str) -> str:
    """The compatibility caseless form of what is visible."""
    form = _visible(identifier)
    for _ in range(2):
        form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", form).casefold())
    return unicodedata.normalize("NFKD", _visible(form)) or identifier


def _visible(text: str) -> str:
    return "".join(
        character
        for character in text
        if not character.isspace()
        and unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cs"}
        and not _INVISIBLE_NAME.search(unicodedata.name(character, ""))
    )


def words(text: str) -> list[str]:
    """Runs of letters, digits and their marks, without what is invisible; some scripts by graphemes."""
    visible = "".join(character for character in caseless(text) if not _is_invisible(character))
    composed = unicodedata.normalize("NFC", visible)
    kinds: list[str] = []
    for character in composed:
        is_mark = unicodedata.category(character).startswith("M")
        kinds.append((kinds[-1] if kinds else "") if is_mark else _kind(character))
    found: list[str] = []
    for kind, run in groupby(zip(composed, kinds, strict=True), key=lambda pair: pair[1]):
        joined = "".join(character for character, _ in run)
        if kind:
            found += [joined] if kind == "spaced" else grapheme_iter(joined)
    return found


def _is_invisible(character: str) -> bool:
    is_selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
    return is_selector or (unicodedata.category(character) == "Cf" and character != "\u200b")


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] not in "LN" and category != "Co":
        return ""
    name = codepoint_name(character) or ""
    is_letter = category[0] == "L" or category == "Nl"
    return "unspaced" if is_letter and _WITHOUT_SPACES.match(name) else "spaced"


def phrases(text: str) -> list[Phrase]:
    """Words that must stand side by side: those of each quoted phrase, and those joined by punctuation."""
    parts = _QUERY_PART.findall(text)
    return [
        (words(quoted or plain), bool(star or end)) for quoted, star, plain, end in parts if quoted or plain
    ]


def occurs(phrase: Phrase, in_words: list[str]) -> bool:
    """Whether a phrase occurs among words."""
    wanted, is_beginning = phrase
    return any(
        in_words[start : start + len(wanted) - 1] == wanted[:-1]
        and (last.startswith(wanted[-1]) if is_beginning else last == wanted[-1])
        for start, last in enumerate(in_words[len(wanted) - 1 :])
    )


def _values(event: v1.Event) -> Iterator[str]:
    attributes = event.customer_info if event.HasField("customer_info") else event.personal_info
    yield from _texts(attributes)
    yield from event.additional_attributes.values()


def _texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            yield value
        elif isinstance(value, v1.Date):
            yield f"{value.year:04}-{value.month:02}-{value.day:02}"
        elif field.type == field.TYPE_MESSAGE:
            for part in value:
                yield from _texts(part)
