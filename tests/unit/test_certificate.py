"""A certificate is taken only if it can be served, and the last good one stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from engagement_server.errors import ConfigurationError
from engagement_server.transport import certificate_files
from engagement_server.transport.certificate_files import CertificateFiles
from engagement_server.transport.served_certificate import Pem
from tests.support.tls_files import Identity, TlsFiles
from tests.support.waiting import eventually

WEAK_KEYS: dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    "RSA of 1,024 bits": lambda: rsa.generate_private_key(65537, 1024),  # which is the point
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Good files."""
    return TlsFiles(tmp_path / "secret")


def pem_key(
    key: CertificateIssuerPrivateKeyTypes, encryption: KeySerializationEncryption | None = None
) -> bytes:
    """A key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def self_signed(key: CertificateIssuerPrivateKeyTypes) -> Identity:
    """A certificate for a key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Identity(builder.sign(key, algorithm).public_bytes(Encoding.PEM), pem_key(key))


@pytest.mark.parametrize("kind", WEAK_KEYS)
def test_a_key_that_clients_refuse_is_refused_at_the_start(files: TlsFiles, kind: str) -> None:
    files.put(self_signed(WEAK_KEYS[kind]()))
    with pytest.raises(ConfigurationError, match="must be RSA of at least 2048 bits, or ECDSA"):
        CertificateFiles.open(files.paths)


def test_a_key_with_a_password_is_refused_without_asking_for_it(files: TlsFiles) -> None:
    key = load_pem_private_key(files.identity.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    files.put(files.identity._replace(key=pem_key(key, BestAvailableEncryption(b"secret"))))
    with pytest.raises(ConfigurationError, match="has a password"):
        CertificateFiles.open(files.paths)


def test_files_that_hold_something_else_are_named(files: TlsFiles) -> None:
    good = files.identity
    for bad, option in (
        (good._replace(chain=b"nothing"), "--tls-cert"),
        (good._replace(chain=good.key), "--tls-cert"),
        (good._replace(key=b"nothing"), "--tls-key"),
        (good._replace(key=good.chain), "--tls-key"),
        (good._replace(key=b"x" * 2_000_000), "--tls-key"),
    ):
        files.put(bad)
        with pytest.raises(ConfigurationError, match=f"^{option} {files.paths.chain.parent}"):
            CertificateFiles.open(files.paths)
    files.put(good, clients=b"nothing")
    with pytest.raises(ConfigurationError, match=r"^--mtls-ca"):
        CertificateFiles.open(files.paths)
    files.paths.key.unlink()
    with pytest.raises(ConfigurationError, match=r"^--tls-key .* cannot be read: No such file"):
        CertificateFiles.open(files.paths)


def test_the_key_is_in_no_text_of_a_certificate(files: TlsFiles) -> None:
    pem = CertificateFiles.open(files.paths).served.pem
    assert "PRIVATE" not in repr(pem)
    assert "PRIVATE" not in repr(Pem(b"", b"PRIVATE"))


@contextmanager
def watched(files: CertificateFiles) -> Iterator[None]:
    """Takes changes while the block runs."""
    watching = asyncio.create_task(files.watch())
    try:
        yield
    finally:
        watching.cancel()


async def test_whatever_becomes_of_the_files_the_last_good_certificate_stays(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_files, "POLL_SECONDS", 0.01)
    watch = CertificateFiles.open(files.paths)
    good = files.identity
    taken: list[Pem] = []
    watch.subscribe(taken.append)
    with watched(watch):
        for bad in (Identity(b"", b""), files.issue()._replace(key=good.key), good._replace(key=b"nothing")):
            files.put(bad)
            await eventually(lambda: bool(watch.problem), "the watch has a problem")
            assert watch.served.pem.chain == good.chain
            files.put(good)
            await eventually(lambda: not watch.problem, "the problem is over")
        link = files.paths.chain.readlink()
        files.paths.chain.unlink()
        await eventually(lambda: "cannot be read" in watch.problem, "the file is missed")
        files.paths.chain.symlink_to(link)
        await eventually(lambda: not watch.problem, "the file is back")
        assert not taken
        files.put(files.issue())
        await eventually(lambda: len(taken) == 1, "another certificate is taken")
        assert taken == [watch.served.pem]
        assert watch.served.pem.chain == files.identity.chain


async def test_a_problem_is_logged_when_it_begins_and_again_after_a_while(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificate_files, "POLL_SECONDS", 0.01)
    watch = CertificateFiles.open(files.paths)
    looks = 0
    look = watch._report

    def count_looks() -> None:
        nonlocal looks
        looks += 1
        look()

    monkeypatch.setattr(watch, "_report", count_looks)
    with watched(watch):
        files.put(Identity(b"", b""))
        await eventually(lambda: looks > 10, "the watch has looked often")
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1
        monkeypatch.setattr(certificate_files, "REMINDER_SECONDS", 0.0)
        await eventually(lambda: len(caplog.records) > 2, "the watch reminds of it")
