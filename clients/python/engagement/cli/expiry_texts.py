"""What the command line says about retention and expiry."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1

_DAY = timedelta(days=1)


def hold_text(hold: v1.ExpiryHold) -> str:
    """Why expiry is held."""
    clock, commit = time_text(hold.clock_time), time_text(hold.commit_time)
    match hold.reason:
        case v1.ExpiryHold.REASON_CLOCK_AHEAD:
            return f"the server's clock, {clock}, was far ahead of the last commit, {commit}"
        case v1.ExpiryHold.REASON_CLOCK_BEHIND:
            return f"the server's clock, {clock}, was behind the last commit, {commit}"
        case v1.ExpiryHold.REASON_CLOCKS_DISAGREE:
            return f"the clocks of two nodes disagree: {clock} and {commit}"
        case v1.ExpiryHold.REASON_LARGE_REMOVAL:
            return f"the first expiry after a start, at {clock}, would remove more than a tenth of the events"
        case _:
            return "for a reason that this version does not know"


def duration_text(duration: Duration) -> str:
    """A duration in days, or exactly if it is less than a day."""
    exact = duration.ToTimedelta()
    days = exact / _DAY
    return f"{exact}" if days < 1 else f"{days:g} day{'s' * (days != 1)}"


def time_text(time: Timestamp) -> str:
    """A time in UTC, to a second."""
    return Timestamp(seconds=time.seconds).ToJsonString()


def removal_text(response: v1.SetRetentionResponse | v1.ReleaseExpiryResponse) -> str:
    """How many events go."""
    return (
        f"{response.due_events:,} of {response.stored_events:,} events, accepted before"
        f" {time_text(response.remove_before_time)}"
    )
