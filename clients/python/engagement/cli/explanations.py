"""Explains a failed call in a line or two: what is wrong, and what to do next."""

from __future__ import annotations

import grpc

from engagement.cli.access import Access
from engagement.cli.failures import CommandError, NothingFoundError
from engagement.errors import (
    DeadlineError,
    EngagementError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

# Words of gRPC, whose messages repeat the address.
_UNRESOLVED = "address lookup failed"
_UNREACHED = "Failed to connect to remote host: "
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_HANDSHAKE = "handshake failed"


def explain(error: EngagementError, *, server: str, access: Access) -> CommandError:
    """The error of a command for one of a call."""
    text = " ".join(error.message.split())
    if isinstance(error, NotFoundError):
        return NothingFoundError(f"Not found: {text}")
    return CommandError(_explain(error, text, server=server, access=access))


def _explain(error: EngagementError, text: str, *, server: str, access: Access) -> str:
    if error.code is None:
        return text
    if isinstance(error, UnauthenticatedError):
        return _explain_token(error, server=server, access=access)
    if isinstance(error, PermissionDeniedError):
        return f"The server at {server} does not allow this: {text}. {_explain_denial(error, access=access)}"
    if error.metadata.keys() & {"nextPageToken", "resumeCursor"}:
        return f"The server at {server} cannot read on: {text}. --skip-damaged leaves damaged events out."
    if isinstance(error, UnavailableError | DeadlineError):
        if not error.reason:
            return _explain_unreachable(text, server=server)
        problem = f"cannot answer now: {text}. Try again later."
    elif error.code is grpc.StatusCode.UNIMPLEMENTED:
        problem = "is too old for this command; update it."
    else:
        problem = f"refused the request: {text}"
    return f"The server at {server} {problem}"


def _explain_token(error: EngagementError, *, server: str, access: Access) -> str:
    origin = access.token_origin
    if not origin:
        return (
            f"The server at {server} asks for a token. Name a file with one by --token-file, set "
            "ENGAGEMENT_TOKEN, or keep it in a profile with 'engagement config set NAME --token-file FILE'."
        )
    problem = "has expired" if error.reason == "TOKEN_EXPIRED" else "is not one that the server knows"
    return (
        f"The token of {origin} {problem}. Put a new one there; whoever runs the server at {server} "
        "gives it out with 'engagement token'."
    )


def _explain_denial(error: EngagementError, *, access: Access) -> str:
    who = f"the token of {access.token_origin}" if access.token_origin else "this command"
    match error.reason:
        case "ACCOUNT_FORBIDDEN":
            return f"Choose an account of {who} with --account, or another token with --token-file."
        case "SCOPE_MISSING":
            scopes = " or ".join(error.metadata.get("scopes", "").split(", "))
            return f"Ask whoever runs the server for the scope {scopes}, or use another token."
        case _:
            return f"Ask whoever runs the server what {who} may do."


def _explain_unreachable(text: str, *, server: str) -> str:
    if _UNRESOLVED in text:
        return f"The host of {server} is not known here; name another with --server or ENGAGEMENT_SERVER."
    if _UNTRUSTED in text:
        return (
            f"The certificate of the server at {server} is not one to trust here, or of another host; "
            "name the file of its authority with --ca."
        )
    if _HANDSHAKE in text:
        return (
            f"The server at {server} did not agree on TLS ({text}). If it asks for a certificate, give "
            f"--cert and --key; if it takes plain text, write http://{server}."
        )
    return (
        f"No answer from a server at {server} ({text.rpartition(_UNREACHED)[2]}).\n"
        "Start one with 'engagement serve', or name the right one with --server or ENGAGEMENT_SERVER."
    )
