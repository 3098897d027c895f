"""What a worker is told when it starts, as the process that writes sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engagement_server.config import Config


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of one worker."""

    number: int
    """From 1."""
    config: Config
    """Its address to listen on has the port that was taken."""
    log_ends: Mapping[int, int]
    """The file descriptors behind which the logs are, by partition."""


_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder = msgspec.msgpack.Decoder(WorkerSettings, dec_hook=lambda _, text: Path(text))


def encode_settings(settings: WorkerSettings) -> bytes:
    """The settings as bytes."""
    return _encoder.encode(settings)


def decode_settings(data: bytes) -> WorkerSettings:
    """The settings that were encoded."""
    return _decoder.decode(data)
