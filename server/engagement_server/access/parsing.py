"""Turns the contents of the files of access into what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.access import files
from engagement_server.access.directory import Known
from engagement_server.access.grants import read_grants
from engagement_server.access.secrets import read_secrets
from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from engagement_server.access.config import AccessConfig
    from engagement_server.access.files import AllContents, Contents
    from engagement_server.access.grants import Grants
    from engagement_server.access.jwts import JwtChecker


def know(known: Known, contents: AllContents, *, config: AccessConfig) -> Known:
    """What is known once some files have these contents. Raises ConfigurationError."""
    for kind, content in contents.items():
        match kind:
            case files.GRANTS:
                known = known._replace(grants=_grants(content))
            case files.TOKENS:
                known = known._replace(secrets=read_secrets(b"".join(content)))
            case _:
                known = known._replace(keys=_keys(content, config))
    return known


def _grants(content: Contents) -> Grants:
    try:
        text = b"".join(content).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError("it is not text in UTF-8") from error
    return read_grants(text)


def _keys(content: Contents, config: AccessConfig) -> JwtChecker:
    try:
        from engagement_server.access.jwts import JwtChecker  # noqa: PLC0415  # what it loads is not small
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"JWTs need {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server]'"
        ) from error
    filled = [each for each in content if each.strip()]
    return JwtChecker(filled, issuers=config.issuers, audiences=config.audiences)
