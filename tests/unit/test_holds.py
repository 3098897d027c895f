"""What is held in groups: each name counts once, and goes with the last of its holders."""

from __future__ import annotations

from engagement_server.access.holds import Holds


def test_names_are_counted_by_group_until_they_are_released() -> None:
    holds = Holds()
    assert holds.hold("crm", "a", holder=1) == 1
    assert holds.hold("crm", "b", holder=1) == 2
    assert holds.hold("web", "a", holder=1) == 1
    holds.release("crm", "a", holder=1)
    assert holds.hold("crm", "c", holder=1) == 2


def test_a_name_counts_once_however_many_hold_it() -> None:
    holds = Holds()
    assert [holds.hold("crm", "a", holder=holder) for holder in (1, 2, 2)] == [1, 1, 1]
    for holder in (2, 1):
        holds.release("crm", "a", holder=holder)
        assert holds.hold("crm", "b", holder=3) == 2
    holds.release("crm", "a", holder=2)
    assert holds.hold("crm", "b", holder=3) == 1


def test_a_holder_that_is_gone_holds_nothing() -> None:
    holds = Holds()
    for name in "abc":
        holds.hold("crm", name, holder=1)
    holds.hold("crm", "c", holder=2)
    holds.drop(1)
    assert holds.hold("crm", "d", holder=2) == 2


def test_what_is_not_held_is_released_without_effect() -> None:
    holds = Holds()
    holds.hold("crm", "a", holder=1)
    holds.release("crm", "a", holder=2)
    holds.release("crm", "b", holder=1)
    holds.release("web", "a", holder=1)
    assert holds.hold("crm", "b", holder=1) == 2
