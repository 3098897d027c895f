"""The parent's messages to a worker as a whole: its settings, and then certificates and what suffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engagement_server.access.audit import AuditSettings
from engagement_server.access.config import AccessConfig
from engagement_server.access.files import AllContents, Contents
from engagement_server.config import Config
from engagement_server.telemetry.config import LogLineConfig
from engagement_server.transport.served_certificate import Pem


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
    access: AccessConfig
    access_files: Mapping[str, Contents]
    """The contents of the files of access, by kind."""
    certificate: Pem | None
    """What is served at its start; the parent sends what replaces it."""
    audit: AuditSettings | None = None
    """None if there is no audit log."""


_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder = msgspec.msgpack.Decoder(WorkerSettings, dec_hook=lambda _, text: Path(text))
_contents_decoder = msgspec.msgpack.Decoder(dict[str, Contents])
_certificate_decoder = msgspec.msgpack.Decoder(Pem)
_services_decoder = msgspec.msgpack.Decoder(list[str])


def encode_settings(settings: WorkerSettings) -> bytes:
    """Encodes the settings."""
    return _encoder.encode(settings)


def decode_settings(data: bytes) -> WorkerSettings:
    """Decodes the settings."""
    return _decoder.decode(data)


def encode_contents(contents: AllContents) -> bytes:
    """Encodes contents of files of access."""
    return _encoder.encode(contents)


def decode_contents(data: bytes) -> AllContents:
    """Decodes contents of files of access."""
    return _contents_decoder.decode(data)


def encode_certificate(pem: Pem) -> bytes:
    """Encodes a certificate."""
    return _encoder.encode(pem)


def decode_certificate(data: bytes) -> Pem:
    """Decodes a certificate."""
    return _certificate_decoder.decode(data)


def encode_services(services: Iterable[str]) -> bytes:
    """Encodes names of services."""
    return _encoder.encode(list(services))


def decode_services(data: bytes) -> list[str]:
    """Decodes names of services."""
    return _services_decoder.decode(data)
