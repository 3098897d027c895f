"""Reads JSON incrementally from a stream of bytes; it knows nothing of events.

An export may have many gigabytes, so only one value is held at a time.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import count
from typing import BinaryIO, Final

from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.values import Constant, Json, Number, object_of

MAX_VALUE_CHARACTERS: Final = 16 * 1024 * 1024
"""The maximum length of a value that is read at once, and of an event."""
BLOCK_BYTES: Final = 256 * 1024

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_MEMBER_END = re.compile(r'(?<!\\)"[ \t\n\r]*:')
_MAX_REPAIRS = 1000
_LONGEST_TOKEN = 16  # more than "-Infinity" or a pair of \uXXXX escapes takes
_REMEDY = "repair it or fetch it again"
_CUT_OFF = "the input ends in the middle of a value; fetch it again"


class Absent(Enum):
    """The place of a value that there is none of."""

    ABSENT = auto()


ABSENT: Final = Absent.ABSENT


class Scanner:
    """A position in a stream of JSON; reads values, or enters arrays and objects.

    Bytes that are not UTF-8 become lone surrogates, so that they invalidate only the text that holds them.
    A byte order mark at the beginning is skipped. A comma behind the last item of an array or object, as
    people write it, is ignored and reported in `trailing_comma`. Every method raises CorruptInputError if the
    input is not what it expects.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        block_bytes: int = BLOCK_BYTES,
        max_value_characters: int = MAX_VALUE_CHARACTERS,
    ) -> None:
        # read1 returns the bytes before a failure; read would discard them.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._block_bytes = block_bytes
        self.max_value_characters = max_value_characters
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._decode = json.JSONDecoder(
            parse_int=Number, parse_float=Number, parse_constant=self._note_constant
        ).raw_decode
        self.has_constants = False
        """Whether any value so far had a Constant."""
        self._text = ""
        self._at = 0
        self._has_ended = False
        self._end_reason = _CUT_OFF
        self._characters_dropped = 0
        self._lines_dropped = 0
        self._bytes_read = 0
        self._taken = (0, 0)
        self._trailing_commas = 0
        self._first_comma = ""

    @property
    def trailing_comma(self) -> str:
        """Where a comma stands behind the last item of an array or object; empty if nowhere."""
        more = f", and {self._trailing_commas - 1} more" if self._trailing_commas > 1 else ""
        return self._first_comma + more

    @property
    def position(self) -> int:
        """Characters read so far."""
        return self._characters_dropped + self._at

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the input."""
        while True:
            space = _WHITESPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                if self._end_reason != _CUT_OFF:
                    raise self.corrupt(self._end_reason)
                return ""

    def value(self) -> Json:
        """Reads one whole value."""
        value, _ = self._take()
        return value

    def text(self) -> str:
        """Reads one whole value, as the source writes it."""
        _, text = self._take(keeps_text=True)
        return text

    def take(self, length: int) -> Json | Absent:
        """Reads one value if it has at most this length, or ends in the text that was read already.

        Absent for an array or object that is longer or damaged; it can be entered then.
        """
        opening = self.peek()
        try:
            value, _ = self._take(length=length)
        except _TooLongError:
            return ABSENT
        except CorruptInputError:
            if opening in {"{", "["}:
                return ABSENT
            raise
        return value

    def has_members(self, count: int) -> bool:
        """Whether the value that was taken last has so many members in all of its objects.

        If it has more, some name appears more than once in one object.
        """
        start, end = self._taken
        found = self._text.count('":', start, end)
        if found != count:
            found += self._text.count('" :', start, end)
        return found == count or len(_MEMBER_END.findall(self._text, start, end)) == count

    def take_again(self) -> Json:
        """The value that was taken last, with RepeatingObject for objects in which a name is repeated."""
        start, _ = self._taken
        decoder = json.JSONDecoder(
            parse_int=Number, parse_float=Number, parse_constant=Constant, object_pairs_hook=object_of
        )
        value: Json
        value, _ = decoder.raw_decode(self._text, start)
        return value

    def _take(self, *, length: int | None = None, keeps_text: bool = False) -> tuple[Json, str]:
        self.peek()
        repairs = 0
        while True:
            try:
                decoded: tuple[Json, int] = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if repairs < _MAX_REPAIRS and self._drop_comma(error):
                    repairs += 1
                else:
                    self._read_on(error, length=length)
                continue
            except RecursionError:
                raise self.corrupt("a value is nested too deeply to be read") from None
            value, end = decoded
            # A number near the end of the block may continue in the next one.
            is_near_end = len(self._text) - end < _LONGEST_TOKEN
            if is_near_end and isinstance(value, Number) and self._fill():
                continue
            if end - self._at > self.max_value_characters:
                if length is not None:
                    raise _TooLongError
                raise self.too_large()
            text = self._text[self._at : end] if keeps_text else ""
            self._taken = (self._at, end)
            self._at = end
            return value, text

    def elements(self) -> Iterator[int]:
        """Enters an array: yields each index, for which the caller then reads the element."""
        self._expect("[")
        if self.peek() == "]":
            self._at += 1
            return
        for index in count():
            yield index
            if self._expect(",]") == "]" or self._ends_with("]"):
                return

    def members(self) -> Iterator[str]:
        """Enters an object: yields each name, for which the caller then reads the value."""
        self._expect("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            self._require('"')
            name = self.value()
            assert isinstance(name, str)
            self._expect(":")
            yield name
            if self._expect(",}") == "}" or self._ends_with("}"):
                return

    def _note_constant(self, text: str) -> Constant:
        self.has_constants = True
        return Constant(text)

    def _ends_with(self, closing: str) -> bool:
        """Skips the closing bracket behind a trailing comma, if it stands there."""
        comma = self._at - 1
        if self.peek() != closing:
            return False
        self._note_comma(min(comma, self._at))
        self._at += 1
        return True

    def _drop_comma(self, error: json.JSONDecodeError) -> bool:
        """Replaces a trailing comma at the place of an error by a space; False if there is none."""
        text, at = self._text, error.pos
        if text[at : at + 1] == ",":  # newer decoders name the comma, older ones what stands behind it
            comma, behind = at, _WHITESPACE.match(text, at + 1)
            at = behind.end() if behind else at
        else:
            comma = len(text[self._at : at].rstrip(" \t\n\r")) - 1 + self._at
        before = text[self._at : comma].rstrip(" \t\n\r")[-1:]
        closing = "}" if "property name" in error.msg or "end of object" in error.msg else "]"
        if text[at : at + 1] != closing or text[comma] != "," or before in {"", "[", "{", ",", ":"}:
            return False
        self._note_comma(comma)
        self._text = f"{text[:comma]} {text[comma + 1 :]}"
        return True

    def _note_comma(self, at: int) -> None:
        self._trailing_commas += 1
        if not self._first_comma:
            error = self.corrupt("", at=at)
            self._first_comma = f"line {error.line}, byte {error.byte_offset}"

    def corrupt(self, reason: str, *, at: int | None = None) -> CorruptInputError:
        """The error for damage at an offset in the block, by default the current one."""
        at = self._at if at is None else at
        unread = len(self._text[at:].encode(errors="surrogateescape")) + len(self._utf8.getstate()[0])
        line = self._lines_dropped + self._text.count("\n", 0, at) + 1
        return CorruptInputError(reason, line=line, byte_offset=self._bytes_read - unread)

    def too_large(self) -> CorruptInputError:
        """The error for a value that exceeds the limit."""
        limit = f"a text takes more than {self.max_value_characters} characters"
        return self.corrupt(limit)

    def _expect(self, options: str) -> str:
        """Reads one character, which must be one of the options."""
        found = self._require(options)
        self._at += 1
        return found

    def _require(self, options: str) -> str:
        """The next character, which must be one of the options."""
        found = self.peek()
        if not found:
            raise self.corrupt(self._end_reason)
        if found not in options:
            raise self.corrupt(f"not JSON (expected {' or '.join(options)}); {_REMEDY}")
        return found

    def _read_on(self, error: json.JSONDecodeError, *, length: int | None) -> None:
        """Reads more if the value continues after the block; raises if it is damaged or long."""
        is_open_text = error.msg.startswith("Unterminated string")
        if is_open_text or len(self._text) - error.pos < _LONGEST_TOKEN:
            if length is not None and len(self._text) - self._at > length:
                raise _TooLongError
            if len(self._text) - self._at > self.max_value_characters:
                raise self.too_large() from None
            if self._fill():
                return
        if is_open_text or error.pos >= len(self._text):
            raise self.corrupt(self._end_reason, at=error.pos) from None
        raise self.corrupt(f"not JSON ({error.msg}); {_REMEDY}", at=error.pos) from None

    def _fill(self) -> bool:
        """Drops the text that was read and reads more; False at the end of the input.

        Doubles the text that is held, so that a value over many blocks costs linear time.
        """
        if self._has_ended:
            return False
        self._characters_dropped += self._at
        self._lines_dropped += self._text.count("\n", 0, self._at)
        blocks = [self._text[self._at :]]
        held = len(blocks[0])
        wanted = max(self._block_bytes, min(held, self.max_value_characters + 1 - held))
        while wanted > 0 and not self._has_ended:
            block = self._read_block(min(wanted, self._block_bytes))
            wanted -= len(block)
            self._bytes_read += len(block)
            self._has_ended = not block
            blocks.append(self._utf8.decode(block, final=self._has_ended))
        self._text = "".join(blocks)
        self._at = 0
        return True

    def _read_block(self, size: int) -> bytes:
        """Reads bytes; a failure ends the stream, and is the reason reported for the end."""
        try:
            return self._read(size)
        except (EOFError, OSError, zlib.error) as error:
            self._end_reason = f"the input cannot be read further: {error}"
            return b""


class _TooLongError(Exception):
    """A value is longer than the caller wants to have in memory."""
