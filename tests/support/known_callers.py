"""Callers that a server knows: files of grants, tokens and keys in a folder, and what callers show."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from joserfc import jwk, jwt

from engagement_server.access.config import AccessConfig
from engagement_server.access.token_file import TokenFile

ISSUER, AUDIENCE = "https://id.example", "engagement"


class KnownCallers:
    """The files of a server's access. Grants are written as JSON values, which TOML reads as well."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.grants_path = folder / "grants.toml"
        self.tokens_path = folder / "tokens.json"
        self.keys_path = folder / "keys"
        self.keys_path.mkdir(exist_ok=True)
        self.tokens = TokenFile(self.tokens_path)
        self.tokens_path.touch()
        self.grant()

    @property
    def config(self) -> AccessConfig:
        """The settings of a server that reads these files."""
        return AccessConfig(
            grants=self.grants_path,
            tokens=self.tokens_path,
            jwt_keys=self.keys_path,
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
        )

    @property
    def options(self) -> tuple[str, ...]:
        """The same as options of `engagement serve`."""
        files = ("--grants", str(self.grants_path), "--tokens", str(self.tokens_path))
        return (*files, "--jwt-keys", str(self.keys_path), "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)

    def grant(self, *principals: Mapping[str, Any]) -> None:
        """Writes the grants: these, and no others."""
        tables = (
            "[[principal]]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in each.items())
            for each in principals
        )
        self.replace(self.grants_path, "\n".join(tables))

    def token(self, token_id: str, *, expire_ms: int | None = None) -> str:
        """Makes a token."""
        return self.tokens.create(token_id, expire_ms=expire_ms)

    def publish(self, *keys: jwk.Key, name: str = "issuer.json") -> None:
        """Writes the public keys of an issuer."""
        self.replace(self.keys_path / name, key_set(*keys).decode())

    @staticmethod
    def replace(path: Path, text: str) -> None:
        """Replaces a file as a whole."""
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        os.replace(new, path)


def principal(name: str, **keys: Any) -> dict[str, Any]:
    """A principal with the token of its name, for the account `acme`."""
    return {"name": name, "tokens": [name], "accounts": ["acme"], "scopes": ["read"], **keys}


def signing_key(key_id: str = "k1") -> jwk.ECKey:
    """A new key of an issuer."""
    return jwk.ECKey.generate_key("P-256", {"kid": key_id, "alg": "ES256", "use": "sig"})


def key_set(*keys: jwk.Key) -> bytes:
    """The JWK set that an issuer publishes."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def signed(key: jwk.Key, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A JWT that is valid for five minutes, unless the claims say otherwise."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "crm", "exp": now + 300, **claims}
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": key.kid, **(header or {})}, kept, key, algorithms=["ES256"])


def shown(token: str | None, *accounts: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call."""
    named = tuple(("engagement-account", account) for account in accounts)
    return named if token is None else (("authorization", f"Bearer {token}"), *named)


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    return value.isoformat() if isinstance(value, date) else json.dumps(value)
