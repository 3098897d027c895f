"""A clock that is wrong for a while destroys nothing, and everything is right again after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT, connect
from tests.support.events import customer_event, customer_events
from tests.support.raw_upload import RawUpload, chunk
from tests.support.server_process import ServerProcess, is_serving
from tests.support.shifted_clock import ShiftedClock
from tests.support.waiting import eventually

TWO_YEARS = timedelta(days=730)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path / "shift")


@contextmanager
def a_server(folder: Path, clock: ShiftedClock, *options: str) -> Iterator[ServerProcess]:
    with ServerProcess(folder / "data", environment=clock.environment, options=options) as process:
        yield process.start()


def a_client(process: ServerProcess) -> EngagementClient:
    return EngagementClient(process.address, account_id=ACCOUNT)


async def the_partition(client: EngagementClient) -> v1.Partition:
    (partition,) = (await client.get_server_info()).partitions
    return partition


async def stored_ids(client: EngagementClient) -> list[str]:
    return [stored.event.event_id async for stored in client.list_events()]


async def followed_ids(client: EngagementClient, start_time: datetime) -> list[str]:
    follower = client.follow(start_time=start_time, stop_at_tail=True)
    return [stored.event.event_id async for stored in follower]


async def wait_for_release(client: EngagementClient) -> None:
    async def is_released() -> bool:
        return not (await the_partition(client)).HasField("expiry_hold")

    await eventually(is_released, "the hold has ended")


@pytest.mark.parametrize(("workers", "end"), [("1", ServerProcess.kill), ("2", ServerProcess.stop)])
async def test_a_clock_that_was_two_years_ahead_for_two_starts_leaves_all_as_it_was(
    tmp_path: Path, clock: ShiftedClock, workers: str, end: Callable[[ServerProcess], int | None]
) -> None:
    with a_server(tmp_path, clock, "--workers", workers) as server:
        async with a_client(server) as client:
            await client.record_events(customer_events(30))
        async with connect(server.address) as connection:
            upload = RawUpload(connection.ingest)
            await upload.open()
            await upload.send(chunk(1, customer_event("uploaded")))
            await upload.receive_acks(1)
            upload.call.cancel()
        end(server)
        clock.shift(TWO_YEARS)
        for start in ("first", "second"):
            server.start()
            async with a_client(server) as client:
                await client.record_event(customer_event(f"ahead-{start}", balance=start))
                hold = (await the_partition(client)).expiry_hold
                assert hold.reason == v1.ExpiryHold.REASON_CLOCK_AHEAD
                assert not await asyncio.to_thread(is_serving, server.address, "expiry")
                assert await asyncio.to_thread(is_serving, server.address)
                assert (hold.due_events, hold.stored_events) == (31, 31 + (2 if start == "second" else 1))
            end(server)
        clock.shift(timedelta())
        server.start()
        right_time = datetime.now(UTC)
        async with a_client(server) as client:
            await wait_for_release(client)
            assert await asyncio.to_thread(is_serving, server.address, "expiry")
            await client.record_event(customer_event("right", balance="right"))
            everything = [*(event.event_id for event in customer_events(30)), "uploaded"]
            everything += ["ahead-first", "ahead-second", "right"]
            assert await stored_ids(client) == everything
            assert await followed_ids(client, right_time - HOUR) == everything
            assert await followed_ids(client, right_time) == everything[-3:]
            assert await followed_ids(client, right_time + TWO_YEARS / 2) == everything[-3:]
            assert (await client.get_profile(consumer_id="ada")).customer_info.balance == "right"
            assert (await client.get_upload("upload")).committed_through == 1


def run(server: ServerProcess, *arguments: str, status: int = 0) -> str:
    """The output of a command."""
    done = Cli(server.data_dir.parent, server=server.address).run_process(*arguments)
    assert done.status == status, done.stderr
    return done.stdout


def error_of(server: ServerProcess, *arguments: str) -> str:
    """The error of a command."""
    done = Cli(server.data_dir.parent, server=server.address).run_process(*arguments)
    assert done.status == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_expiry_that_would_remove_most_events_waits_for_an_operator(
    tmp_path: Path, clock: ShiftedClock, workers: str
) -> None:
    clock.shift(-timedelta(days=4))
    with a_server(tmp_path, clock, "--retention-days", "3", "--workers", workers) as server:
        async with a_client(server) as client:
            await client.record_events(customer_events(30))
        server.stop()
        clock.shift(timedelta())
        server.start()
        assert "would remove more than a tenth of the events" in run(server, "expiry", "status", status=1)
        assert "would remove\t30 of 30 events" in run(server, "expiry", "status", status=1)
        assert "'--days': must be more than 0 and at most 36500; got nan" in error_of(
            server, "retention", "set", "--days", "nan", "--yes"
        )
        set_meanwhile = run(server, "retention", "set", "--days", "3", "--yes")
        assert "Removed once `engagement expiry release` ends the hold: 30 of 30 events" in set_meanwhile
        server.kill()
        server.start()
        async with a_client(server) as client:
            assert len(await stored_ids(client)) == 30
            assert "Removed now: 30 of 30 events" in run(server, "expiry", "release", "--yes")

            async def is_empty() -> bool:
                return not await stored_ids(client)

            await eventually(is_empty, "the events have expired")
        assert run(server, "expiry", "release", "--yes") == "Expiry was not held.\n"
        status = run(server, "expiry", "status")
        assert "expiry\tgoes on" in status
        assert "removed so far\t30 events" in status
        server.stop()
    assert "WARNING engagement_server.jobs.retention: expiry is held since" in server.messages
    assert "removed 30 events that were accepted before" in server.messages


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_retention_is_changed_for_the_data_after_a_look_at_what_goes(
    tmp_path: Path, clock: ShiftedClock, workers: str
) -> None:
    clock.shift(-timedelta(days=4))
    with a_server(tmp_path, clock, "--workers", workers) as server:
        async with a_client(server) as client:
            await client.record_events(customer_events(30))
        server.kill()
        clock.shift(timedelta())
        server.start()
        assert "keeps events for 396 days, removes those accepted before 20" in server.messages
        preview = run(server, "retention", "set", "--days", "3", "--preview")
        assert preview.startswith("Removed at once: 30 of 30 events, accepted before 20")
        assert "retention\t396 days" in run(server, "retention", "show")
        changed = run(server, "retention", "set", "--days", "3", "--yes")
        assert changed.startswith("Events are kept for 3 days; before, 396 days. Removed now: 30 of 30")
        async with a_client(server) as client:

            async def is_empty() -> bool:
                return not await stored_ids(client)

            await eventually(is_empty, "the events have expired")
        too_short = error_of(server, "retention", "set", "--days", "0.5", "--yes")
        assert "must be at least a day" in too_short
        assert run(server, "retention", "set", "--days", "1", "--yes").startswith(
            "Events are kept for 1 day;"
        )
        assert run(server, "retention", "set", "--days", "3", "--yes").count("before, 1 day.") == 1
        server.stop()
        refused = Cli(tmp_path).run_process("serve", "--data", str(server.data_dir), "--retention-days", "30")
        assert refused.status == 2
        assert "keeps events for 3 days, and --retention-days asks for 30 days" in refused.stderr
        assert "`engagement retention set --days 30`" in refused.stderr
        server.start()
        assert "retention\t3 days" in run(server, "retention", "show")
