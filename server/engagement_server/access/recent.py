"""A bounded memory of answers that took work; the one that was asked for longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The latest answers, by question."""

    def __init__(self, *, max_answers: int) -> None:
        self._answers: OrderedDict[Key, Value] = OrderedDict()
        self._max_answers = max_answers

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Value | None:
        """The answer, if it is remembered."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def add(self, key: Key, answer: Value) -> None:
        """Remembers an answer."""
        self._answers[key] = answer
        if len(self._answers) > self._max_answers:
            self._answers.popitem(last=False)

    def discard(self, key: Key) -> None:
        """Drops an answer."""
        self._answers.pop(key, None)

    def clear(self) -> None:
        """Drops all answers."""
        self._answers.clear()
