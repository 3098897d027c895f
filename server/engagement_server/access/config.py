"""The settings of identity: who is known, and by which tokens and keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engagement_server.errors import ConfigurationError
from engagement_server.settings import check_settings, setting


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Without grants the server asks nobody who they are. Raises ConfigurationError for half of a setting."""

    grants: Path | None = setting(
        None,
        metavar="FILE",
        help="Grants (TOML): whom the server knows, and what each may do. With it, callers must say who they "
        "are. It is read again when it changes.",
    )
    tokens: Path | None = setting(
        None,
        metavar="FILE",
        help="Digests of the tokens that `engagement token` has made. It is read again when it changes.",
    )
    jwt_keys: Path | None = setting(
        None,
        metavar="PATH",
        help="Public keys of JWTs: a JWK set, or a folder of .json files with one each. They are read again "
        "when they change.",
    )
    jwt_issuer: str = setting(
        "", metavar="ISSUER,…", help="Issuers whose JWTs are accepted (`iss`). Needed with --jwt-keys."
    )
    jwt_audience: str = setting(
        "", metavar="AUDIENCE,…", help="Names of this server in JWTs (`aud`). Needed with --jwt-keys."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.jwt_keys is None and (self.jwt_issuer or self.jwt_audience):
            raise ConfigurationError(
                "--jwt-issuer and --jwt-audience need --jwt-keys; give the keys of the issuer"
            )
        if self.jwt_keys is not None and not (all(self.issuers) and all(self.audiences)):
            raise ConfigurationError(
                "--jwt-keys needs --jwt-issuer and --jwt-audience; name whose tokens, and which, to accept"
            )
        if self.grants is None and (self.tokens or self.jwt_keys):
            raise ConfigurationError(
                "--tokens and --jwt-keys do nothing without --grants, which says what each caller may do"
            )

    @property
    def is_on(self) -> bool:
        """Whether callers are asked who they are."""
        return self.grants is not None

    @property
    def issuers(self) -> tuple[str, ...]:
        """Whose JWTs are accepted."""
        return tuple(name.strip() for name in self.jwt_issuer.split(","))

    @property
    def audiences(self) -> tuple[str, ...]:
        """The names of this server in JWTs."""
        return tuple(name.strip() for name in self.jwt_audience.split(","))

    def require_way_in(self, *, by_certificate: bool) -> None:
        """Raises ConfigurationError if callers are asked, and have no way to answer."""
        if self.is_on and not (self.tokens or self.jwt_keys or by_certificate):
            raise ConfigurationError(
                "--grants needs --tokens or --jwt-keys, so that callers can show who they are"
            )


ACCESS_OFF = AccessConfig()
"""Nobody is asked."""
