"""What a server must be able to do before it gets calls, and how probes read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Check(NamedTuple):
    """One condition that a server reports on."""

    name: str
    problem: str = ""
    """What is wrong; empty if nothing is."""
    is_required: bool = True
    """Whether the server is not ready while there is a problem; otherwise calls go on."""

    @property
    def prevents_calls(self) -> bool:
        """Whether the server is not ready because of it."""
        return self.is_required and bool(self.problem)

    def __str__(self) -> str:
        """A line of a report."""
        if not self.problem:
            return f"[+] {self.name}"
        return f"[{'-' if self.is_required else '!'}] {self.name}: {self.problem}"


class Readiness:
    """Whether a server is ready, from before it starts until after it has stopped."""

    def __init__(self) -> None:
        self._checks: Callable[[], Sequence[Check]] | None = None
        self._is_stopping = False

    def begin(self, checks: Callable[[], Sequence[Check]]) -> None:
        """Notes that the server takes calls; from now on `checks` are asked."""
        self._checks = checks

    def note_stopping(self) -> None:
        """Notes that the server takes no more calls."""
        self._is_stopping = True

    @property
    def is_ready(self) -> bool:
        """Whether the server should get calls."""
        return is_ready(self.checks())

    def checks(self) -> Sequence[Check]:
        """All conditions as they are now."""
        if self._is_stopping:
            return [Check("server", "is stopping")]
        if self._checks is None:
            return [Check("server", "is starting")]
        return [Check("server"), *self._checks()]


def is_ready(checks: Sequence[Check]) -> bool:
    """Whether a server with these conditions should get calls."""
    return not any(check.prevents_calls for check in checks)


def report(checks: Sequence[Check], *, is_verbose: bool) -> str:
    """The text of an answer; unless verbose, of a ready server `ok`, and otherwise what prevents calls."""
    lines = [str(check) for check in checks if is_verbose or check.prevents_calls]
    if is_ready(checks):
        lines.append("ok")
    return "\n".join(lines) + "\n"
