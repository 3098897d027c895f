"""Requests that succeed later."""

from __future__ import annotations

from engagement_server.errors.base import UnavailableError


class OverloadedError(UnavailableError):
    """Too much work is waiting."""

    reason = "OVERLOADED"

    def __init__(self) -> None:
        super().__init__("the server is overloaded; retry with the same event ids")


class DrainingError(UnavailableError):
    """The server is stopping."""

    reason = "DRAINING"

    def __init__(self) -> None:
        super().__init__("the server is stopping; retry with the same event ids")


class ProfilePendingError(UnavailableError):
    """The profile is being prepared from very many events."""

    reason = "PROFILE_PENDING"

    def __init__(self) -> None:
        super().__init__("the profile is being prepared from very many events; retry after the delay")


class StoreUnavailableError(UnavailableError):
    """The store cannot be written or read."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, cause: str, *, message: str = "") -> None:
        """`message` says it better than by the cause alone."""
        super().__init__(
            message or f"the store is not available ({cause}); retry with the same event ids", cause=cause
        )

    @property
    def is_full(self) -> bool:
        """Whether the disk has no room."""
        return self.metadata["cause"] == "disk full"
