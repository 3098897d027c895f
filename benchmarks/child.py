"""Processes that a measurement starts, and tells when to begin and to end: a line each, with JSON back."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

# A report may hold each latency and each upload.
_MAX_LINE_BYTES: Final = 64 * 1024 * 1024
_ANSWER_SECONDS: Final = 90
_END_SECONDS: Final = 10


class Child:
    """A module that runs in a process of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, module: str, *arguments: str) -> AsyncIterator[Self]:
        """Starts `python -m module`; the process ends with the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        try:
            yield cls(" ".join((module, *arguments)), process)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(_END_SECONDS):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

    def tell(self, line: str) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def answer(self) -> Any:  # Any: what JSON holds
        """The next value that the process reports. Raises RuntimeError if it fails."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} failed")
        return json.loads(line)


class Parent:
    """The process that started this one."""

    def __init__(self) -> None:
        self._lines = asyncio.StreamReader()

    async def connect(self) -> None:
        """Begins to listen."""
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._lines), sys.stdin)

    async def line(self) -> str:
        """What it says next; an empty line once it has ended."""
        return (await self._lines.readline()).decode().strip()

    def report(self, value: object) -> None:
        """Sends a value."""
        print(json.dumps(value), flush=True)
