"""Callers that are not known, or may not do what they ask for."""

from __future__ import annotations

from engagement_server.errors.base import (
    ExhaustedError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
)


class TokenMissingError(UnauthenticatedError):
    """The call says nothing about who makes it."""

    reason = "TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("this server asks who calls; send a token as `authorization: Bearer …`")


class TokenInvalidError(UnauthenticatedError):
    """What the caller has shown is not accepted; why, only the log says."""

    reason = "TOKEN_INVALID"

    def __init__(self, cause: str) -> None:
        super().__init__("the token or certificate is not accepted; ask the operator for a valid one")
        self.cause = cause
        """Why, for operators: without the token."""


class TokenExpiredError(UnauthenticatedError):
    """What the caller has shown was valid once."""

    reason = "TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("the token or certificate has expired; repeat the call with a new one")


class AccountForbiddenError(PermissionDeniedError):
    """The grant does not cover the account."""

    reason = "ACCOUNT_FORBIDDEN"

    def __init__(self, account_id: str | None) -> None:
        """`account_id` is None if the call names no account."""
        if account_id is None:
            super().__init__("name the account of the call in its metadata as `engagement-account`")
        else:
            super().__init__("the grant of the caller does not cover this account", accountId=account_id)


class ScopeMissingError(PermissionDeniedError):
    """The grant has none of the scopes that the method, or what was asked of it, needs."""

    reason = "SCOPE_MISSING"

    def __init__(self, scopes: str, *, what: str = "") -> None:
        """`what` says which part of the request needs them; empty for the whole of it."""
        message = f"the grant of the caller has none of the scopes: {scopes}"
        super().__init__(f"{what} ({message})" if what else message, scopes=scopes)


class AccountMismatchError(InvalidRequestError):
    """The metadata and the request name different accounts, or the metadata two."""

    reason = "ACCOUNT_MISMATCH"

    def __init__(self) -> None:
        super().__init__(
            "`engagement-account` of the metadata must be the account of the request, and stand there once"
        )


class QuotaExceededError(ExhaustedError):
    """A quota of the caller is used up."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, *, quota: str, limit: float, retry_delay_seconds: float | None) -> None:
        """`quota` is its name in the grants."""
        self.quota = quota
        self.limit = limit
        self.retry_delay_seconds = retry_delay_seconds
        advice = (
            "retry after the delay"
            if retry_delay_seconds is not None
            else "waiting does not help, so ask for more"
        )
        super().__init__(
            f"the quota {quota} of {limit:,.0f} is used up; {advice}", quota=quota, limit=f"{limit:.15g}"
        )
