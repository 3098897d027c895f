"""Events of a wanted size, padded with text whose words are as unevenly frequent as in a language.

They are made once without ids and get new ones with every chunk, so that sending them costs little.
"""

from __future__ import annotations

import random
from typing import Final

from benchmarks.events import SEED, EventSource
from engagement import v1

_SYLLABLES: Final = (
    "an", "ba", "cor", "den", "el", "fa", "gri", "ho", "in", "ka", "lor", "men", "no", "or", "pi", "qua",
    "ren", "sta", "ti", "un", "ver", "wi", "yo", "ze",
)  # fmt: skip
_VOCABULARY: Final = 20_000
_MAX_TEXT_CHARACTERS: Final = 50_000
_POOL_BYTES: Final = 1024 * 1024
_MAX_POOL_EVENTS: Final = 1_000
_ID_CHARACTERS: Final = 48
_EVENTS_TAG, _ID_TAG = b"\x12", b"\x0a"


class TextEvents:
    """Chunks of events of about the same size."""

    def __init__(self, size_bytes: int) -> None:
        source, words = EventSource(), Words()
        count = max(4, min(_MAX_POOL_EVENTS, _POOL_BYTES // size_bytes))
        self._entries = [_entry(padded(event, words, size_bytes)) for event in source.take(count)]
        self._next = 0

    def chunk(self, upload_id: str, *, sequence: int, max_events: int, max_bytes: int) -> tuple[bytes, int]:
        """The serialized message of a chunk with new ids, and the number of its events."""
        parts: list[bytes] = []
        size_bytes = 0
        for index in range(max_events):
            prefix, body = self._entries[self._next]
            size_bytes += len(prefix) + _ID_CHARACTERS + len(body)
            if index and size_bytes > max_bytes:
                break
            parts += (prefix, event_id(upload_id, sequence, index).encode(), body)
            self._next = (self._next + 1) % len(self._entries)
        events = b"".join(parts)
        head = v1.UploadEventsRequest.Chunk(sequence=sequence).SerializeToString()
        # The field `chunk` of the request.
        return _EVENTS_TAG + _length(len(head) + len(events)) + head + events, len(parts) // 3


class Words:
    """An endless text."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._words = [
            "".join(self._random.choices(_SYLLABLES, k=self._random.choice((1, 2, 2, 3, 3, 4))))
            for _ in range(_VOCABULARY)
        ]
        total = 0.0
        # Zipf's law.
        self._weights = [total := total + 1 / rank for rank in range(1, _VOCABULARY + 1)]

    def text(self, characters: int) -> str:
        """So many characters of it."""
        words = self._random.choices(self._words, cum_weights=self._weights, k=characters // 2)
        return " ".join(words)[:characters]


def padded(event: v1.Event, words: Words, size_bytes: int) -> v1.Event:
    """The event, made as large with more attributes."""
    for number in range(size_bytes // _MAX_TEXT_CHARACTERS + 1):
        missing = size_bytes - event.ByteSize()
        if missing > 0:
            event.additional_attributes[f"note{number}"] = words.text(min(missing, _MAX_TEXT_CHARACTERS))
    return event


def event_id(upload_id: str, sequence: int, index: int) -> str:
    """The id of an event of a chunk; those of an upload are in order."""
    return f"{upload_id}-{sequence:07}-{index:03}"


def _entry(event: v1.Event) -> tuple[bytes, bytes]:
    """What stands before the id of an event in a chunk, and after it."""
    event.ClearField("event_id")
    body = event.SerializeToString()
    length = _length(2 + _ID_CHARACTERS + len(body))
    return _EVENTS_TAG + length + _ID_TAG + bytes([_ID_CHARACTERS]), body


def _length(number: int) -> bytes:
    """A varint."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
