"""Random bits of a store flip: each answer of a server is right or DATA_LOSS, or its start is refused."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import batch_of, customer_event
from tests.support.server_process import ServerProcess

COPIES = int(os.environ.get("FLIPPED_SERVERS", "1"))
"""For a server of several processes; twice as many for one, which starts faster."""
_EVENTS = 500
_CONSUMERS = 20
_DAMAGE = [b"DATA_LOSS"]

Answers = dict[str, list[bytes]]


def event(number: int) -> v1.Event:
    """An event that is found by its words, its consumer and its id."""
    made = customer_event(f"event-{number:03}", role=f"word{number % 30} text {number}")
    made.consumer_id = f"consumer-{number % _CONSUMERS}"
    return made


async def listed(connection: Connection, wanted: v1.EventFilter) -> list[bytes]:
    return [each.SerializeToString(deterministic=True) async for each in connection.stored(wanted=wanted)]


async def got(call: Awaitable[v1.GetEventResponse | v1.GetProfileResponse]) -> list[bytes]:
    return [(await call).SerializeToString(deterministic=True)]


async def ask(address: str) -> Answers:
    """Asks a server for all that it has, and for some of it by each way that leads there."""
    answers: Answers = {}
    async with connect(address) as connection:
        events = connection.events
        questions = {
            "all": listed(connection, v1.EventFilter()),
            "a word": listed(connection, v1.EventFilter(text="word7")),
            "a consumer": listed(connection, v1.EventFilter(consumer_ids=["consumer-3"])),
            "an event": got(events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id="event-077"))),
            "a profile": got(
                events.GetProfile(v1.GetProfileRequest(account_id=ACCOUNT, consumer_id="consumer-5"))
            ),
        }
        for name, question in questions.items():
            try:
                answers[name] = await question
            except grpc.aio.AioRpcError as error:
                answers[name] = [error.code().name.encode()]
    return answers


def flip(path: Path, chance: random.Random) -> list[int]:
    """Flips a bit anywhere in a file, and one of an event's text; returns which."""
    content = bytearray(path.read_bytes())
    texts = [found.start() for found in re.finditer(rb"word\d+ text \d+", content)]
    bits = [chance.randrange(len(content) * 8), chance.choice(texts) * 8 + chance.randrange(3)]
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return bits


def try_copy(server: ServerProcess, truth: Answers) -> str:
    """Starts a server on a damaged copy; returns what becomes of it. Fails if an answer is wrong."""
    server.launch()
    try:
        address = server.first_line().removeprefix("listening on ")
    except AssertionError:
        assert server.wait() == 2, server.messages
        assert re.search(r"engagement: \S+ (is damaged|cannot be used)", server.messages), server.messages
        return "refused"
    answers = asyncio.run(ask(address))
    assert server.stop() == 0, server.messages
    wrong = {name: answer[:1] for name, answer in answers.items() if answer not in (truth[name], _DAMAGE)}
    assert not wrong, wrong
    return "noticed" if _DAMAGE in answers.values() else "no difference"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store."""
    folder = tmp_path_factory.mktemp("stores") / "whole"
    batch = batch_of([event(number) for number in range(_EVENTS)])
    with closing(DatabaseFile(folder)) as database, closing(database.open_writer()) as connection:
        Writer(connection).apply(Commit([RecordBatch(ACCOUNT, batch, is_atomic=True)], now_ms()))
    return folder


@pytest.fixture(scope="module")
def truth(whole: Path) -> Answers:
    """The answers of a server over the whole store."""
    with ServerProcess(shutil.copytree(whole, whole.with_name("asked"))).start() as server:
        answers = asyncio.run(ask(server.address))
    assert _DAMAGE not in answers.values()
    return answers


@pytest.mark.parametrize(("workers", "copies"), [("1", 2 * COPIES), ("2", COPIES)])
@pytest.mark.timeout(60 + 10 * COPIES)
def test_no_answer_of_a_server_with_flipped_bits_is_wrong(
    whole: Path, truth: Answers, tmp_path: Path, workers: str, copies: int
) -> None:
    chance = random.Random(COPIES)
    tally: Counter[str] = Counter()
    for number in range(copies):
        copy = shutil.copytree(whole, tmp_path / f"copy-{number}")
        bits = flip(copy / "engagement.db", chance)
        with ServerProcess(copy, options=("--workers", workers)) as server:
            try:
                tally[try_copy(server, truth)] += 1
            except AssertionError as error:
                error.add_note(f"bits {bits} of {copy / 'engagement.db'}")
                raise
    print(tally)  # shown with -s
    assert tally["no difference"] == 0
