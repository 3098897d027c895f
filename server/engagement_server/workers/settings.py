"""The parent's messages to a worker as a whole: its settings, and then the services that suffer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engagement_server.config import Config
from engagement_server.telemetry.config import LogLineConfig


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of one worker."""

    number: int
    """From 1."""
    config: Config
    """Its listen address has the reserved port."""
    log_ends: Mapping[int, int]
    """File descriptors of the channels to the logs, by partition."""
    lines: LogLineConfig


_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder = msgspec.msgpack.Decoder(WorkerSettings, dec_hook=lambda _, text: Path(text))
_services_decoder = msgspec.msgpack.Decoder(list[str])


def encode_settings(settings: WorkerSettings) -> bytes:
    """Encodes the settings."""
    return _encoder.encode(settings)


def decode_settings(data: bytes) -> WorkerSettings:
    """Decodes the settings."""
    return _decoder.decode(data)


def encode_services(services: Iterable[str]) -> bytes:
    """Encodes names of services."""
    return _encoder.encode(list(services))


def decode_services(data: bytes) -> list[str]:
    """Decodes names of services."""
    return _services_decoder.decode(data)
