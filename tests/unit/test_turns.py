"""Callers take turns, in order within each, and none of them can take all the room."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from engagement_server.governor.turns import Caller, Room, Turns

callers = st.builds(Caller, st.sampled_from("xyz"), st.sampled_from("abc"))


@given(st.lists(callers))
def test_every_item_comes_out_once_in_the_order_of_its_caller(appended: list[Caller]) -> None:
    turns: Turns[tuple[Caller, int]] = Turns()
    expected = defaultdict(list)
    for number, caller in enumerate(appended):
        turns.append(caller, (caller, number))
        expected[caller].append(number)
    assert len(turns) == len(appended)
    found = defaultdict(list)
    while turns:
        caller, number = turns.popleft()
        found[caller].append(number)
    assert found == expected


def test_connections_take_turns_and_accounts_within_each() -> None:
    turns: Turns[str] = Turns()
    for account_id in "abc":
        for number in range(2):
            turns.append(Caller("x", account_id), f"x{account_id}{number}")
    for number in range(3):
        turns.append(Caller("y", "a"), f"ya{number}")
    order = [turns.popleft() for _ in range(9)]
    assert order == ["xa0", "ya0", "xb0", "ya1", "xc0", "ya2", "xa1", "xb1", "xc1"]


@given(st.lists(callers), st.data())
def test_what_is_removed_does_not_come_out(appended: list[Caller], data: st.DataObject) -> None:
    turns: Turns[int] = Turns()
    items = dict(enumerate(appended))
    for number, caller in items.items():
        turns.append(caller, number)
    removed = data.draw(st.sets(st.sampled_from(sorted(items)))) if items else set()
    for number in removed:
        turns.remove(items[number], number)
    assert len(turns) == len(items) - len(removed)
    assert {turns.popleft() for _ in range(len(turns))} == items.keys() - removed


def test_items_of_those_that_may_go_come_out_in_turn() -> None:
    turns: Turns[str] = Turns()
    for caller in [Caller("x", "a"), Caller("x", "b"), Caller("y", "a"), Caller("z", "a")]:
        for number in range(2):
            turns.append(caller, f"{caller.connection}{caller.account_id}{number}")
    left = Counter({Caller("x", "b"): 2, Caller("y", "a"): 1, Caller("z", "a"): 2})
    went = []
    for item in turns.pop_while(lambda caller: left[caller] > 0):
        left[Caller(item[0], item[1])] -= 1
        went.append(item)
    assert went == ["xb0", "ya0", "za0", "xb1", "za1"]
    assert [turns.popleft() for _ in range(len(turns))] == ["ya1", "xa0", "xa1"]


@given(st.lists(st.tuples(callers, st.integers(1, 50)), max_size=200))
def test_room_is_left_for_whoever_has_none(requests: list[tuple[Caller, int]]) -> None:
    room = Room(1_000)
    for caller, size_bytes in requests:
        if room.is_free_for(caller):
            room.take(caller, size_bytes)
    if len({caller.connection for caller, _ in requests}) < 8:
        assert room.is_free_for(Caller("newcomer", "a"))
    assert room.used_bytes <= 1_000


@given(
    st.integers(1, 1_000),
    st.lists(
        st.tuples(st.builds(Caller, st.sampled_from("xy"), st.sampled_from("abc")), st.integers(1, 3_000))
    ),
)
def test_two_connections_leave_room_for_a_third_however_large_their_items_are(
    max_bytes: int, requests: list[tuple[Caller, int]]
) -> None:
    room = Room(max_bytes)
    for caller, size_bytes in requests:
        if room.is_free_for(caller):
            room.take(caller, size_bytes)
    assert room.is_free_for(Caller("newcomer", "a")) or max_bytes == 1


def test_one_item_as_large_as_the_room_leaves_others_their_turns() -> None:
    room = Room(1_000)
    room.take(Caller("greedy", "a"), 1_000)
    assert not room.is_free_for(Caller("greedy", "b"))
    small = 0
    while room.is_free_for(Caller("modest", "a")):
        room.take(Caller("modest", "a"), 10)
        small += 10
    assert 100 < small < 500


@given(st.lists(st.tuples(st.builds(Caller, st.text(), st.text()), st.integers(1, 1_500))))
def test_the_last_items_alone_exceed_the_room(requests: list[tuple[Caller, int]]) -> None:
    room = Room(1_000)
    for caller, size_bytes in requests:
        if room.is_free_for(caller):
            room.take(caller, size_bytes)
    assert room.used_bytes <= 1_000 + 3 * max((size_bytes for _, size_bytes in requests), default=0)


def test_room_is_taken_while_a_context_is_open() -> None:
    room, caller = Room(10), Caller("x", "a")
    with suppress(KeyError), room.taken(caller, 7):
        assert room.used_bytes == 7
        raise KeyError
    assert room.used_bytes == 0


@given(st.lists(st.tuples(callers, st.integers(0, 2_000))))
def test_what_is_given_back_is_free_again(taken: list[tuple[Caller, int]]) -> None:
    room = Room(1_000)
    for caller, size_bytes in taken:
        room.take(caller, size_bytes)
    for caller, size_bytes in taken:
        room.give_back(caller, size_bytes)
    assert room.used_bytes == 0
    assert room.is_free_for(Caller("x", "a"))
