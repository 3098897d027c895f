"""Recognizes how the bytes of a file are packed and encoded, by its first ones."""

from __future__ import annotations

import codecs
import gzip
import io
import sys
from collections.abc import Callable
from typing import BinaryIO, Final

Read = Callable[[int], bytes]
"""Reads some bytes, at most so many; none at the end."""

MAGIC_BYTES: Final = 4
"""How many bytes it takes to recognize how a file is packed."""
_BUFFER_BYTES: Final = 64 * 1024
PARQUET: Final = b"PAR1"
"""The beginning of a Parquet file."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_UTF_16: Final = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"{\0": "utf-16-le",
    b"[\0": "utf-16-le",
    b"\0{": "utf-16-be",
    b"\0[": "utf-16-be",
}
_FOREIGN: Final = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save its sheet as CSV",
    b"Obj\x01": "an Avro container: convert it to JSON first, for example with `avro-tools tojson`",
    PARQUET: "a Parquet file in a pipe, or packed: unpack it first, and name the file itself",
    b"BZh": "packed with bzip2: unpack it first",
    b"\xfd7zXZ\0": "packed with xz: unpack it first",
    b"%PDF": "a PDF document",
    b"<!doctype html": "an HTML page, perhaps of a login or an error instead of the file",
    b"<html": "an HTML page, perhaps of a login or an error instead of the file",
    b"<?xml": "an XML document: convert it to JSON first",
}


def foreign_format(head: bytes) -> str:
    """Names a format that cannot be read, and says what to do; empty for all others."""
    beginning = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for magic, explanation in _FOREIGN.items():
        if head.startswith(magic) or (magic.startswith(b"<") and beginning.startswith(magic)):
            return explanation
    return ""


def unpacked(head: bytes, raw: io.RawIOBase) -> Read | None:
    """Reads what a packed stream with this beginning holds; None if it is not packed."""
    if head.startswith(_GZIP):
        # read1 returns the bytes before a failure; read would discard them.
        return gzip.GzipFile(fileobj=io.BufferedReader(raw, _BUFFER_BYTES)).read1
    return _unpacked_zstd(io.BufferedReader(raw, _BUFFER_BYTES)) if head.startswith(_ZSTD) else None


def _unpacked_zstd(stream: BinaryIO) -> Read:
    # Imported here, because few files need it.
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    file = zstd.ZstdFile(stream)

    def read(size: int) -> bytes:
        try:
            return file.read1(size)
        except zstd.ZstdError as error:  # as damage of any other file is reported
            raise OSError(str(error)) from error

    return read


def transcoded(head: bytes, read: Read) -> Read | None:
    """Reads UTF-16 with this beginning as UTF-8, without a byte order mark; None if it is not UTF-16."""
    encoding = _UTF_16.get(head[:2])
    return None if encoding is None else _Transcoder(read, encoding=encoding).read


class _Transcoder:
    """Turns UTF-16 into UTF-8. Halves of surrogate pairs become bytes that are no UTF-8, as in the source."""

    def __init__(self, read: Read, *, encoding: str) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""
        self._is_first = True

    def read(self, size: int) -> bytes:
        """The next bytes; raises EOFError if the stream ends in the middle of a character."""
        while not self._ready:
            block = self._read(size)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise EOFError("the file ends in the middle of a character") from error
            if self._is_first and text:
                self._is_first = False
                text = text.removeprefix("\ufeff")
            self._ready = text.encode(errors="surrogatepass")
            if not block:
                break
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready
