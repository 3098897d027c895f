"""Cursors and page tokens: positions in the log as opaque text.

A position is `account_number << 40 | sequence`, so that an account's events are adjacent, in the order of
acceptance. The text is base64url, which needs no quoting in a shell or in JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement_server.errors import (
    CursorMalformedError,
    CursorMismatchError,
    LogEpochChangedError,
    PageTokenMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SEQUENCE_BITS = 40
BLOCK_BITS = 12
"""Positions that differ only in these low bits form a block; no block spans two accounts."""
_CURSOR = struct.Struct(">BIQ")
_ORIGIN = struct.Struct(">BI8s")
_PAGE_TOKEN = struct.Struct(">BIQ8s")
_NAME_TOKEN = struct.Struct(">BI8s")
_CURSOR_VERSION = 1
_PAGE_TOKEN_VERSION = 2
_ORIGIN_VERSION = 3
_NAME_TOKEN_VERSION = 4
_CHECKSUM_BYTES = 6
# Unkeyed, so that a cursor of a replaced log differs from a damaged one. Every event that is read gets a
# cursor, and copying this hash costs half of creating one.
_CHECKSUM = hashlib.blake2b(digest_size=_CHECKSUM_BYTES, person=b"engagement.v1")
CURSOR_BYTES = len(base64.b64encode(bytes(_CURSOR.size + _CHECKSUM_BYTES)).rstrip(b"="))
"""The length of every cursor."""
_PADDING = bytes(-(_CURSOR.size + _CHECKSUM_BYTES) % 3)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def first_position(account_number: int) -> int:
    """The position before an account's first event."""
    return account_number << SEQUENCE_BITS


def last_position(account_number: int) -> int:
    """The highest position that an account can reach."""
    return (account_number + 1 << SEQUENCE_BITS) - 1


def origin_of(position: int) -> int:
    """The position before the first event of the account that a position belongs to."""
    return position >> SEQUENCE_BITS << SEQUENCE_BITS


@dataclass(frozen=True, slots=True)
class Cursors:
    """Encodes and decodes the cursors and page tokens of one log."""

    epoch: int
    """Identifies the log, 32 bits."""
    key: bytes
    """Authenticates page tokens, so that only the server can make them."""

    def encode(self, position: int) -> str:
        """The cursor of a position."""
        return _seal(_CURSOR.pack(_CURSOR_VERSION, self.epoch, position))

    def encode_all(self, positions: Iterable[int]) -> list[bytes]:
        """The cursors of positions as ASCII, for a fraction of what it takes to encode each alone."""
        sealed = bytearray()
        pack, epoch, copy = _CURSOR.pack, self.epoch, _CHECKSUM.copy
        for position in positions:
            payload = pack(_CURSOR_VERSION, epoch, position)
            checksum = copy()
            checksum.update(payload)
            sealed += payload + checksum.digest() + _PADDING
        text = binascii.b2a_base64(sealed, newline=False).translate(_URL_SAFE)
        step = CURSOR_BYTES + len(_PADDING)
        return [text[start : start + CURSOR_BYTES] for start in range(0, len(text), step)]

    def encode_origin(self, account_id: str) -> str:
        """The cursor before the first event of an account that may have no number yet.

        It names the account by a keyed hash, and stays valid once the account has a number.
        """
        return _seal(_ORIGIN.pack(_ORIGIN_VERSION, self.epoch, self._hash_account(account_id)))

    def decode(self, cursor: str, *, account_id: str, account_number: int | None) -> int:
        """The position of a cursor; 0 if the account has no number yet.

        Raises CursorMalformedError, CursorMismatchError (another account), LogEpochChangedError.
        """
        payload = _unseal(cursor)
        if payload is None or len(payload) != _CURSOR.size:
            raise CursorMalformedError
        if payload[0] == _ORIGIN_VERSION:
            _, epoch, account_hash = _ORIGIN.unpack(payload)
            is_of_account = account_hash == self._hash_account(account_id)
            position = first_position(account_number or 0)
        elif payload[0] == _CURSOR_VERSION:
            _, epoch, position = _CURSOR.unpack(payload)
            is_of_account = position >> SEQUENCE_BITS == account_number
        else:
            raise CursorMalformedError
        if epoch != self.epoch:
            raise LogEpochChangedError
        if not is_of_account:
            raise CursorMismatchError
        return int(position)

    def encode_page(self, position: int, *, arguments: bytes) -> str:
        """A token to continue after `position`, bound to the arguments of the list."""
        digest = self._digest(b"%d" % position, arguments)
        return _seal(_PAGE_TOKEN.pack(_PAGE_TOKEN_VERSION, self.epoch, position, digest))

    def decode_page(self, token: str, *, arguments: bytes) -> int:
        """The position to continue after.

        Raises PageTokenMismatchError if the token is damaged or bound to other arguments, and
        LogEpochChangedError.
        """
        payload = _unseal(token)
        if payload is None or len(payload) != _PAGE_TOKEN.size or payload[0] != _PAGE_TOKEN_VERSION:
            raise PageTokenMismatchError
        _, epoch, position, digest = _PAGE_TOKEN.unpack(payload)
        if epoch != self.epoch:
            raise LogEpochChangedError
        if digest != self._digest(b"%d" % position, arguments):
            raise PageTokenMismatchError
        return int(position)

    def encode_name(self, name: str, *, arguments: bytes) -> str:
        """A token to continue after `name`, which has no spaces, bound to the arguments of the list."""
        digest = self._digest(name.encode(), arguments)
        return _seal(_NAME_TOKEN.pack(_NAME_TOKEN_VERSION, self.epoch, digest) + name.encode())

    def decode_name(self, token: str, *, arguments: bytes) -> str:
        """The name to continue after. Raises as `decode_page`."""
        payload = _unseal(token)
        if payload is None or len(payload) < _NAME_TOKEN.size or payload[0] != _NAME_TOKEN_VERSION:
            raise PageTokenMismatchError
        _, epoch, digest = _NAME_TOKEN.unpack_from(payload)
        name = payload[_NAME_TOKEN.size :]
        if epoch != self.epoch:
            raise LogEpochChangedError
        if digest != self._digest(name, arguments):
            raise PageTokenMismatchError
        return name.decode()

    def _hash_account(self, account_id: str) -> bytes:
        return hashlib.blake2b(account_id.encode(), digest_size=8, key=self.key, person=b"account").digest()

    def _digest(self, place: bytes, arguments: bytes) -> bytes:
        return hashlib.blake2b(place + b" " + arguments, digest_size=8, key=self.key).digest()


def _seal(payload: bytes) -> str:
    sealed = binascii.b2a_base64(payload + _checksum(payload), newline=False)
    return sealed.translate(_URL_SAFE).rstrip(b"=").decode()


def _unseal(text: str) -> bytes | None:
    """The payload, or None if the text is damaged."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    payload = sealed[:-_CHECKSUM_BYTES]
    # Compared as text, because base64 can spell the same bytes in several ways.
    return payload if text == _seal(payload) else None


def _checksum(payload: bytes) -> bytes:
    checksum = _CHECKSUM.copy()
    checksum.update(payload)
    return checksum.digest()
