"""Votes on what a view has applied: none is lost, whenever it becomes due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from engagement_server.errors import StoreUnavailableError
from engagement_server.log.nats import voting
from engagement_server.log.nats.publisher import Publisher
from engagement_server.log.nats.voting import Voting
from engagement_server.log_entries import DigestVote
from engagement_server.store.log_digest import DigestState
from tests.support.waiting import deadline, eventually

NOTHING = DigestState(None, [], None)


class Stream:
    """Takes messages once it is open, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.failures = 0
        self.taken: list[str] = []

    async def put(self, message_id: str, _: bytes, *, deadline: float) -> None:
        assert deadline
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the stream is full")
        self.taken.append(message_id)


class View:
    """What a view has to say whenever it is compared."""

    def __init__(self, stream: Stream) -> None:
        self.due: Sequence[DigestVote] = ()
        self.voting = Voting(cast("Publisher", stream), compare=self._compare, is_current=lambda: True)

    def pass_boundary(self, sequence: int) -> None:
        self.due = [*self.due, DigestVote(sequence, b"digest", "view")]
        self.voting.begin(NOTHING._replace(due=[self.due[-1]]))

    async def _compare(self) -> DigestState:
        await asyncio.sleep(0)
        return NOTHING._replace(due=[*self.due])


def sequences(stream: Stream) -> set[int]:
    return {int(message_id.split(".")[1]) for message_id in stream.taken}


@pytest.mark.parametrize("has_begun", [False, True])
async def test_what_becomes_due_while_a_vote_is_on_its_way_is_voted_on_as_well(*, has_begun: bool) -> None:
    stream = Stream()
    view = View(stream)
    view.pass_boundary(1)
    if has_begun:
        await asyncio.sleep(0.01)
    view.pass_boundary(2)
    stream.open.set()
    await eventually(lambda: sequences(stream) == {1, 2}, "both votes are in the stream")
    await view.voting.close()


async def test_a_vote_that_cannot_be_published_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voting, "_RETRY_SECONDS", 0)
    stream = Stream()
    stream.failures = 2
    stream.open.set()
    view = View(stream)
    view.pass_boundary(1)
    await eventually(lambda: sequences(stream) == {1}, "the vote is in the stream")
    await view.voting.close()


async def test_an_end_right_after_a_vote_has_become_due_leaves_nothing_behind() -> None:
    view = View(Stream())
    view.pass_boundary(1)
    async with deadline("the end"):
        await view.voting.close()
