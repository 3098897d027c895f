"""Folds equal the plain profile, in any order and from partial folds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.store.profile_fold import ProfileFold
from tests.support.plain_profile import plain_profile
from tests.support.profile_store import MERGE, NOW_MS, REPLACE, events, times


def stored_event(event: v1.Event, position: int) -> v1.StoredEvent:
    """The event as it is read, with its position for a cursor."""
    stored = v1.StoredEvent(event=event, cursor=str(position))
    stored.receive_time.FromMilliseconds(NOW_MS)
    attributes = getattr(stored.event, event.WhichOneof("attributes"))
    attributes.server_time_stamp = attributes.server_time_stamp or NOW_MS
    if event.source == "a":
        stored.upload.upload_id, stored.upload.event_number = "7", position
    if event.customer_info.customer_status == "GOLD":
        stored.matched_customer_status = "gold"
    if event.customer_info.customer_type == "VIP":
        stored.matched_customer_type = "vip"
    return stored


def fold_of(stored: list[v1.StoredEvent], *, due_ms: int) -> ProfileFold:
    fold = ProfileFold()
    for each in stored:
        event = v1.Event.FromString(each.event.SerializeToString())
        time_ms = getattr(event, event.WhichOneof("attributes")).server_time_stamp
        add = fold.add if time_ms <= max(due_ms, NOW_MS) else fold.add_ahead
        names = each.matched_customer_status or None, each.matched_customer_type or None
        upload = (7, each.upload.event_number) if each.HasField("upload") else (None, None)
        add((event.authenticated, time_ms, int(each.cursor), event.event_id, *names, *upload), event)
    return fold


def stored_and_restored(fold: ProfileFold) -> ProfileFold:
    return ProfileFold.of_snapshot(merged=fold.snapshot(MERGE), replaced=fold.snapshot(REPLACE))


@settings(max_examples=300)
@given(
    st.lists(events(), max_size=12).flatmap(
        lambda some: st.tuples(st.just(some), st.permutations(range(len(some))))
    ),
    st.integers(0, 12),
    times,
)
def test_a_fold_is_the_plain_profile_in_any_order_and_from_partial_folds(
    drawn: tuple[list[v1.Event], list[int]], cut: int, due_ms: int
) -> None:
    stored = [stored_event(event, position) for position, event in enumerate(drawn[0], 1)]
    shuffled = [stored[index] for index in drawn[1]]
    fold = stored_and_restored(fold_of(shuffled[:cut], due_ms=due_ms))
    fold.merge(fold_of(shuffled[cut:], due_ms=due_ms))
    for folding in (MERGE, REPLACE):
        expected = plain_profile(stored, "ada", folding, due_ms=due_ms)
        assert fold.profile("ada", folding=folding, encode=str, name_upload=str) == expected
        assert (
            stored_and_restored(fold).profile("ada", folding=folding, encode=str, name_upload=str) == expected
        )
