"""Makes the events of the measurements: realistic in shape, with ids that are hard for an index.

Everything except event ids and times depends only on the seed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from engagement import v1
from engagement.limits import MAX_CHUNK_EVENTS
from engagement.uuid7 import uuid7

SEED = 20240229
CONSUMERS = 1_000_000
EVENTS_A_CONVERSATION = 5
COMMON_STATUS = "cancelled"
_DAY_MS = 24 * 60 * 60 * 1000

_STATUSES = (COMMON_STATUS, "active", "pending", "overdue", "new", "lapsed", "blocked", "trial")
_TYPES = ("vip", "gold", "silver", "standard", "employee")
_CURRENCIES = ("EUR", "USD", "GBP", "JPY")
_LOGINS = ("logged in", "logged out", "guest")
_GIVEN_NAMES = ("ada", "bela", "carlos", "dina", "emil", "fatima", "goran", "hana", "ivo", "jun")
_PLACES = ("Harbour", "Hillside", "Lakeside", "Meadow", "Northern", "Orchard", "Prairie", "Valley")
_TRADES = ("Bakery", "Books", "Clinic", "Foods", "Freight", "Garden", "Insurance", "Travel")
_GRADES = ("Head", "Clerk", "Director", "Assistant", "Manager")
_OFFICES = ("Purchasing", "Finance", "Logistics", "Marketing", "Operations", "Support")


class EventSource:
    """An endless sequence of events for one run."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._made = 0
        # A millisecond an event stays behind the clock for the largest runs.
        self._first_time_ms = time.time_ns() // 1_000_000 - _DAY_MS
        self._conversation_id = ""

    def take(self, count: int) -> list[v1.Event]:
        """The next events."""
        return [self._make() for _ in range(count)]

    def take_chunks(self, count: int) -> Iterator[list[v1.Event]]:
        """The next events in full chunks, made as they are asked for."""
        for _ in range(0, count, MAX_CHUNK_EVENTS):
            yield self.take(MAX_CHUNK_EVENTS)

    def _make(self) -> v1.Event:
        if self._made % EVENTS_A_CONVERSATION == 0:
            self._conversation_id = _uuid_text(self._random.getrandbits(128))
        self._made += 1
        return v1.Event(
            event_id=uuid7(),
            consumer_id=_consumer_id(self._below(CONSUMERS)),
            conversation_id=self._conversation_id,
            authenticated=True,
            source="web",
            customer_info=self._customer_info(),
        )

    def _customer_info(self) -> v1.CustomerInfo:
        info = v1.CustomerInfo(
            server_time_stamp=self._first_time_ms + self._made,
            customer_status=self._one_of(_STATUSES),
            customer_type=self._one_of(_TYPES),
            balance=f"{self._below(2_000_000) / 100 - 10_000:.2f}",
            customer_id=f"C{self._below(100_000_000):08d}",
            # The word that hardly any other event has.
            user_name=f"{self._one_of(_GIVEN_NAMES)}{self._below(1_000_000)}",
            account_name=f"{self._one_of(_PLACES)} {self._one_of(_TRADES)}",
            role=f"{self._one_of(_GRADES)} of {self._one_of(_OFFICES)}",
            last_payment_date=self._date(),
            registration_date=self._date(),
            store_number=str(self._below(900)),
            login_status=self._one_of(_LOGINS),
            currency=self._one_of(_CURRENCIES),
        )
        if self._made % 2:
            info.company_size = str(self._below(5_000))
        return info

    def _date(self) -> v1.Date:
        return v1.Date(year=2010 + self._below(14), month=1 + self._below(12), day=1 + self._below(28))

    def _below(self, end: int) -> int:
        # A third of the time of randrange, which checks its arguments; the bias is of no matter here.
        return int(self._random.random() * end)

    def _one_of(self, words: tuple[str, ...]) -> str:
        return words[self._below(len(words))]


def _consumer_id(number: int) -> str:
    """Ids in the form of UUIDs that are scattered over the whole range, as real ones are."""
    return _uuid_text(number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))


def _uuid_text(number: int) -> str:
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
