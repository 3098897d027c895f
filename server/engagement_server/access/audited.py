"""Which methods of the contract the audit log is about, and whom their requests name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from engagement import v1
from engagement.v1 import (
    entity_service_pb2,
    event_service_pb2,
    ingest_service_pb2,
    privacy_service_pb2,
    server_service_pb2,
)
from engagement_server.access.audit_kinds import Kind

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _nobody(_: Any) -> Iterator[str]:  # Any: requests of all types, here and below
    return iter(())


class Audited(NamedTuple):
    """What is written about the calls of a method."""

    kind: Kind
    ids: Callable[[Any], Iterator[str]] = _nobody
    """The ids of a request that name persons, or their events."""
    is_safe: bool = True
    """Whether it changes nothing that must not change without a line."""
    counts_events: bool = False
    """Whether its handler notes how many events it shows."""
    is_masked: bool = False
    """Whether it masks what it shows to callers without the scope for it."""

    def begins(self, request: Any) -> bool:
        """Whether a line has to be on disk before the call goes on."""
        return not self.is_safe and not is_preview(request)


def is_preview(request: Any) -> bool:
    """Whether a request only asks what would change."""
    return bool(getattr(request, "validate_only", False))


def erasure_id_of(message: Any) -> str:
    """The id of the erasure that a message is about; empty without one that a server has made."""
    said = message.erasure if isinstance(message, v1.EraseConsumerResponse) else message
    erasure_id = str(getattr(said, "erasure_id", ""))
    return erasure_id if _UUID.fullmatch(erasure_id) else ""


def is_export(request: Any) -> bool:
    """Whether a request asks for a stream that ends at the tail."""
    return bool(getattr(request, "stop_at_tail", False))


def _subjects(*subjects: Any) -> Iterator[str]:
    for subject in subjects:
        if name := subject.WhichOneof("id"):
            yield getattr(subject, name)


def _filtered(request: Any) -> Iterator[str]:
    wanted = request.filter
    yield from (
        *wanted.subject_ids,
        *wanted.consumer_ids,
        *wanted.customer_ids,
        *wanted.conversation_ids,
    )


def _fields(*names: str) -> Callable[[Any], Iterator[str]]:
    def ids(request: Any) -> Iterator[str]:
        return (value for name in names if (value := getattr(request, name)))

    return ids


def _erased(request: Any) -> Iterator[str]:
    yield from _subjects(*request.subjects)
    yield from request.event_ids


def _methods(
    file: Any, service: str, methods: Mapping[str, Audited]
) -> Iterator[tuple[str, Audited]]:  # Any: the stubs have no type for the module
    described = file.DESCRIPTOR.services_by_name[service].methods_by_name
    return ((described[name].full_name, audited) for name, audited in methods.items())


AUDITED: Final[Mapping[str, Audited]] = dict(
    (
        *_methods(
            privacy_service_pb2,
            "PrivacyService",
            {
                "EraseConsumer": Audited(Kind.ERASURES, _erased, is_safe=False, counts_events=True),
                "LiftSuppression": Audited(
                    Kind.ERASURES, lambda request: _subjects(request.subject), is_safe=False
                ),
                "GetErasure": Audited(Kind.READS),
                "ListErasures": Audited(Kind.READS, _fields("subject_id")),
                "GetSuppression": Audited(Kind.READS, lambda request: _subjects(request.subject)),
                "GetPerson": Audited(Kind.READS, _fields("id")),
            },
        ),
        *_methods(
            event_service_pb2,
            "EventService",
            {
                "GetEvent": Audited(Kind.READS, _fields("event_id"), counts_events=True, is_masked=True),
                "GetProfile": Audited(Kind.READS, _fields("consumer_id", "customer_id"), is_masked=True),
                "ListEvents": Audited(Kind.EXPORTS, _filtered, counts_events=True, is_masked=True),
                "SubscribeEvents": Audited(Kind.EXPORTS, _filtered, counts_events=True, is_masked=True),
            },
        ),
        *_methods(
            ingest_service_pb2,
            "IngestService",
            {
                "GetUpload": Audited(Kind.READS, _fields("subject_id")),
                "ListRejections": Audited(Kind.READS),
            },
        ),
        *_methods(
            entity_service_pb2,
            "EntityService",
            {"PutEntities": Audited(Kind.CHANGES), "DeleteEntity": Audited(Kind.CHANGES)},
        ),
        *_methods(
            server_service_pb2,
            "ServerService",
            {"SetRetention": Audited(Kind.CHANGES), "ReleaseExpiry": Audited(Kind.CHANGES)},
        ),
    )
)
"""By the full name of the method. The others neither show nor remove what is about persons."""
