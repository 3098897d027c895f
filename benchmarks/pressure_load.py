"""The load that one neighbour makes: when it begins and ends, and what the server has answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from benchmarks.child import Parent
from engagement.errors import error_from_rpc
from engagement.uuid7 import uuid7

OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
_MAX_SAMPLES: Final = 500
# A rude neighbour ignores how long it should wait, but does not spin.
_PAUSE_SECONDS: Final = 0.05


class Load:
    """What a neighbour does, and what came of it."""

    def __init__(self, address: str, options: dict[str, Any], parent: Parent) -> None:
        """The options are those of its kind."""
        self.address = address
        self.options = options
        self.name = uuid7()[-12:]
        """Distinguishes this process from others of its kind."""
        self.unit = "calls"
        self.done = 0
        """In that unit."""
        self.refused: Counter[str] = Counter()
        self.notes: dict[str, float] = {}
        self.uploads: list[tuple[str, str, int]] = []
        """Account and id of each upload, and how many of its events were accepted, by its last ack."""
        self.recorded: Counter[str] = Counter()
        """Events by account that were acknowledged one by one."""
        self.samples: list[tuple[str, str]] = []
        """Account and id of some acknowledged events."""
        self.latencies_ms: list[float] = []
        self._parent = parent
        self._over = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._seconds = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the measurement has ended."""
        return self._over.is_set()

    async def begin(self) -> None:
        """Tells that everything is prepared, and waits for the start of the measurement."""
        self._parent.report("ready")
        await self._parent.line()
        self._began = self._clock()
        self._listening = asyncio.create_task(self._end())

    async def end(self) -> None:
        """Waits for the end of the measurement."""
        await self._over.wait()

    async def pause(self, seconds: float = _PAUSE_SECONDS) -> None:
        """Waits that long, or until the measurement ends."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    def sample(self, account_id: str, event_id: str) -> None:
        """Remembers an acknowledged event, if there are not too many."""
        if len(self.samples) < _MAX_SAMPLES:
            self.samples.append((account_id, event_id))

    async def repeat(self, callers: int, call: Callable[[int], Awaitable[object]]) -> None:
        """Lets callers make one call after the other; each gets its number. Running calls are cancelled."""

        async def repeatedly(number: int) -> None:
            while not self.is_over:
                start = self._clock()
                try:
                    await call(number)
                except grpc.aio.AioRpcError as error:
                    self.refused[reason_of(error)] += 1
                    await self.pause()
                else:
                    self.done += 1
                    self.latencies_ms.append((self._clock() - start) * 1000)

        tasks = [asyncio.create_task(repeatedly(number)) for number in range(callers)]
        ending = asyncio.create_task(self.end())
        await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # it ends early only if it fails
            task.cancel()
        await asyncio.wait(tasks)

    def report(self) -> dict[str, object]:
        """Everything, for the process that started this one."""
        return {
            "unit": self.unit,
            "seconds": self._seconds,
            "per_second": self.done / self._seconds,
            "refused": self.refused,
            "notes": self.notes,
            "uploads": self.uploads,
            "recorded": self.recorded,
            "samples": self.samples,
            "latencies_ms": self.latencies_ms,
        }

    async def _end(self) -> None:
        await self._parent.line()  # or the end of that process
        self._seconds = self._clock() - self._began
        self._over.set()


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with a connection of its own, established."""
    async with grpc.aio.insecure_channel(address, options=OWN_CONNECTION) as channel:
        await channel.channel_ready()
        yield channel


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The status of a refused call with its reason; marked if it should say when to retry, and does not."""
    details = error_from_rpc(error)
    name = f"{error.code().name}/{details.reason or 'no reason'}"
    is_temporary = error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    return f"{name} without RetryInfo" if is_temporary and not details.retry_delay_seconds else name
