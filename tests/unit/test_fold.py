"""Text has one form for all its spellings, which no library's Unicode version changes."""

from __future__ import annotations

import sys
import time
import unicodedata
from contextlib import closing
from functools import cache
from importlib import resources

import apsw
import apsw.unicode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.store import fold
from engagement_server.store.entity_rows import read_list, refold_entities
from engagement_server.store.fold import (
    MAX_SPELLED_CHARACTERS,
    caseless,
    composed,
    fold_version,
    near_form,
)
from engagement_server.store.words import words_of
from tests.support import plain_filter

# Categories of code points that no table gives a meaning, and of halves of characters.
NO_CHARACTERS = "Cn", "Cs"
# Garay has letter case, and Kirat Rai has vowels that decompose; both are newer than the repertoire.
NEWER_LETTERS = "\U00010d50\U00010d70\U00016d68\U00016d69"

PRIVATE_USE = "\U000f0000"


def is_in_repertoire(code_point: int) -> bool:
    version = apsw.unicode.version_added(code_point)
    return version is not None and [*map(int, version.split("."))] <= [14, 0]


@cache
def known_characters() -> list[str]:
    return [*map(chr, filter(is_in_repertoire, range(sys.maxunicode + 1)))]


def known_texts() -> st.SearchStrategy[str]:
    characters = known_characters()
    marks = [character for character in characters if unicodedata.combining(character)]
    return st.text(st.sampled_from(characters) | st.sampled_from(marks) | st.sampled_from("aΣsßİ"))


def test_the_form_of_each_character_is_the_canonical_caseless_one() -> None:
    characters = known_characters()
    assert [caseless(each) for each in characters] == [*map(plain_filter.caseless, characters)]


@given(text=st.deferred(known_texts))
def test_the_form_of_a_text_is_the_canonical_caseless_one(text: str) -> None:
    assert caseless(text) == plain_filter.caseless(text)
    assert composed(text) == unicodedata.normalize("NFC", text)


def test_marks_are_in_order_before_one_of_them_becomes_a_letter() -> None:
    assert caseless("\u03b1\u0345\u0301") == caseless("\u1fb4") == "\u03b1\u0301\u03b9"


@given(text=st.text())
def test_the_form_of_a_form_is_itself(text: str) -> None:
    assert caseless(caseless(text)) == caseless(text)


@pytest.mark.parametrize("text", [*NEWER_LETTERS, "\U00016d63\U00016d67", "\U0003ffff", "\U000f0000"])
def test_a_character_that_is_newer_than_the_repertoire_keeps_its_form(text: str) -> None:
    assert near_form(f"É {text}") == f"e\u0301{'' if text == PRIVATE_USE else text}"
    assert caseless(f"É{text}É\u0316") == f"e\u0301{text}e\u0316\u0301"
    assert composed(f"e\u0301{text}") == f"é{text}"


def test_libraries_that_know_more_than_the_repertoire_change_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_REPERTOIRE", (10, 0))  # Georgian has had capital letters since Unicode 11
    monkeypatch.setattr(fold, "_tables", fold._tables.__wrapped__)
    assert caseless("ᲓÉ") == "Დe\u0301"


@pytest.mark.parametrize("text", [*NEWER_LETTERS, "\U00011de0", "\U0003ffff"])
def test_a_character_that_is_newer_than_the_repertoire_is_found(text: str) -> None:
    assert words_of(f"VIP {text} x") == ["vip", text, "x"]


def test_the_near_form_of_each_character_is_that_of_its_compatible_caseless_one() -> None:
    characters = [each for each in known_characters() if unicodedata.category(each) not in NO_CHARACTERS]
    assert [near_form(each) for each in characters] == [*map(plain_filter.near_form, characters)]
    inside = [f"Ab{each}1" for each in characters]
    assert [near_form(each) for each in inside] == [*map(plain_filter.near_form, inside)]


@given(text=st.deferred(known_texts))
def test_the_near_form_of_a_text_is_that_of_its_parts(text: str) -> None:
    assert near_form(text) == plain_filter.near_form(text)


@given(text=st.text())
def test_the_near_form_of_a_near_form_is_itself(text: str) -> None:
    assert near_form(near_form(text)) == near_form(text)


@pytest.mark.parametrize(
    "spelling",
    [
        "Visitor-19", "VISITOR-19", " visitor-19\r\n", "visitor - 19", "visitor\t-\u00a019", "visitor-19\x00",
        "visitor-\u200b19", "\ufeffvisitor-19", "visi\u00adtor-19", "\u202evisitor-19", "vi\u034fsitor-19",
        "\uff56isitor-\uff11\uff19", "visitor-\u2472",
        "visitor\ufe0e-19", "vi\u017fitor-19",
    ],
)  # fmt: skip
def test_an_id_has_many_spellings(spelling: str) -> None:
    assert near_form(spelling) == near_form("visitor-19") == "visitor-19"


@pytest.mark.parametrize("other", ["visitor-1", "visitor_19", "visitor19", "vísitor-19", "v\u0131sitor-19"])
def test_another_id_is_no_spelling(other: str) -> None:
    assert near_form(other) != near_form("visitor-19")


def test_only_an_empty_id_has_an_empty_near_form() -> None:
    assert near_form("") == ""
    for blank in (" ", "\u200b", "\u3164", "\ue000", "\x00 "):
        assert near_form(blank) == blank


@pytest.mark.parametrize("text", ["\u00a8\u00b8" * 25_000, "a" + "\u0301\u0316" * 24_999, "\ufdfa" * 50_000])
def test_the_near_form_of_anything_takes_no_quadratic_time(text: str) -> None:
    start = time.process_time()
    near_form(text)
    assert time.process_time() - start < 1


def test_many_marks_on_a_letter_take_no_quadratic_time() -> None:
    text = ("a" + "\u0301" * 12_000 + "\u0316" * 12_999) * 2
    start = time.process_time()
    assert caseless(text) == text
    assert words_of(text) == [text]
    assert time.process_time() - start < 1
    assert caseless("A" + "\u0301" * 15 + "\u0316" * 15) == "a" + "\u0316" * 15 + "\u0301" * 15
    assert caseless("A" + "\u0301" * 15 + "\u0316" * 16) == "a" + "\u0301" * 15 + "\u0316" * 16


def test_each_character_is_cut_as_its_name_says() -> None:
    for start in range(0, 0x40000, 64):
        block = map(chr, filter(is_in_repertoire, range(start, start + 64)))
        characters = [each for each in block if unicodedata.category(each) not in NO_CHARACTERS]
        text = "".join(f"{each}a{each}ก{each}東\u3000" for each in characters)
        assert words_of(text) == plain_filter.words(text)


def test_the_version_is_that_of_rules_repertoire_and_tables() -> None:
    assert fold_version() == f"2/14.0/{apsw.unicode.unicode_version}"


def test_names_that_become_one_keep_the_place_of_the_first_and_the_spelling_of_the_last() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(resources.files("engagement_server.store").joinpath("schema.sql").read_text())
        stored = [
            (1, 1, "gold"),
            (1, 1, "Mu\u0308de"),
            (1, 2, "MÜDE"),
            (2, 1, "MÜDE"),
            (1, 1, "tin"),
            (1, 1, "müde"),
        ]
        connection.executemany(
            "INSERT INTO entities (account, kind, folded, name) VALUES (?, ?, ?, ?)",
            [(account, kind, f"old {name}", name) for account, kind, name in stored],
        )
        refold_entities(connection)
        assert read_list(connection, 1, 1).names == ["gold", "müde", "tin"]
        assert read_list(connection, 1, 2).names == read_list(connection, 2, 1).names == ["MÜDE"]
        refold_entities(connection)
        rows = connection.execute(
            "SELECT folded, name FROM entities WHERE account = 1 AND kind = 1 ORDER BY number"
        )
        assert rows.fetchall() == [("gold", "gold"), ("mu\u0308de", "müde"), ("tin", "tin")]


def test_an_id_that_is_too_long_to_be_typed_has_one_spelling() -> None:
    longest = MAX_SPELLED_CHARACTERS * "\ufdfa"
    assert near_form(longest) == MAX_SPELLED_CHARACTERS * near_form("\ufdfa")
    assert near_form(longest + "A") == longest + "A"
    assert near_form(300 * "A") == 300 * "A"
