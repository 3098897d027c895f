"""What the fuzzed parts know: keys, secrets and grants that no input has the secrets of."""

from __future__ import annotations

from typing import Final

from engagement_server.access.directory import Directory, Known
from engagement_server.access.grants import read_grants
from engagement_server.access.jwts import JwtChecker
from engagement_server.access.last_uses import LastUses
from engagement_server.access.scopes import requirement_of
from engagement_server.access.secrets import Secret, digest_of, new_token
from tests.support.contract import methods
from tests.support.known_callers import AUDIENCE, ISSUER, key_set, signed, signing_key

GRANTS: Final = """
[[principal]]
name = "crm"
tokens = ["crm"]
jwts = [{ issuer = "https://id.example", subject = "crm" }]
certificates = ["dns:crm.internal"]
accounts = ["acme", "brand-*"]
scopes = ["ingest", "read"]

[[principal]]
name = "page"
tokens = ["page"]
accounts = ["acme"]
scopes = ["ingest"]
sources = ["web"]
authenticated = false
publishable = true
events_per_second = 100
"""
KEY: Final = signing_key()
KEYS: Final = key_set(KEY)
_FOREIGN: Final = signing_key()
"""Of somebody else, with the same id."""
CHECKER: Final = JwtChecker([KEYS], issuers=[ISSUER], audiences=[AUDIENCE])
JWTS: Final = [signed(_FOREIGN).encode(), signed(_FOREIGN, aud=["x", AUDIENCE], nbf=1).encode()]
_SECRET: Final = Secret(id="crm", digest=digest_of(new_token("crm")), create_ms=1)
DIRECTORY: Final = Directory(
    Known(read_grants(GRANTS), {"crm": [_SECRET]}, CHECKER), uses=LastUses(), on_unknown_key=lambda: None
)
REQUIREMENTS: Final = sorted({requirement_of(method) for method in methods()}, key=str)
