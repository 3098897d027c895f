"""The ways to reach what another account has, from the contract: each field that names a stored thing.

A call without a base request fails, and so does a text in a request that nobody has decided about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from engagement import v1
from tests.support.contract import Descriptor, Method, methods
from tests.support.raw_upload import chunk, finish

STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
ACCOUNT_FIELD = "account_id"
# What each text of a request may name; None: it leads to nothing that is stored.
_NAMED: Final[Mapping[str, str | None]] = {
    "consumer_id": "consumer",
    "consumer_ids": "consumer",
    "conversation_id": "conversation",
    "conversation_ids": "conversation",
    "cursor": "cursor",
    "after_cursor": "cursor",
    "customer_id": "customer",
    "customer_ids": "customer",
    "customer_status": "status",
    "customer_statuses": "status",
    "customer_type": "status",
    "customer_types": "status",
    "erasure_id": "erasure",
    "event_id": "event",
    "event_ids": "event",
    "id": "consumer",
    "name": "status",
    "names": "put status",
    "page_token": "page token",
    "request_id": "request",
    "sha256": None,  # a digest of what the caller itself has sent
    "source": "source",
    "source_name": "source name",
    "subject_id": "consumer",
    "subject_ids": "consumer",
    "text": "text",
    "upload_id": "upload",
}
# Where a call stores what it names, so that later calls of the same account would find it.
_STORED: Final = {
    ("RecordEvent", "event.event_id"): "recorded event",
    ("RecordEvents", "events.event_id"): "recorded event",
    ("UploadEvents", "chunk.events.event_id"): "recorded event",
    ("UploadEvents", "open.upload_id"): "opened upload",
    ("EraseConsumer", "request_id"): "used request",
}


class Way(NamedTuple):
    """A field of a call that names something; without a path it is the call itself."""

    method: Method
    path: str = ""
    kind: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.method.name}({self.path})"

    def requests(self, account_id: str, *, value: str, fresh: str) -> list[Message]:
        """The messages of a call that names `value` there. `fresh` is an id that nobody has used."""
        requests = BASES[self.method.name](account_id, fresh)
        if self.kind in {"request", "used request"} and isinstance(requests[0], v1.EraseConsumerRequest):
            requests[0].validate_only = False
        for request in requests:
            which = request.WhichOneof("message") if self.method.client_streaming else None
            if self.path and (which is None or self.path.startswith(f"{which}.")):
                _put(request, self.path, value)
        if self.path == "open.upload_id":  # the answer to the opening says enough, and nothing is committed
            del requests[1:]
        return requests


def ways_of(method: Method) -> list[Way]:
    """All ways of a call."""
    ways = []
    for path in _texts(method.input_type):
        leaf = path.rpartition(".")[2]
        if "personal_info." in path or ("customer_info." in path and leaf not in _NAMED):
            continue  # a value that the caller brings
        assert leaf in _NAMED, f"say in _NAMED what {method.name}.{path} may name of another account"
        kind = _STORED.get((method.name, path), _NAMED[leaf])
        if kind is not None:
            ways.append(Way(method, path, kind))
    return ways or [Way(method)]


def all_ways() -> list[Way]:
    """Those of all calls."""
    return [way for method in methods() for way in ways_of(method)]


def _texts(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """The paths of all texts of a request but for its account."""
    for field in message.fields:
        inner = field.message_type
        if inner is None:
            if field.type in {field.TYPE_STRING, field.TYPE_BYTES} and field.name != ACCOUNT_FIELD:
                yield prefix + field.name
        elif not inner.GetOptions().map_entry and not inner.full_name.startswith("google."):
            yield from _texts(inner, f"{prefix}{field.name}.")


def _put(message: Any, path: str, value: str) -> None:  # Any: a message of any type
    name, _, rest = path.partition(".")
    member = getattr(message, name)
    if message.DESCRIPTOR.fields_by_name[name].is_repeated:
        if rest:
            _put(member[0] if member else member.add(), rest, value)
        else:
            member[:] = [value]
    elif rest:
        _put(member, rest, value)
    else:
        setattr(message, name, value)


def _event(fresh: str) -> v1.Event:
    return v1.Event(event_id=fresh, customer_info=v1.CustomerInfo(balance="1"))


def _upload(account: str, fresh: str) -> list[Message]:
    opening = v1.UploadEventsRequest.Open(account_id=account, upload_id=fresh)
    return [v1.UploadEventsRequest(open=opening), chunk(1, _event(fresh)), finish(1)]


def _erasing(account: str, fresh: str) -> list[Message]:
    return [
        v1.EraseConsumerRequest(
            account_id=account, request_id=fresh, subjects=[_subject(fresh)], validate_only=True
        )
    ]


def _subject(fresh: str) -> v1.Subject:
    return v1.Subject(consumer_id=f"nobody {fresh}")


BASES: Final[Mapping[str, Callable[[str, str], list[Message]]]] = {
    "DeleteEntity": lambda of, _: [v1.DeleteEntityRequest(account_id=of, kind=STATUS, name="none")],
    "EraseConsumer": _erasing,
    "GetErasure": lambda of, fresh: [v1.GetErasureRequest(account_id=of, erasure_id=fresh)],
    "GetEvent": lambda of, fresh: [v1.GetEventRequest(account_id=of, event_id=fresh)],
    "GetIdentity": lambda *_: [v1.GetIdentityRequest()],
    "GetPerson": lambda of, fresh: [v1.GetPersonRequest(account_id=of, id=fresh)],
    "GetProfile": lambda of, fresh: [v1.GetProfileRequest(account_id=of, consumer_id=fresh)],
    "GetServerInfo": lambda *_: [v1.GetServerInfoRequest()],
    "GetServerStats": lambda *_: [v1.GetServerStatsRequest()],
    "GetSuppression": lambda of, fresh: [v1.GetSuppressionRequest(account_id=of, subject=_subject(fresh))],
    "GetUpload": lambda of, fresh: [v1.GetUploadRequest(account_id=of, upload_id=fresh)],
    "LiftSuppression": lambda of, fresh: [v1.LiftSuppressionRequest(account_id=of, subject=_subject(fresh))],
    "ListAccounts": lambda *_: [v1.ListAccountsRequest()],
    "ListEntities": lambda of, _: [v1.ListEntitiesRequest(account_id=of, kind=STATUS)],
    "ListErasures": lambda of, _: [v1.ListErasuresRequest(account_id=of)],
    "ListEvents": lambda of, _: [v1.ListEventsRequest(account_id=of)],
    "ListRejections": lambda of, _: [v1.ListRejectionsRequest(account_id=of)],
    "ListUploads": lambda of, _: [v1.ListUploadsRequest(account_id=of)],
    "PutEntities": lambda of, _: [v1.PutEntitiesRequest(account_id=of, kind=STATUS, names=["Gold"])],
    "RecordEvent": lambda of, fresh: [v1.RecordEventRequest(account_id=of, event=_event(fresh))],
    "RecordEvents": lambda of, fresh: [v1.RecordEventsRequest(account_id=of, events=[_event(fresh)])],
    "ReleaseExpiry": lambda *_: [v1.ReleaseExpiryRequest(validate_only=True)],
    "SetRetention": lambda *_: [v1.SetRetentionRequest(retention={"seconds": 9**9}, validate_only=True)],
    "SubscribeEvents": lambda of, _: [
        v1.SubscribeEventsRequest(account_id=of, earliest=True, stop_at_tail=True)
    ],
    "UploadEvents": _upload,
}
"""A valid request to each call, about an account."""
