"""Uploads and subscriptions as a small model says they must go, whatever comes in which order.

The model knows one upload at a time, the ids of what is stored, and how far a follower has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from engagement import v1
from engagement.uuid7 import uuid7
from tests.support.calls import ACCEPTED, DUPLICATE, one
from tests.support.events import customer_event
from tests.support.held_grants import HeldGrants, calling_as, principal
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening
from tests.support.refused_call import expect_refused

T = TypeVar("T")
_IDS = [f"event-{number}" for number in range(12)]
event_ids = st.lists(st.sampled_from(_IDS), max_size=3, unique=True)
OWNER, OTHER = "crm", "web"
_ENDED = v1.UploadEventsResponse.Closing.REASON_UNAUTHENTICATED


class Stage(NamedTuple):
    """A server, and the loop that it runs in."""

    loop: asyncio.AbstractEventLoop
    grants: HeldGrants
    ingest: Any
    events: Any


class StreamMachine(RuleBasedStateMachine):
    """One example: an account of its own, and an order of messages."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._account = f"a{uuid7()}"
        self._upload_id = "upload-0"
        self._chunks: list[list[str]] = []
        self._is_finished = False
        self._stream: RawUpload | None = None
        self._stored: list[str] = []
        self._cursor = ""
        self._read = 0
        """How many of the stored events are before the cursor."""
        self._follower: RawSubscription | None = None
        self._followed = 0

    def run(self, play: Coroutine[Any, Any, T]) -> T:
        """Plays a step."""
        return self._stage.loop.run_until_complete(play)

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return calling_as(OWNER, account_id=self._account)

    @property
    def _is_held(self) -> bool:
        """Whether the upload is there: one that its stream has left without chunks need not be."""
        return self._stream is not None or bool(self._chunks) or self._is_finished

    def _store(self, wanted: list[str]) -> int:
        new = [each for each in wanted if each not in self._stored]
        self._stored += new
        return len(new)

    def _events(self, wanted: list[str]) -> list[v1.Event]:
        return [customer_event(each) for each in wanted]

    # An upload.

    @rule()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        before, self._stream = self._stream, RawUpload(self._stage.ingest, metadata=self._metadata)
        await self._stream.send(opening(upload_id=self._upload_id, account_id=self._account))
        opened = await self._stream.receive()
        assert opened.opened.committed_through == len(self._chunks)
        if before is not None:
            assert (await expect_refused(before.receive_rest())).reason == "UPLOAD_TAKEN_OVER"
        if self._is_finished:
            assert (await self._stream.receive()).finished.upload.state == v1.Upload.STATE_FINISHED
            self._end()

    def _end(self) -> None:
        """Ends a stream of a finished upload, which the server ends soon, too."""
        assert self._stream is not None
        self._stream.call.cancel()
        self._stream = None

    @precondition(lambda self: self._is_finished)
    @rule(wrong=st.sampled_from(["UPLOAD_FINISHED", "CHUNK_CHANGED", "FINISH_MISMATCH"]), more=event_ids)
    def go_on_with_a_finished_upload(self, wrong: str, more: list[str]) -> None:
        sequence = len(self._chunks)
        message = finish(sequence + 1)
        if wrong == "UPLOAD_FINISHED":
            message = chunk(sequence + 1, *self._events(more))
        elif wrong == "CHUNK_CHANGED":
            if not sequence:
                return
            message = chunk(sequence, *self._events(self._chunks[-1]), customer_event("changed"))
        self.run(self._refuse_to_go_on(message, wrong))

    async def _refuse_to_go_on(self, message: v1.UploadEventsRequest, reason: str) -> None:
        stream = RawUpload(self._stage.ingest, metadata=self._metadata)
        await stream.send(opening(upload_id=self._upload_id, account_id=self._account), message)
        assert (await expect_refused(stream.receive_rest())).reason == reason

    @precondition(lambda self: self._is_held)
    @rule()
    def open_that_of_somebody_else(self) -> None:
        self.run(self._open_as_other())

    async def _open_as_other(self) -> None:
        other = RawUpload(self._stage.ingest, metadata=calling_as(OTHER, account_id=self._account))
        await other.send(opening(upload_id=self._upload_id, account_id=self._account))
        assert (await expect_refused(other.receive_rest())).reason == "SCOPE_MISSING"

    @precondition(lambda self: self._stream is not None)
    @rule(wanted=event_ids)
    def send_the_next_chunk(self, wanted: list[str]) -> None:
        self.run(self._send_next(wanted))

    async def _send_next(self, wanted: list[str]) -> None:
        assert self._stream is not None
        sequence = len(self._chunks) + 1
        await self._stream.send(chunk(sequence, *self._events(wanted)))
        acks = await self._stream.receive_acks(sequence)
        assert acks[-1].committed_through == sequence
        self._store(wanted)
        self._chunks.append(wanted)

    @precondition(lambda self: self._stream is not None and self._chunks)
    @rule(place=st.integers(0, 50))
    def send_a_chunk_again(self, place: int) -> None:
        sequence = place % len(self._chunks) + 1
        assert self._stream is not None
        self.run(self._stream.send(chunk(sequence, *self._events(self._chunks[sequence - 1]))))

    @precondition(lambda self: self._stream is not None and self._chunks)
    @rule(place=st.integers(0, 50))
    def send_a_chunk_changed(self, place: int) -> None:
        sequence = place % len(self._chunks) + 1
        changed = [*self._events(self._chunks[sequence - 1]), customer_event("changed")]
        self.run(self._send_wrong(chunk(sequence, *changed), "CHUNK_CHANGED"))

    @precondition(lambda self: self._stream is not None)
    @rule(gap=st.integers(2, 5), wanted=event_ids)
    def leave_a_gap(self, gap: int, wanted: list[str]) -> None:
        wrong = chunk(len(self._chunks) + gap, *self._events(wanted))
        self.run(self._send_wrong(wrong, "SEQUENCE_GAP"))

    @precondition(lambda self: self._stream is not None)
    @rule(more=st.integers(1, 5))
    def finish_too_late(self, more: int) -> None:
        self.run(self._send_wrong(finish(len(self._chunks) + more), "SEQUENCE_GAP"))

    @precondition(lambda self: self._stream is not None)
    @rule()
    def open_twice_on_one_stream(self) -> None:
        again = opening(upload_id=self._upload_id, account_id=self._account)
        self.run(self._send_wrong(again, "FIELD_INVALID"))

    async def _send_wrong(self, message: v1.UploadEventsRequest, reason: str) -> None:
        assert self._stream is not None
        await self._stream.send(message)
        await self._refused(reason)

    async def _refused(self, reason: str) -> None:
        assert self._stream is not None
        assert (await expect_refused(self._stream.receive_rest())).reason == reason
        self._stream = None

    @precondition(lambda self: self._stream is not None)
    @rule(data=st.binary(min_size=1, max_size=20).map(lambda data: b"\xff" + data))
    def send_what_is_no_message(self, data: bytes) -> None:
        assert self._stream is not None
        self.run(self._stream.send_bytes(data))
        self.run(self._refused("FIELD_INVALID"))

    @precondition(lambda self: self._stream is not None)
    @rule()
    def finish(self) -> None:
        self.run(self._finish())

    async def _finish(self) -> None:
        assert self._stream is not None
        await self._stream.send(finish(len(self._chunks)))
        while not (answer := await self._stream.receive()).HasField("finished"):
            pass
        assert answer.finished.upload.committed_through == len(self._chunks)
        assert answer.finished.upload.tally.rejected == 0
        self._is_finished = True
        self._end()

    @precondition(lambda self: self._stream is not None)
    @rule()
    def lose_the_connection(self) -> None:
        assert self._stream is not None
        self._stream.call.cancel()
        self._stream = None

    @precondition(lambda self: self._stream is not None)
    @rule()
    def end_the_stream(self) -> None:
        assert self._stream is not None
        self.run(self._stream.call.done_writing())
        self.run(self._stream.receive_rest())
        self._stream = None

    @precondition(lambda self: self._stream is not None)
    @rule()
    def lose_all_rights_and_get_them_again(self) -> None:
        self.run(self._lose_rights())

    async def _lose_rights(self) -> None:
        assert self._stream is not None
        self._stage.grants.revoke(OWNER)
        try:
            assert (await self._stream.receive_rest())[-1].closing.reason == _ENDED
            if self._follower is not None:
                rest = await self._follower.rest()
                assert rest[-1].closing.reason == v1.SubscribeEventsResponse.Closing.REASON_UNAUTHENTICATED
        finally:
            self._stage.grants.put(owner())
        self._stream = self._follower = None

    @precondition(lambda self: self._is_finished)
    @rule()
    def begin_another_upload(self) -> None:
        self._upload_id = f"upload-{uuid7()}"
        self._chunks, self._is_finished, self._stream = [], False, None

    # Events by themselves, and those who read them.

    @rule(wanted=st.sampled_from(_IDS))
    def record(self, wanted: str) -> None:
        request = one(customer_event(wanted), account_id=self._account)
        answer = self.run(self._recorded(request))
        assert answer.result.outcome == (ACCEPTED if self._store([wanted]) else DUPLICATE)

    async def _recorded(self, request: v1.RecordEventRequest) -> v1.RecordEventResponse:
        answer: v1.RecordEventResponse = await self._stage.ingest.RecordEvent(
            request, metadata=self._metadata
        )
        return answer

    @rule()
    def export_what_is_new(self) -> None:
        request = subscribing(
            account_id=self._account, after_cursor=self._cursor or None, stop_at_tail=True, max_batch_events=2
        )
        stream = RawSubscription(self._stage.events, request, metadata=self._metadata)
        found = self.run(stream.rest())
        assert ids(found) == self._stored[self._read :]
        self._cursor, self._read = found[-1].cursor, len(self._stored)

    @precondition(lambda self: self._cursor)
    @rule(place=st.integers(0, 24), of_another=st.booleans())
    def show_a_wrong_cursor(self, place: int, of_another: bool) -> None:
        cursor, account = self._cursor, self._account
        if of_another:
            account = f"{self._account}x"
        else:
            place %= len(cursor)
            cursor = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        request = subscribing(account_id=account, after_cursor=cursor)
        metadata = calling_as(OWNER, account_id=account)
        stream = RawSubscription(self._stage.events, request, metadata=metadata)
        refused = self.run(expect_refused(stream.rest()))
        assert refused.reason == ("CURSOR_MISMATCH" if of_another else "CURSOR_MALFORMED")

    @precondition(lambda self: self._follower is None)
    @rule()
    def begin_to_follow(self) -> None:
        request = subscribing(account_id=self._account, after_cursor=self._cursor or None)
        self._follower = RawSubscription(self._stage.events, request, metadata=self._metadata)
        self.run(self._follower.read_until("started"))
        self._followed = self._read

    @precondition(lambda self: self._follower is not None and self._followed < len(self._stored))
    @rule()
    def follow(self) -> None:
        assert self._follower is not None
        expected = self._stored[self._followed :]
        assert self.run(self._follower.read_ids(len(expected))) == expected
        self._followed = len(self._stored)

    @initialize()
    def begin(self) -> None:
        assert self.run(self._listed()) == []

    async def _listed(self) -> list[str]:
        request = v1.ListEventsRequest(account_id=self._account, page_size=1000)
        answer = await self._stage.events.ListEvents(request, metadata=self._metadata)
        return [each.event.event_id for each in answer.events]

    def teardown(self) -> None:
        """What is stored is what was accepted, and the upload is as far as was acknowledged."""
        assert self.run(self._listed()) == self._stored
        if self._is_held:
            request = v1.GetUploadRequest(account_id=self._account, upload_id=self._upload_id)
            state = self.run(self._state(request))
            assert state.committed_through == len(self._chunks)
            assert (state.state == v1.Upload.STATE_FINISHED) == self._is_finished
        for stream in (self._stream, self._follower):
            if stream is not None:
                stream.call.cancel()

    async def _state(self, request: v1.GetUploadRequest) -> v1.Upload:
        answer = await self._stage.ingest.GetUpload(request, metadata=self._metadata)
        upload: v1.Upload = answer.upload
        return upload


def owner() -> Any:
    """The principal that uploads and follows."""
    return principal(OWNER, "ingest", "read", "read.pii")


def known() -> HeldGrants:
    """All who call."""
    return HeldGrants(owner(), principal(OTHER, "ingest"))
