"""Equal lines are summed by the second, and never more than a bounded number is written."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import Event, Line
from engagement_server.access.audit_sums import MAX_KEYS, OTHERS, WINDOW_SECONDS, Sums


def denied(principal: str = "crm", *, request_id: str = "r", count: int = 1) -> Line:
    return Line(
        time="2026-11-30T12:00:00.000Z",
        kind=Kind.DENIALS,
        event=Event.DENIED,
        principal=principal,
        request_id=request_id,
        outcome="SCOPE_MISSING",
        count=count,
    )


class Summing:
    """Sums with a clock of the test."""

    def __init__(self) -> None:
        self.written: list[Line] = []
        self.now = 0.0
        self.sums = Sums(self.written.append, now=lambda: self.now)


def test_the_first_is_written_at_once_and_the_rest_as_one() -> None:
    summing = Summing()
    for number in range(5):
        summing.sums.add(denied(request_id=str(number)))
    assert summing.written == [denied(request_id="0")]
    summing.now = WINDOW_SECONDS
    summing.sums.flush()
    assert [(each.count, each.request_id, each.outcome) for each in summing.written[1:]] == [
        (4, "", "SCOPE_MISSING")
    ]


def test_a_line_alone_has_no_sum() -> None:
    summing = Summing()
    summing.sums.add(denied())
    summing.sums.flush(is_last=True)
    assert len(summing.written) == 1


def test_what_differs_is_not_summed() -> None:
    summing = Summing()
    for name in ("crm", "shop", "crm"):
        summing.sums.add(denied(name))
    assert [each.principal for each in summing.written] == ["crm", "shop"]


@given(
    adds=st.lists(
        st.tuples(st.integers(0, 2 * MAX_KEYS), st.integers(1, 9), st.sampled_from([0.0, 0.4, 2.0]))
    )
)
def test_all_are_counted_and_few_are_written(adds: list[tuple[int, int, float]]) -> None:
    summing = Summing()
    windows, wanted = 1, Counter[str]()
    for number, count, seconds in adds:
        summing.now += seconds
        windows += 1 if seconds else 0
        summing.sums.add(denied(f"p{number}", count=count))
        wanted[f"p{number}"] += count
    summing.sums.flush(is_last=True)
    found = Counter[str]()
    for each in summing.written:
        found[each.principal] += each.count
    others = found.pop("", 0)
    assert found.total() + others == wanted.total()
    assert all(found[name] <= wanted[name] for name in found)
    assert len(summing.written) <= windows * (2 * MAX_KEYS + 1)


def test_many_different_lines_are_one() -> None:
    summing = Summing()
    for number in range(10 * MAX_KEYS):
        summing.sums.add(denied(f"p{number}"))
    summing.sums.flush(is_last=True)
    last = summing.written.pop()
    assert len(summing.written) == MAX_KEYS
    assert (last.outcome, last.principal, last.count) == (OTHERS, "", 9 * MAX_KEYS)
