"""Reads the whole log from each of its servers, and says which messages are missing or damaged on which."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.errors import DamagedMessageError, UnreadableCommitError
from engagement_server.log.nats.divergence import require_quorum
from engagement_server.log.nats.incoming import read_skips
from engagement_server.log.nats.marks import is_foreign, require_intact

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.stream import NatsStream

MAX_FINDINGS = 1_000
"""Limit on the findings of a kind for each server; beyond it, foreign ones apart, it is read no further."""
# The stream chooses a server at random; after so many attempts it is unlikely that one was never chosen.
_ATTEMPTS_PER_SERVER = 8
# After so long without a message a server has no more.
_SILENCE_SECONDS = 4.0

MISSING = "missing"
DAMAGED = "damaged"
FOREIGN = "foreign"
OTHER_VERSION = "of another version"


class Finding(NamedTuple):
    """Something about one message."""

    sequence: int
    kind: str
    servers: Sequence[str]
    """Those that have it so."""
    is_everywhere: bool
    """Whether no server that was read has the message intact."""
    is_skipped: bool
    """Whether all views skip it."""

    @property
    def is_harmless(self) -> bool:
        """Whether views pass the message."""
        return self.kind == FOREIGN or self.is_skipped


class CheckedLog(NamedTuple):
    """What is in the log."""

    name: str
    first_sequence: int
    last_sequence: int
    read: Sequence[str]
    """The servers whose copies were read; one without a name if there is only one server."""
    unread: Sequence[str]
    findings: Sequence[Finding]
    is_cut: bool
    """Whether there may be more findings than these."""


@dataclass(slots=True)
class _Copy:
    """The log as one server has it."""

    next_sequence: int
    last_sequence: int
    findings: list[tuple[int, str]] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    """How many of each kind."""

    def add(self, message: Message) -> None:
        self._miss_until(message.sequence)
        self.next_sequence = message.sequence + 1
        kind = _kind_of(message)
        if kind and message.sequence <= self.last_sequence:
            self._note(message.sequence, kind)

    def finish(self) -> None:
        if not self._is_hopeless:
            self._miss_until(self.last_sequence + 1)

    @property
    def is_cut(self) -> bool:
        return max(self.found.values(), default=0) > MAX_FINDINGS

    @property
    def is_done(self) -> bool:
        return self.next_sequence > self.last_sequence or self._is_hopeless

    @property
    def _is_hopeless(self) -> bool:
        return any(number > MAX_FINDINGS for kind, number in self.found.items() if kind != FOREIGN)

    def _miss_until(self, sequence: int) -> None:
        for each in range(self.next_sequence, min(sequence, self.last_sequence + 1)):
            self._note(each, MISSING)
            if self.found[MISSING] > MAX_FINDINGS:
                return

    def _note(self, sequence: int, kind: str) -> None:
        self.found[kind] += 1
        if self.found[kind] <= MAX_FINDINGS:
            self.findings.append((sequence, kind))


async def check_log(stream: NatsStream) -> CheckedLog:
    """Reads the log from each server that keeps it. Raises LogUnreachableError and UnreadableCommitError."""
    state = await require_quorum(stream)
    skips = await read_skips(stream, is_damage_ignored=True)
    copies: dict[str, _Copy] = {}
    servers = await stream.servers()
    for server in servers:
        for _ in range(_ATTEMPTS_PER_SERVER * len(servers)):
            copy = await _read_copy(stream, server, state.first_sequence, state.last_sequence)
            if copy is not None:
                copies[server] = copy
                break
    return CheckedLog(
        stream.settings.name,
        state.first_sequence,
        state.last_sequence,
        sorted(copies),
        sorted(set(servers) - copies.keys()),
        _compare(copies, skips),
        any(copy.is_cut for copy in copies.values()),
    )


async def _read_copy(stream: NatsStream, server: str, first: int, last: int) -> _Copy | None:
    """Reads the messages that one server has; None if another one was chosen, or this one too late."""
    copy = _Copy(first, last)
    loop = asyncio.get_running_loop()
    chosen_at = math.inf

    def accepts(chosen: str) -> bool:
        nonlocal chosen_at
        chosen_at = loop.time()
        return chosen == server or not server

    async with contextlib.aclosing(stream.copy(after=first - 1, accepts=accepts)) as batches:
        while not copy.is_done:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    messages = await anext(batches, None)
            except TimeoutError:
                if loop.time() - chosen_at < _SILENCE_SECONDS / 2:  # it has hardly begun
                    return None
                break
            if messages is None:
                return None
            for message in messages:
                copy.add(message)
    copy.finish()
    return copy


def _kind_of(message: Message) -> str:
    if is_foreign(message):
        return FOREIGN
    try:
        require_intact(message)
    except DamagedMessageError:
        return DAMAGED
    except UnreadableCommitError:
        return OTHER_VERSION
    return ""


def _compare(copies: dict[str, _Copy], skips: Sequence[int]) -> list[Finding]:
    by_message: dict[tuple[int, str], list[str]] = {}
    for server, copy in copies.items():
        for found in copy.findings:
            by_message.setdefault(found, []).append(server)
    bad = Counter(sequence for (sequence, _), servers in by_message.items() for _ in servers)
    return [
        Finding(sequence, kind, sorted(servers), bad[sequence] == len(copies), sequence in skips)
        for (sequence, kind), servers in sorted(by_message.items())
    ]
