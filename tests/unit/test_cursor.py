"""Cursors and page tokens: opaque text that is accepted unchanged only."""

from __future__ import annotations

import base64
import itertools
import string
from collections.abc import Iterator
from operator import xor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engagement_server.cursor import SEQUENCE_BITS, Cursors, first_position, last_position
from engagement_server.errors import (
    CursorMalformedError,
    CursorMismatchError,
    LogEpochChangedError,
    PageTokenMismatchError,
)

CURSORS = Cursors(epoch=0xDEADBEEF, key=b"k" * 32)
RESTORED = Cursors(epoch=0xDEADBEF0, key=b"k" * 32)
OF_OTHER_KEY = Cursors(epoch=0xDEADBEEF, key=b"x" * 32)
accounts = st.integers(1, 2**23 - 1)
sequences = st.integers(1, 2**SEQUENCE_BITS - 1)
BASE64URL = string.ascii_letters + string.digits + "-_"
INSERTIONS = [*BASE64URL, "=", "+", "/", " ", "é", ""]


def damaged(text: str) -> Iterator[str]:
    """All texts that differ from a good one by one replaced, added or removed character."""
    for place, insertion, taken in itertools.product(range(len(text)), INSERTIONS, (0, 1)):
        other = text[:place] + insertion + text[place + taken :]
        if other != text:
            yield other
    yield from (text + insertion for insertion in INSERTIONS if insertion)


cursors = st.builds(
    lambda account, sequence: CURSORS.encode(first_position(account) + sequence), accounts, sequences
)
tokens = st.builds(lambda position: CURSORS.encode_page(position, arguments=b"a"), st.integers(0, 2**63 - 1))


@given(
    positions=st.lists(
        st.builds(lambda account, sequence: first_position(account) + sequence, accounts, sequences)
    )
)
def test_cursors_that_are_encoded_together_are_those_of_their_positions(positions: list[int]) -> None:
    together = [cursor.decode() for cursor in CURSORS.encode_all(positions)]
    assert together == [CURSORS.encode(position) for position in positions]


@given(account=accounts, sequence=sequences)
def test_a_cursor_comes_back_as_its_position(account: int, sequence: int) -> None:
    position = first_position(account) + sequence
    assert first_position(account) < position <= last_position(account)
    assert CURSORS.decode(CURSORS.encode(position), account_id="acme", account_number=account) == position


names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=64)


@given(name=names, arguments=st.binary())
def test_a_token_of_a_name_comes_back_with_its_arguments(name: str, arguments: bytes) -> None:
    token = CURSORS.encode_name(name, arguments=arguments)
    assert set(token) <= set(BASE64URL)
    assert CURSORS.decode_name(token, arguments=arguments) == name
    with pytest.raises(PageTokenMismatchError):
        CURSORS.decode_name(token, arguments=arguments + b"x")
    with pytest.raises(PageTokenMismatchError):
        Cursors(epoch=CURSORS.epoch, key=b"x" * 32).decode_name(token, arguments=arguments)
    with pytest.raises(LogEpochChangedError):
        RESTORED.decode_name(token, arguments=arguments)
    with pytest.raises(PageTokenMismatchError):
        CURSORS.decode_page(token, arguments=arguments)


def test_a_damaged_token_of_a_name_is_refused() -> None:
    damage = [*damaged(CURSORS.encode_name("acme", arguments=b"a")), CURSORS.encode_page(5, arguments=b"a")]
    for text in [*damage, CURSORS.encode(first_position(1) + 1)]:
        with pytest.raises(PageTokenMismatchError):
            CURSORS.decode_name(text, arguments=b"a")


@given(text=cursors | tokens)
def test_cursors_and_tokens_pass_through_a_shell_and_json_as_they_are(text: str) -> None:
    assert set(text) <= set(BASE64URL)
    assert len(text) <= 36


def test_a_damaged_cursor_is_malformed() -> None:
    for text in damaged(CURSORS.encode(first_position(1) + 1)):
        with pytest.raises(CursorMalformedError):
            CURSORS.decode(text, account_id="acme", account_number=1)


@given(epoch=st.integers(0, 2**32 - 1), place=st.integers(0, 25), character=st.sampled_from(BASE64URL))
def test_a_cursor_of_any_log_with_another_character_is_malformed(
    epoch: int, place: int, character: str
) -> None:
    own = Cursors(epoch=epoch, key=b"k" * 32)
    cursor = own.encode(first_position(1) + 1)
    assume(cursor[place] != character)
    with pytest.raises(CursorMalformedError):
        own.decode(cursor[:place] + character + cursor[place + 1 :], account_id="acme", account_number=1)


@given(cursor=cursors, change=st.integers(1, 2**152 - 1))
def test_no_changed_byte_of_a_cursor_is_accepted(cursor: str, change: int) -> None:
    whole = base64.urlsafe_b64decode(cursor + "==")
    changed = bytes(map(xor, whole, change.to_bytes(len(whole), "big")))
    with pytest.raises((CursorMalformedError, LogEpochChangedError)):
        CURSORS.decode(
            base64.urlsafe_b64encode(changed).rstrip(b"=").decode(), account_id="acme", account_number=1
        )


@given(account=accounts, sequence=sequences)
def test_nobody_without_the_key_can_make_a_cursor(account: int, sequence: int) -> None:
    forged = OF_OTHER_KEY.encode(first_position(account) + sequence)
    with pytest.raises(CursorMalformedError):
        CURSORS.decode(forged, account_id="acme", account_number=account)


def test_the_key_is_not_shown() -> None:
    assert "kkk" not in repr(CURSORS)


@given(account=accounts, other=accounts, sequence=sequences)
def test_a_cursor_of_another_account_is_refused(account: int, other: int, sequence: int) -> None:
    assume(account != other)
    cursor = CURSORS.encode(first_position(account) + sequence)
    with pytest.raises(CursorMismatchError):
        CURSORS.decode(cursor, account_id="acme", account_number=other)


@given(account=accounts)
def test_a_cursor_of_an_account_without_number_is_the_origin_once_it_has_one(account: int) -> None:
    cursor = CURSORS.encode_origin("acme")
    assert set(cursor) <= set(BASE64URL)
    assert CURSORS.decode(cursor, account_id="acme", account_number=None) == 0
    assert CURSORS.decode(cursor, account_id="acme", account_number=account) == first_position(account)


def test_a_cursor_of_an_account_without_number_is_bound_to_the_account_the_log_and_the_key() -> None:
    cursor = CURSORS.encode_origin("acme")
    for account in (None, 1):
        with pytest.raises(CursorMismatchError):
            CURSORS.decode(cursor, account_id="Acme", account_number=account)
        with pytest.raises(LogEpochChangedError):
            RESTORED.decode(cursor, account_id="acme", account_number=account)
        with pytest.raises(CursorMalformedError):
            OF_OTHER_KEY.decode(cursor, account_id="acme", account_number=account)
    for text in damaged(cursor):
        with pytest.raises(CursorMalformedError):
            CURSORS.decode(text, account_id="acme", account_number=1)


def test_a_cursor_with_a_number_is_of_no_account_without_one() -> None:
    with pytest.raises(CursorMismatchError):
        CURSORS.decode(CURSORS.encode(first_position(1)), account_id="acme", account_number=None)


@given(position=st.integers(0, 2**63 - 1), arguments=st.binary())
def test_a_page_token_comes_back_with_its_arguments(position: int, arguments: bytes) -> None:
    token = CURSORS.encode_page(position, arguments=arguments)
    assert CURSORS.decode_page(token, arguments=arguments) == position
    with pytest.raises(PageTokenMismatchError):
        CURSORS.decode_page(token, arguments=arguments + b"x")


def test_a_damaged_page_token_is_refused() -> None:
    for text in damaged(CURSORS.encode_page(first_position(1) + 1, arguments=b"a")):
        with pytest.raises(PageTokenMismatchError):
            CURSORS.decode_page(text, arguments=b"a")


def test_a_page_token_of_another_key_is_refused() -> None:
    forged = Cursors(epoch=CURSORS.epoch, key=b"x" * 32).encode_page(5, arguments=b"a")
    with pytest.raises(PageTokenMismatchError):
        CURSORS.decode_page(forged, arguments=b"a")


def test_cursors_and_tokens_of_a_replaced_log_are_told_from_damaged_ones() -> None:
    position = first_position(1) + 1
    with pytest.raises(LogEpochChangedError):
        RESTORED.decode(CURSORS.encode(position), account_id="acme", account_number=1)
    with pytest.raises(LogEpochChangedError):
        RESTORED.decode_page(CURSORS.encode_page(position, arguments=b"a"), arguments=b"a")


def test_cursors_and_page_tokens_are_not_taken_for_each_other() -> None:
    position = first_position(1) + 1
    with pytest.raises(CursorMalformedError):
        CURSORS.decode(CURSORS.encode_page(position, arguments=b"a"), account_id="acme", account_number=1)
    with pytest.raises(PageTokenMismatchError):
        CURSORS.decode_page(CURSORS.encode(position), arguments=b"a")
