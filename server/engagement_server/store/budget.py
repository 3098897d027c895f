"""The processor time that one step of a read may take (docs/decisions/0050-reads-have-a-budget.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

STEP_SECONDS = 0.02
"""A step of a read on behalf of a caller; other reads get their turn between two steps."""
# The search index counts few steps of SQLite for much work: a page of it takes about ten.
_OPERATIONS_A_LOOK = 500


class Budget:
    """Begins when it is created, on the thread that reads."""

    def __init__(self, seconds: float | None) -> None:
        """None: it never ends."""
        self._seconds = seconds
        self._start_seconds = time.thread_time()

    @property
    def is_limited(self) -> bool:
        """Whether it ends at all."""
        return self._seconds is not None

    @property
    def used_share(self) -> float:
        """The share that is spent so far."""
        if not self._seconds:
            return 0.0 if self._seconds is None else 1.0
        return (time.thread_time() - self._start_seconds) / self._seconds

    @property
    def is_spent(self) -> bool:
        """Whether the step should end."""
        return self._seconds is not None and time.thread_time() - self._start_seconds >= self._seconds

    @contextmanager
    def interrupting(self, connection: apsw.Connection) -> Iterator[None]:
        """Interrupts statements of a connection once the budget is spent; they raise apsw.InterruptError."""
        if self._seconds is None:
            yield
            return
        connection.set_progress_handler(lambda: self.is_spent, _OPERATIONS_A_LOOK)
        try:
            yield
        finally:
            connection.set_progress_handler(None)
