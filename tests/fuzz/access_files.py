"""Tokens, and the files that say who is known."""

from __future__ import annotations

import contextlib
import ssl
import time
import warnings
from typing import Final

import trustme
from cryptography.utils import CryptographyDeprecationWarning

from engagement_server.access.certificates import read_certificate
from engagement_server.access.grants import read_grants
from engagement_server.access.jwts import JwtChecker
from engagement_server.access.secrets import new_token, read_secrets
from engagement_server.errors import ConfigurationError, TokenExpiredError, TokenInvalidError
from tests.fuzz.known import CHECKER, DIRECTORY, GRANTS, JWTS, KEYS
from tests.support.known_callers import AUDIENCE, ISSUER

SECRETS: Final = [
    b'{"version":1,"secrets":[{"id":"crm","digest":"' + b"0" * 64 + b'","create_ms":1,"expire_ms":2}]}'
]
GRANT_FILES: Final = [GRANTS.encode()]
KEY_SETS: Final = [KEYS]
TOKENS: Final = [*JWTS, new_token("crm").encode()]
_PEM: Final = trustme.CA().issue_cert("crm.internal").cert_chain_pems[0].bytes()
_DER: Final = ssl.PEM_cert_to_DER_cert(_PEM.decode())
_VERSIONS: Final = bytes.fromhex("a003020102"), bytes.fromhex("a003020142")
# The last is of a version that does not exist: the library raises something else for it.
CERTIFICATES: Final = [_PEM, _DER, _DER.replace(*_VERSIONS, 1)]


def read_token(data: bytes) -> None:
    """No text is a token that nobody has made, and none is taken for the token of a principal."""
    text = data.decode("utf-8", "replace")
    for check in (lambda: CHECKER.check(text, now=time.time()), lambda: DIRECTORY.identify_token(text)):
        try:
            check()
        except (TokenInvalidError, TokenExpiredError):
            continue
        raise AssertionError("a token that nobody has made is accepted")


def read_pem(data: bytes) -> None:
    """A certificate is read, or refused, in PEM and as what is in it."""
    for pem in (data, ssl.DER_cert_to_PEM_cert(data).encode()):
        with contextlib.suppress(TokenInvalidError), warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            found = read_certificate(pem)
            assert all(name.startswith(("uri:", "dns:")) for name in found.names)


def read_grant_file(data: bytes) -> None:
    """A file of grants is read, or refused with a sentence."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(ConfigurationError):
        for principal in read_grants(text).principals:
            assert not principal.is_publishable or not principal.may_authenticate


def read_secret_file(data: bytes) -> None:
    """A file of secrets is read, or refused with a sentence."""
    with contextlib.suppress(ConfigurationError):
        read_secrets(data)


def read_key_set(data: bytes) -> None:
    """A file of keys is read, or refused with a sentence."""
    with contextlib.suppress(ConfigurationError):
        JwtChecker([data], issuers=[ISSUER], audiences=[AUDIENCE])
