"""The directory: whom it finds, what it remembers, and when an identity is current."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engagement_server.access.directory import MAX_JWT_CHARACTERS, Directory
from engagement_server.access.received import ReceivedAccess
from engagement_server.access.recent import Recent
from engagement_server.access.watch import AccessWatch
from engagement_server.errors import TokenExpiredError, TokenInvalidError, TokenMissingError
from tests.support.known_callers import KnownCallers, principal, signed, signing_key


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    return KnownCallers(tmp_path / "access")


def directory_of(callers: KnownCallers) -> Directory:
    """What a server knows that starts now."""
    contents = AccessWatch(callers.config).contents
    return ReceivedAccess(callers.config, contents, on_unknown_key=lambda: None).directory


def jwt_of(subject: str) -> dict[str, str]:
    return {"issuer": "https://id.example", "subject": subject}


def certificate(
    *names: x509.GeneralName, begins_days: int = -1, ends_days: int = 1
) -> dict[str, list[bytes]]:
    """The properties of a connection whose client has shown a certificate."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crm.internal")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(common)
        .issuer_name(common)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_days))
        .not_valid_after(now + timedelta(days=ends_days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"x509_common_name": [b"crm.internal"], "x509_pem_cert": [pem]}


def test_a_token_is_found_with_its_expiry(callers: KnownCallers) -> None:
    expire_ms = time.time_ns() // 1_000_000 + 60_000
    token = callers.token("crm", expire_ms=expire_ms)
    callers.grant(principal("crm"))
    directory = directory_of(callers)
    identity = directory.identify_token(token)
    assert (identity.principal.name, identity.credential, identity.credential_id) == ("crm", "token", "crm")
    assert identity.expires_at == expire_ms / 1000
    assert directory.is_current(identity)


def test_a_jwt_is_remembered_until_a_file_changes(callers: KnownCallers) -> None:
    key = signing_key()
    callers.publish(key)
    callers.grant(principal("crm", jwts=[jwt_of("crm")]))
    directory = directory_of(callers)
    token = signed(key)
    identity = directory.identify_token(token)
    assert (identity.credential, identity.credential_id) == ("jwt", "crm of https://id.example")
    assert directory.identify_token(token) is identity
    directory.replace(directory.known)
    assert directory.identify_token(token) is not identity
    assert directory.is_current(identity)


def test_a_remembered_jwt_expires(callers: KnownCallers, monkeypatch: pytest.MonkeyPatch) -> None:
    key = signing_key()
    callers.publish(key)
    callers.grant(principal("crm", jwts=[jwt_of("crm")]))
    directory = directory_of(callers)
    token = signed(key)
    identity = directory.identify_token(token)
    assert identity.expires_at is not None
    expires_at = identity.expires_at
    monkeypatch.setattr(time, "time", lambda: expires_at)
    for _ in range(2):
        with pytest.raises(TokenExpiredError):
            directory.identify_token(token)
    assert not directory.is_current(identity)


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * (MAX_JWT_CHARACTERS + 1), "ü.ü.ü", "eng", "\udcff"])
def test_what_is_no_token_is_refused(callers: KnownCallers, token: str) -> None:
    callers.publish(signing_key())
    with pytest.raises(TokenInvalidError):
        directory_of(callers).identify_token(token)


def test_a_jwt_without_a_grant_is_refused(callers: KnownCallers) -> None:
    key = signing_key()
    callers.publish(key)
    callers.grant(principal("crm", jwts=[jwt_of("other"), {"issuer": "https://x", "subject": "crm"}]))
    with pytest.raises(TokenInvalidError) as refused:
        directory_of(callers).identify_token(signed(key))
    assert refused.value.cause == "no grant names the subject of the JWT"


def test_an_unknown_key_is_reported_once_a_minute(callers: KnownCallers) -> None:
    asked: list[None] = []
    callers.publish(signing_key())
    contents = AccessWatch(callers.config).contents
    access = ReceivedAccess(callers.config, contents, on_unknown_key=lambda: asked.append(None))
    for _ in range(3):
        with pytest.raises(TokenInvalidError):
            access.directory.identify_token(signed(signing_key("new")))
    assert len(asked) == 1


def test_a_certificate_is_found_by_its_alternative_names(callers: KnownCallers) -> None:
    callers.grant(
        principal("crm", certificates=["dns:crm.internal"]),
        principal("shop", certificates=["uri:spiffe://example/shop"]),
    )
    directory = directory_of(callers)
    by_host = directory.identify_certificate(certificate(x509.DNSName("CRM.internal"), x509.DNSName("x")))
    assert (by_host.principal.name, by_host.credential_id) == ("crm", "dns:crm.internal")
    shown = certificate(x509.UniformResourceIdentifier("spiffe://example/shop"))
    by_uri = directory.identify_certificate(shown)
    assert (by_uri.principal.name, by_uri.credential) == ("shop", "certificate")
    assert by_uri.expires_at is not None
    assert 0 < by_uri.expires_at - time.time() < 86_401
    assert directory.identify_certificate(shown) is by_uri
    assert directory.is_current(by_uri)
    callers.grant(principal("crm", certificates=["dns:crm.internal"]))
    directory.replace(directory_of(callers).known)
    assert directory.is_current(by_host)
    assert not directory.is_current(by_uri)
    with pytest.raises(TokenInvalidError):
        directory.identify_certificate(shown)


def test_other_certificates_are_refused(callers: KnownCallers) -> None:
    callers.grant(
        principal("crm", certificates=["dns:crm.internal"]), principal("b", certificates=["dns:b.internal"])
    )
    directory, name = directory_of(callers), x509.DNSName("crm.internal")
    with pytest.raises(TokenMissingError):
        directory.identify_certificate({})
    with pytest.raises(TokenExpiredError):
        directory.identify_certificate(certificate(name, begins_days=-9, ends_days=-1))
    for shown, cause in (
        (certificate(), "no alternative names"),  # its common name would do
        (certificate(x509.DNSName("*.internal")), "no grant names"),
        (certificate(x509.RFC822Name("crm.internal")), "no grant names"),
        (certificate(name, x509.DNSName("b.internal")), "several principals"),
        (certificate(name, begins_days=1, ends_days=2), "not valid yet"),
        ({"x509_pem_cert": [b"no certificate"]}, "cannot be read"),
    ):
        with pytest.raises(TokenInvalidError) as refused:
            directory.identify_certificate(shown)
        assert cause in refused.value.cause


def test_an_identity_is_current_while_it_would_be_given_again(callers: KnownCallers) -> None:
    key = signing_key()
    callers.publish(key)
    old = callers.token("crm")
    new = callers.tokens.rotate("crm", expire_ms=None)
    grant = principal("crm", jwts=[jwt_of("crm")])
    callers.grant(grant, principal("other"))
    directory = directory_of(callers)
    identities = [directory.identify_token(token) for token in (old, new, signed(key))]

    def current() -> list[bool]:
        directory.replace(directory_of(callers).known)
        return [directory.is_current(each) for each in identities]

    assert current() == [True, True, True]
    callers.grant(grant)  # what others may do changes nothing
    assert current() == [True, True, True]
    callers.tokens.revoke("crm", is_old_only=True)
    assert current() == [False, True, True]
    callers.publish(signing_key())  # with the same `kid`
    assert current() == [False, True, False]
    callers.grant({**grant, "scopes": ["ingest"]})
    assert current() == [False, False, False]


def test_what_is_remembered_has_a_bound() -> None:
    recent: Recent[int, str] = Recent(max_answers=3)
    for number in range(3):
        recent.add(number, str(number))
    assert recent.get(0) == "0"
    recent.add(3, "3")
    assert (len(recent), recent.get(0), recent.get(1)) == (3, "0", None)
    recent.discard(0)
    recent.discard(0)
    assert len(recent) == 2
