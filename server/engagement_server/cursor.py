"""Cursors and page tokens: positions in the log as opaque text.

A position is `account_number << 40 | sequence`, so that an account's events are adjacent, in the order of
acceptance. The text is base64url, which needs no quoting in a shell or in JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engagement_server.errors import (
    CursorMalformedError,
    CursorMismatchError,
    LogEpochChangedError,
    PageTokenMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engagement_server.errors import InvalidRequestError

SEQUENCE_BITS = 40
BLOCK_BITS = 12
"""Positions that differ only in these low bits form a block; no block spans two accounts."""
_CURSOR = struct.Struct(">BIQ")
_ORIGIN = struct.Struct(">BI8s")
_PAGE_TOKEN = struct.Struct(">BIQ8s")
_NAME_TOKEN = struct.Struct(">BI8s")
_HEAD = struct.Struct(">BI")
_CURSOR_KIND, _PAGE_TOKEN_KIND, _ORIGIN_KIND, _NAME_TOKEN_KIND = (kind << 6 for kind in range(4))
_KIND_BITS = 0xC0
_CHECK_POLYNOMIAL = 0b1100001
_CHECK_OFFSET = 0b101010
_CHECK_BITS = 6
_EPOCH_BITS = 32
_CHECKSUM_BYTES = 6
_PERSON = b"engagement.v1"
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
    key: bytes = field(repr=False)
    """Seals cursors and page tokens, so that only servers of the log can make them."""
    _epoch_check: int = field(init=False, repr=False, compare=False)
    _keyed: hashlib.blake2b = field(init=False, repr=False, compare=False)
    """The hash of the key alone: every event that is read gets a cursor, and a copy takes half the time."""

    def __post_init__(self) -> None:
        # The key comes first, and not as the parameter, which would cost another block; nobody can extend
        # this hash: docs/decisions/0066-rights-of-streams.md.
        keyed = hashlib.blake2b(self.key, digest_size=_CHECKSUM_BYTES, person=_PERSON)
        object.__setattr__(self, "_keyed", keyed)
        object.__setattr__(self, "_epoch_check", _check_of(self.epoch))

    def encode(self, position: int) -> str:
        """The cursor of a position."""
        return self._seal(_CURSOR.pack(_CURSOR_KIND | self._epoch_check, self.epoch, position))

    def encode_all(self, positions: Iterable[int]) -> list[bytes]:
        """The cursors of positions as ASCII, for a fraction of what it takes to encode each alone."""
        sealed = bytearray()
        pack, epoch, copy = _CURSOR.pack, self.epoch, self._keyed.copy
        head = _CURSOR_KIND | self._epoch_check
        for position in positions:
            payload = pack(head, epoch, position)
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
        return self._seal(
            _ORIGIN.pack(_ORIGIN_KIND | self._epoch_check, self.epoch, self._hash_account(account_id))
        )

    def decode(self, cursor: str, *, account_id: str, account_number: int | None) -> int:
        """The position of a cursor; 0 if the account has no number yet.

        Raises CursorMalformedError, CursorMismatchError (another account), LogEpochChangedError.
        """
        payload = self._unseal(cursor, size=_CURSOR.size, error=CursorMalformedError)
        if payload[0] & _KIND_BITS == _ORIGIN_KIND:
            *_, account_hash = _ORIGIN.unpack(payload)
            is_of_account = account_hash == self._hash_account(account_id)
            position = first_position(account_number or 0)
        elif payload[0] & _KIND_BITS == _CURSOR_KIND:
            *_, position = _CURSOR.unpack(payload)
            is_of_account = position >> SEQUENCE_BITS == account_number
        else:
            raise CursorMalformedError
        if not is_of_account:
            raise CursorMismatchError
        return int(position)

    def encode_page(self, position: int, *, arguments: bytes) -> str:
        """A token to continue after `position`, bound to the arguments of the list."""
        digest = self._digest(b"%d" % position, arguments)
        return self._seal(
            _PAGE_TOKEN.pack(_PAGE_TOKEN_KIND | self._epoch_check, self.epoch, position, digest)
        )

    def decode_page(self, token: str, *, arguments: bytes) -> int:
        """The position to continue after.

        Raises PageTokenMismatchError if the token is damaged or bound to other arguments, and
        LogEpochChangedError.
        """
        payload = self._unseal(token, size=_PAGE_TOKEN.size, error=PageTokenMismatchError)
        if payload[0] & _KIND_BITS != _PAGE_TOKEN_KIND:
            raise PageTokenMismatchError
        *_, position, digest = _PAGE_TOKEN.unpack(payload)
        if digest != self._digest(b"%d" % position, arguments):
            raise PageTokenMismatchError
        return int(position)

    def encode_name(self, name: str, *, arguments: bytes) -> str:
        """A token to continue after `name`, which has no spaces, bound to the arguments of the list."""
        digest = self._digest(name.encode(), arguments)
        return self._seal(
            _NAME_TOKEN.pack(_NAME_TOKEN_KIND | self._epoch_check, self.epoch, digest) + name.encode()
        )

    def decode_name(self, token: str, *, arguments: bytes) -> str:
        """The name to continue after. Raises as `decode_page`."""
        payload = self._unseal(token, error=PageTokenMismatchError)
        if len(payload) < _NAME_TOKEN.size or payload[0] & _KIND_BITS != _NAME_TOKEN_KIND:
            raise PageTokenMismatchError
        *_, digest = _NAME_TOKEN.unpack_from(payload)
        name = payload[_NAME_TOKEN.size :]
        if digest != self._digest(name, arguments):
            raise PageTokenMismatchError
        return name.decode()

    def _hash_account(self, account_id: str) -> bytes:
        return hashlib.blake2b(account_id.encode(), digest_size=8, key=self.key, person=b"account").digest()

    def _digest(self, place: bytes, arguments: bytes) -> bytes:
        return hashlib.blake2b(place + b" " + arguments, digest_size=8, key=self.key).digest()

    def _seal(self, payload: bytes) -> str:
        return _text_of(payload + self._checksum(payload))

    def _unseal(self, text: str, *, size: int | None = None, error: type[InvalidRequestError]) -> bytes:
        """The payload, which has a size. Raises LogEpochChangedError if it is of another log, else the error.

        Another log may have another key, so that only the check of its epoch tells its text from damage;
        anybody can make that, but all it does is to be refused.
        """
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise error from None
        payload = sealed[:-_CHECKSUM_BYTES]
        # As text, because base64 can spell the same bytes in several ways.
        if len(payload) < _HEAD.size or len(payload) != (size or len(payload)) or text != _text_of(sealed):
            raise error
        head, epoch = _HEAD.unpack_from(payload)
        is_own = hmac.compare_digest(sealed[-_CHECKSUM_BYTES:], self._checksum(payload))
        if epoch != self.epoch and (is_own or (size is not None and head & ~_KIND_BITS == _check_of(epoch))):
            raise LogEpochChangedError
        if not is_own:
            raise error
        return payload

    def _checksum(self, payload: bytes) -> bytes:
        checksum = self._keyed.copy()
        checksum.update(payload)
        return checksum.digest()


def _text_of(sealed: bytes) -> str:
    return binascii.b2a_base64(sealed, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def _check_of(epoch: int) -> int:
    """A cyclic redundancy check: each change of one character of the text is found by it."""
    rest = epoch << _CHECK_BITS
    for bit in reversed(range(_EPOCH_BITS)):
        if rest >> bit + _CHECK_BITS & 1:
            rest ^= _CHECK_POLYNOMIAL << bit
    return rest ^ _CHECK_OFFSET
