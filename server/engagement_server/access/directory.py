"""The directory: finds the principal of a token, a JWT or a certificate, as the files know them now."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.access.grants import NO_GRANTS, Grants, JwtSubject
from engagement_server.access.identities import Identity
from engagement_server.access.last_uses import LastUses, name_of
from engagement_server.access.recent import Recent
from engagement_server.access.secrets import PREFIX, Secret, find_secret, is_mistyped, token_id_of
from engagement_server.errors import TokenExpiredError, TokenInvalidError, TokenMissingError

if TYPE_CHECKING:
    from engagement_server.access.jwts import JwtChecker
    from engagement_server.access.principals import Principal

MAX_REMEMBERED: Final = 10_000
"""JWTs, and certificates, that are not checked again until they expire or a file changes."""
MAX_JWT_CHARACTERS: Final = 16 * 1024
_MISTYPED: Final = "it is mistyped, or cut"
_PEM_PROPERTY: Final = "x509_pem_cert"


class Known(NamedTuple):
    """What the files say."""

    grants: Grants = NO_GRANTS
    secrets: Mapping[str, Sequence[Secret]] = {}
    """By id."""
    keys: JwtChecker | None = None


class Directory:
    """Implements `Credentials` over what the files say. Whatever is wrong, callers get the same error."""

    def __init__(self, known: Known, *, uses: LastUses, on_unknown_key: Callable[[], None]) -> None:
        """`uses` is told of each use of a secret. `on_unknown_key` is called for JWTs by unknown keys."""
        self._known = known
        self._uses = uses
        self._on_unknown_key = on_unknown_key
        self._remembered: Recent[bytes, Identity] = Recent(max_answers=MAX_REMEMBERED)

    @property
    def known(self) -> Known:
        """What the files say."""
        return self._known

    @property
    def secret_names(self) -> frozenset[str]:
        """The names of all secrets."""
        return frozenset(name_of(each) for secrets in self._known.secrets.values() for each in secrets)

    def replace(self, known: Known) -> None:
        """Goes by another version of the files from now on."""
        self._known = known
        self._remembered.clear()

    def identify_token(self, token: str) -> Identity:
        """See `Credentials.identify_token`."""
        return self._by_secret(token) if token.startswith(PREFIX) else self._by_jwt(token)

    def identify_certificate(self, shown: Mapping[str, Iterable[bytes]]) -> Identity:
        """See `Credentials.identify_certificate`."""
        pem = next(iter(shown.get(_PEM_PROPERTY, ())), b"")
        if not pem:
            raise TokenMissingError
        digest = hashlib.sha256(pem).digest()
        identity = self._recent(digest)
        if identity is None:
            identity = self._by_certificate(pem)
            self._remembered.add(digest, identity)
        return identity

    def is_current(self, identity: Identity) -> bool:
        """See `Credentials.is_current`."""
        if identity.expires_at is not None and time.time() >= identity.expires_at:
            return False
        grants, secrets, keys = self._known
        key, proof = identity.credential_id, identity.proof
        match identity.credential:
            case "token":
                is_known = any(each.digest in proof for each in secrets.get(key, ()))
                principal = grants.by_token.get(key)
            case "jwt":
                issuer, subject, thumbprint = proof
                is_known = keys is not None and keys.has(thumbprint)
                principal = grants.by_jwt.get(JwtSubject(issuer, subject))
            case _:
                is_known = True
                principal = grants.by_certificate.get(key)
        return is_known and principal == identity.principal

    def _recent(self, digest: bytes) -> Identity | None:
        """The identity of a credential that was shown before. Raises TokenExpiredError."""
        identity = self._remembered.get(digest)
        if identity is not None and identity.expires_at is not None and time.time() >= identity.expires_at:
            self._remembered.discard(digest)
            raise TokenExpiredError
        return identity

    def _by_secret(self, token: str) -> Identity:
        token_id = token_id_of(token)
        if token_id is None:
            raise TokenInvalidError(_MISTYPED)
        secret = find_secret(self._known.secrets.get(token_id, ()), token)
        if secret is None:
            raise TokenInvalidError(self._why_unknown(token, token_id))
        now_ms = time.time_ns() // 1_000_000
        if not secret.is_live(now_ms=now_ms):
            raise TokenExpiredError
        principal = _granted(self._known.grants.by_token.get(token_id), f"the token {token_id!r}")
        self._uses.note(secret, now_ms=now_ms)
        expires_at = None if secret.expire_ms is None else secret.expire_ms / 1000
        return Identity(principal, "token", token_id, expires_at, (secret.digest,))

    def _why_unknown(self, token: str, token_id: str) -> str:
        """Why a secret is not known; it names no id that the caller has made up."""
        if is_mistyped(token):
            return _MISTYPED
        if token_id in self._known.secrets or token_id in self._known.grants.by_token:
            return f"it is none of the secrets of {token_id!r}"
        return "there is no token with its id"

    def _by_jwt(self, token: str) -> Identity:
        keys = self._known.keys
        if keys is None:
            raise TokenInvalidError("it is no token of `engagement token`, and JWTs are not accepted")
        if not token.isascii() or len(token) > MAX_JWT_CHARACTERS:
            raise TokenInvalidError("it is no JWT, or too long")
        digest = hashlib.sha256(token.encode()).digest()
        identity = self._recent(digest)
        if identity is None:
            if not keys.knows(token):
                self._on_unknown_key()
            claims = keys.check(token, now=time.time())
            principal = _granted(self._known.grants.by_jwt.get(claims.subject), "the subject of the JWT")
            proof = (*claims.subject, claims.key)
            identity = Identity(principal, "jwt", str(claims.subject), claims.expires_at, proof)
            self._remembered.add(digest, identity)
        return identity

    def _by_certificate(self, pem: bytes) -> Identity:
        from engagement_server.access.certificates import read_certificate  # noqa: PLC0415  # loads a library

        certificate = read_certificate(pem)
        now = time.time()
        if now < certificate.begins_at:
            raise TokenInvalidError("the certificate is not valid yet")
        if now >= certificate.expires_at:
            raise TokenExpiredError
        granted = self._known.grants.by_certificate
        found = {name: granted[name] for name in certificate.names if name in granted}
        if len({principal.name for principal in found.values()}) > 1:
            raise TokenInvalidError("the certificate has names of several principals")
        name = next(iter(found), "")
        principal = _granted(found.get(name), "any name of the certificate")
        return Identity(principal, "certificate", name, certificate.expires_at)


def _granted(principal: Principal | None, what: str) -> Principal:
    if principal is None:
        raise TokenInvalidError(f"no grant names {what}")
    return principal
