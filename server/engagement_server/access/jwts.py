"""Checks JWTs with the public keys of their issuers, from files. It makes no request to anybody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import joserfc.errors
from joserfc import jwk, jws
from joserfc.jwt import decode

from engagement_server.access.grants import JwtSubject
from engagement_server.errors import ConfigurationError, TokenExpiredError, TokenInvalidError

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
)
"""Asymmetric ones: who can check a token must not be able to make one."""
LEEWAY_SECONDS: Final = 30.0
MAX_KEYS: Final = 1_000
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
# What a header may have: with `jku`, `jwk` or `x5u` a token would bring its own key, `crit` asks for what is
# not known here.
_HEADER: Final = frozenset(("alg", "kid", "typ", "cty", "x5t", "x5t#S256"))


class Claims(NamedTuple):
    """What a valid JWT says."""

    subject: JwtSubject
    expires_at: float
    """Epoch seconds, with the leeway."""
    key: str
    """The thumbprint of the key that has signed it."""


class JwtChecker:
    """Checks JWTs of one issuer or several for one audience."""

    def __init__(self, keys: Iterable[bytes], *, issuers: Sequence[str], audiences: Sequence[str]) -> None:
        """`keys` are JWK sets in JSON. Raises ConfigurationError."""
        self._issuers = frozenset(issuers)
        self._audiences = frozenset(audiences)
        self._registry = jws.JWSRegistry(algorithms=list(ALGORITHMS))
        self._keys: dict[str, jwk.Key] = {}
        for content in keys:
            for key in _read_keys(content):
                if key.kid is None:
                    raise ConfigurationError("a key of it has no `kid`, by which tokens name their key")
                if key.kid in self._keys:
                    raise ConfigurationError(f"two keys have the `kid` {key.kid!r}")
                self._keys[key.kid] = key
        self._thumbprints = {kid: key.thumbprint() for kid, key in self._keys.items()}
        if len(self._keys) > MAX_KEYS:
            raise ConfigurationError(f"there are {len(self._keys):,} keys, more than {MAX_KEYS:,}")

    def knows(self, token: str) -> bool:
        """Whether the key is loaded that a token names."""
        return _header_of(token).get("kid") in self._keys

    def has(self, thumbprint: str) -> bool:
        """Whether a key is loaded."""
        return thumbprint in self._thumbprints.values()

    def check(self, token: str, *, now: float) -> Claims:
        """Returns what a token says at an epoch second. Raises TokenInvalidError and TokenExpiredError."""
        header = _header_of(token)
        if header.keys() - _HEADER:  # whose names may be anything
            raise TokenInvalidError("its header asks for what is not allowed")
        key = self._keys.get(header.get("kid", ""))
        if key is None:
            raise TokenInvalidError("its key is not loaded")
        if header.get("alg") not in ALGORITHMS or key.alg not in {None, header["alg"]}:
            raise TokenInvalidError("its algorithm is not allowed")
        try:
            claims = decode(token, key, registry=self._registry).claims
        except (joserfc.errors.JoseError, ValueError, TypeError, RecursionError) as error:
            raise TokenInvalidError(f"its signature or form is wrong: {type(error).__name__}") from error
        return self._checked(claims, key=self._thumbprints[header["kid"]], now=now)

    def _checked(self, claims: Mapping[str, Any], *, key: str, now: float) -> Claims:  # Any: what it says
        issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise TokenInvalidError("its issuer is another one")
        if not any(isinstance(each, str) and each in self._audiences for each in audiences):
            raise TokenInvalidError("it is for another audience")
        if not isinstance(subject, str) or not subject:
            raise TokenInvalidError("it names no subject")
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        if expires is None or not _is_time(expires) or not _is_time(begins):
            raise TokenInvalidError("it has no time of expiry, or no times")
        expires_at = float(expires) + LEEWAY_SECONDS
        if now >= expires_at:
            raise TokenExpiredError
        if now < float(begins) - LEEWAY_SECONDS:
            raise TokenInvalidError("it is not valid yet")
        return Claims(JwtSubject(issuer, subject), expires_at, key)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12


def _header_of(token: str) -> dict[str, Any]:  # Any: what the token says
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (joserfc.errors.JoseError, ValueError, TypeError, RecursionError) as error:
        raise TokenInvalidError("it is not a JWT") from error
    if not isinstance(header, dict) or not all(isinstance(value, str) for value in header.values()):
        raise TokenInvalidError("its header is wrong")
    return header


def _read_keys(content: bytes) -> list[jwk.Key]:
    """The public keys of a JWK set."""
    try:
        document = json.loads(content)
        described = document["keys"]
        if any(key.get("kty") == "oct" for key in described):
            raise ConfigurationError("it has a symmetric key, which could make tokens too; use public keys")
        keys = jwk.KeySet.import_key_set(document).keys if described else []
    except (
        *(joserfc.errors.JoseError, AttributeError, KeyError),
        *(RecursionError, TypeError, ValueError),
    ) as error:
        raise ConfigurationError("it is not a JWK set, as issuers publish at their jwks_uri") from error
    for key in keys:
        if key.is_private:
            raise ConfigurationError("it has a private key; servers need the public one only")
        if isinstance(key, jwk.RSAKey) and not _MIN_RSA_BITS <= key.public_key.key_size <= _MAX_RSA_BITS:
            raise ConfigurationError(f"an RSA key must have {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits")
    return list(keys)
