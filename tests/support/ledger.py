"""Compares the events that a test sent, and those that were acknowledged, with the stored ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from engagement import v1
from tests.support.connection import ACCOUNT, Connection

_SAMPLE = 5
_MAX_EVENTS = 100_000


class Ledger:
    """The events of a test; `check` compares them with the server."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.is_closed = False
        """There are no more events to draw."""
        self._sent: dict[str, v1.Event] = {}
        self._groups: list[Sequence[str]] = []
        self._acknowledged: dict[str, str] = {}
        self._cursors: dict[str, str] = {}  # in the order of acceptance
        self._ids_by_cursor: dict[str, str] = {}

    def draw(self, count: int) -> list[v1.Event]:
        """New events to send together, which must be stored together or not at all; none once closed.

        Fails when the test has sent far more than it needs: what should have ended its producers did not.
        """
        if self.is_closed:
            return []
        assert len(self._sent) < _MAX_EVENTS, f"nothing ended the producers within {_MAX_EVENTS} events"
        events = [self._new_event() for _ in range(count)]
        self._sent |= {event.event_id: event for event in events}
        self._groups.append([event.event_id for event in events])
        return events

    def acknowledge(self, results: Iterable[v1.EventResult]) -> None:
        """Notes the server's answers, which must agree with the events found before."""
        for result in results:
            known = self._cursors.get(result.event_id)
            if known is None:
                assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED, result
                self._name(result.event_id, cursor=result.cursor)
            else:
                assert result.outcome == v1.Outcome.OUTCOME_DUPLICATE, result
                assert result.cursor == known
            self._acknowledged[result.event_id] = result.cursor

    def acknowledge_chunk(self, events: Iterable[v1.Event]) -> None:
        """Notes an ack of a chunk with these good events; it names no cursors."""
        for event in events:
            self._acknowledged.setdefault(event.event_id, "")

    def is_stored(self, event: v1.Event) -> bool:
        """Whether the last check found an event."""
        return event.event_id in self._cursors

    async def check(self, connection: Connection) -> None:
        """Checks that acknowledged events are stored, stored ones were sent, once, and none moved."""
        fresh: list[v1.StoredEvent] = []
        last = next(reversed(self._cursors), None)
        async for stored in connection.stored(newest_first=True):
            if stored.event.event_id == last:
                break
            fresh.append(stored)
        for stored in reversed(fresh):
            self._admit(stored)
        for event_id, cursor in self._acknowledged.items():
            assert event_id in self._cursors, f"{event_id} was acknowledged and is lost"
            assert cursor in ("", self._cursors[event_id])
        self._acknowledged.clear()
        self._check_groups()
        for event_id in self.random.sample(list(self._cursors), min(_SAMPLE, len(self._cursors))):
            await self._check_lookups(connection, event_id)

    async def check_complete(self, connection: Connection) -> None:
        """Checks that the stored events are the sent ones, each once, in the order found before."""
        await self.check(connection)
        stored = {stored.event.event_id: stored.cursor async for stored in connection.stored()}
        assert list(stored.items()) == list(self._cursors.items())
        assert stored.keys() == self._sent.keys()

    def _new_event(self) -> v1.Event:
        return v1.Event(
            event_id=f"event-{self.random.getrandbits(64):016x}",
            consumer_id=f"consumer-{self.random.getrandbits(32):08x}",
            customer_info=v1.CustomerInfo(
                server_time_stamp=1_700_000_000_000 + self.random.randrange(10**9),
                balance=str(self.random.randrange(10**6)),
                user_name="x" * self.random.randrange(200),
            ),
        )

    def _name(self, event_id: str, *, cursor: str) -> None:
        assert self._ids_by_cursor.setdefault(cursor, event_id) == event_id, "a position was given twice"

    def _admit(self, stored: v1.StoredEvent) -> None:
        event_id = stored.event.event_id
        assert event_id not in self._cursors, f"{event_id} is stored twice, or moved"
        assert stored.event == self._sent[event_id]
        self._name(event_id, cursor=stored.cursor)
        self._cursors[event_id] = stored.cursor

    def _check_groups(self) -> None:
        pending: list[Sequence[str]] = []
        for group in self._groups:
            found = sum(event_id in self._cursors for event_id in group)
            assert found in (0, len(group)), "a call or chunk is stored in part"
            if not found:
                pending.append(group)
        self._groups = pending

    async def _check_lookups(self, connection: Connection, event_id: str) -> None:
        by_cursor = await connection.events.GetEvent(
            v1.GetEventRequest(account_id=ACCOUNT, cursor=self._cursors[event_id])
        )
        by_id = await connection.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id=event_id))
        wanted = v1.EventFilter(consumer_ids=[self._sent[event_id].consumer_id])
        by_value = [stored async for stored in connection.stored(wanted=wanted)]
        assert by_cursor.event == by_id.event
        assert by_id.event in by_value
        assert by_id.event.event == self._sent[event_id]
