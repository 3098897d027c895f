"""The settings that the parent sends to a worker at its start."""

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
    """Its listen address has the reserved port."""
    log_ends: Mapping[int, int]
    """File descriptors of the channels to the logs, by partition."""


_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder = msgspec.msgpack.Decoder(WorkerSettings, dec_hook=lambda _, text: Path(text))


def encode_settings(settings: WorkerSettings) -> bytes:
    """Encodes the settings."""
    return _encoder.encode(settings)


def decode_settings(data: bytes) -> WorkerSettings:
    """Decodes the settings."""
    return _decoder.decode(data)
