"""Ids that nothing has."""

from __future__ import annotations

from engagement_server.errors.base import NotFoundError


class EventNotFoundError(NotFoundError):
    """No event has this id or cursor."""

    reason = "EVENT_NOT_FOUND"

    def __init__(self, **key: str) -> None:
        ((name, value),) = key.items()
        super().__init__(f"the account has no event with {name} {value!r}", **key)


class UploadNotFoundError(NotFoundError):
    """No upload has this id."""

    reason = "UPLOAD_NOT_FOUND"

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"the account has no upload {upload_id!r}", uploadId=upload_id)


class EntityNotFoundError(NotFoundError):
    """A list does not have this name."""

    reason = "ENTITY_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"the list has no name {name!r}", name=name)


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    reason = "ERASURE_NOT_FOUND"

    def __init__(self, erasure_id: str) -> None:
        super().__init__(f"the account has no erasure {erasure_id!r}", erasureId=erasure_id)


class ProfileNotFoundError(NotFoundError):
    """No event describes this consumer."""

    reason = "PROFILE_NOT_FOUND"

    def __init__(self, **key: str) -> None:
        ((name, value),) = key.items()
        super().__init__(f"no event of the account describes the consumer with {name} {value!r}", **key)
