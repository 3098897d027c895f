"""Stats go on whatever the clock does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engagement import EngagementClient
from engagement.errors import EngagementError
from tests.support.connection import ACCOUNT
from tests.support.events import bad_event, customer_event
from tests.support.server_process import ServerProcess
from tests.support.shifted_clock import ShiftedClock
from tests.support.waiting import eventually

TWO_YEARS = timedelta(days=730)


async def test_a_clock_that_is_set_forward_and_back_hides_nothing(tmp_path: Path) -> None:
    clock = ShiftedClock(tmp_path / "shift")
    with ServerProcess(tmp_path / "data", environment=clock.environment).start() as server:
        async with EngagementClient(server.address, account_id=ACCOUNT) as client:
            await client.record_event(customer_event("now"))

            async def told(*, held: bool, source: str) -> bool:
                stats = await client.get_server_stats()
                (partition,) = stats.partitions
                assert partition.HasField("next_expiry_time") <= (not partition.HasField("expiry_hold"))
                sources = {rule.source for rule in stats.rejected_rules}
                return partition.HasField("expiry_hold") == held and source in sources

            for shift, held in ((TWO_YEARS, True), (timedelta(), False)):
                clock.shift(shift)
                event = bad_event()
                event.source = f"shifted by {shift.days} days"
                with pytest.raises(EngagementError):
                    await client.record_event(event)
                await client.record_event(customer_event(event.source))
                if not held:
                    await client.release_expiry()
                await eventually(
                    lambda held=held, source=event.source: told(held=held, source=source),  # type: ignore[misc]
                    f"what happens is told {event.source}",
                )
            stats = await client.get_server_stats()
            assert all(sample.duration.ToTimedelta() < TWO_YEARS for sample in stats.samples)
            assert sum(sample.accepted_events for sample in stats.samples) == 3
