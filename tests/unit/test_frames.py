"""Frames put together from parts are the messages of the contract."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.wire import length_delimited
from engagement_server.streams.frames import batch_frame

_stored = st.builds(
    lambda cursor, text, size, matched: v1.StoredEvent(
        cursor=cursor,
        event=v1.Event(event_id=text, customer_info=v1.CustomerInfo(balance="x" * size)),
        matched_customer_status=matched,
    ),
    st.text(max_size=30),
    st.text(max_size=20),
    st.sampled_from([0, 1, 100, 127, 128, 16_383, 16_384, 50_000]),
    st.text(max_size=5),
)


@given(events=st.lists(_stored, min_size=1, max_size=5), cursor=st.text(min_size=1, max_size=40))
def test_a_frame_from_parts_is_the_message(events: list[v1.StoredEvent], cursor: str) -> None:
    message = v1.SubscribeEventsResponse(cursor=cursor, batch=v1.SubscribeEventsResponse.Batch(events=events))
    fields = [length_delimited(1, stored.SerializeToString()) for stored in events]
    frame = batch_frame(fields, cursor=cursor)
    assert frame == message.SerializeToString()
