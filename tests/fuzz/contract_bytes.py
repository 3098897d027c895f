"""Bytes of calls: events, requests, cursors, page tokens and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from engagement.rules import check_serialized, is_plainly_valid
from engagement_server.access.masking import PERSON_MASK
from engagement_server.api.grpc.admission import Admission
from engagement_server.api.grpc.call_lines import caller_request_id
from engagement_server.api.grpc.excess import hide_excess
from engagement_server.api.grpc.status import MAX_DETAILS_BYTES, describe
from engagement_server.cursor import Cursors, first_position
from engagement_server.errors import (
    FieldInvalidError,
    InvalidRequestError,
    LogEpochChangedError,
    RequestError,
)
from engagement_server.telemetry.context import parse_context
from engagement_server.validation import examine, require_valid
from tests.fuzz.known import DIRECTORY, REQUIREMENTS
from tests.support.attack_ways import BASES
from tests.support.contract import methods
from tests.support.events import at_once
from tests.support.filled_events import filled_events

EVENTS: Final = [event.SerializeToString() for event in filled_events().values()]
_METHODS: Final = methods()
REQUESTS: Final = [
    bytes([number]) + request.SerializeToString()
    for number, method in enumerate(_METHODS)
    for request in BASES[method.name]("acme", "fresh")
]
_CURSORS: Final = Cursors(epoch=0xDEADBEEF, key=b"k" * 32)
_OTHERS: Final = Cursors(epoch=0xDEADBEEF, key=b"o" * 32)
_ARGUMENTS: Final = b"arguments"
_NUMBER: Final = 7
_NOW_MS: Final = 1_700_000_000_000
TEXTS: Final = [
    text.encode()
    for cursors in (_CURSORS, _OTHERS)
    for text in (
        cursors.encode(first_position(_NUMBER) + 5),
        cursors.encode_origin("acme"),
        cursors.encode_page(9, arguments=_ARGUMENTS),
        cursors.encode_name("name", arguments=_ARGUMENTS),
    )
]
METADATA: Final = [
    b"authorization\0Bearer eng_crm_x\nengagement-account\0acme\nx-request-id\0r-1",
    b"traceparent\x0000-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate\0a=b",
]


def read_event(data: bytes) -> None:
    """Whatever can be parsed is checked, stored or refused, and masked."""
    try:
        event = v1.Event.FromString(data)
    except DecodeError:
        return
    payload = event.SerializeToString(deterministic=True)
    broken = check_serialized(event, payload, now_ms=_NOW_MS)
    if is_plainly_valid(event, payload, now_ms=_NOW_MS):
        assert not broken, "the quick check takes what the rules refuse"
    at_once(examine([event]))
    masked = v1.Event.FromString(data)
    paths = PERSON_MASK.mask_event(masked)
    again = v1.Event.FromString(masked.SerializeToString())
    assert [*PERSON_MASK.mask_event(again)] == [*paths], "masking twice differs"
    assert again == masked


def read_request(data: bytes) -> None:
    """A request of any call is valid, or refused with a bounded status."""
    method = _METHODS[data[0] % len(_METHODS)] if data else _METHODS[0]
    request_class: type[Message] = GetMessageClass(method.input_type)
    body = data[1:]
    try:
        body = at_once(hide_excess(body, request_class.DESCRIPTOR))
        require_valid(request_class.FromString(body))
    except (DecodeError, ValueError):
        return
    except FieldInvalidError as error:
        _, message, trailing = describe(error)
        assert len(message.encode()) <= MAX_DETAILS_BYTES
        assert sum(len(value) for _, value in trailing) <= MAX_DETAILS_BYTES + 256


def read_cursor(data: bytes) -> None:
    """Only what these servers have made is taken as a cursor or as a page token."""
    text = data.decode("utf-8", "replace")
    checks: tuple[tuple[Any, Any], ...] = (
        (lambda: _CURSORS.decode(text, account_id="acme", account_number=_NUMBER), _cursor_again),
        (lambda: _CURSORS.decode_page(text, arguments=_ARGUMENTS), _page_again),
        (lambda: _CURSORS.decode_name(text, arguments=_ARGUMENTS), _name_again),
    )
    for decode, encode in checks:
        try:
            found = decode()
        except (InvalidRequestError, LogEpochChangedError):
            continue
        assert text in encode(found), "somebody else has made it"


def _cursor_again(position: int) -> Iterable[str]:
    return _CURSORS.encode(position), _CURSORS.encode_origin("acme")


def _page_again(position: int) -> Iterable[str]:
    return (_CURSORS.encode_page(position, arguments=_ARGUMENTS),)


def _name_again(name: str) -> Iterable[str]:
    return (_CURSORS.encode_name(name, arguments=_ARGUMENTS),)


class _Context:
    """Stands for the library's: what a call has before its message."""

    def __init__(self, data: bytes) -> None:
        pairs = [line.partition(b"\0") for line in data.split(b"\n")]
        self._metadata = [
            (key.decode("latin-1"), value if key.endswith(b"-bin") else value.decode("latin-1"))
            for key, _, value in pairs
        ]
        self._certificate = data

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {"x509_pem_cert": [self._certificate]}


def read_metadata(data: bytes) -> None:
    """Nobody is let in who shows nothing that is known, whatever else the metadata says."""
    context: Any = _Context(data)
    for requirement in REQUIREMENTS:
        for by_certificate in (False, True):
            admission = Admission(DIRECTORY, by_certificate=by_certificate)
            try:
                admission.admit(context, requirement)
            except RequestError as error:
                describe(error)
            else:
                raise AssertionError("somebody unknown is let in")
    caller_request_id(context)
    texts = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    parse_context(texts.get("traceparent", ""), texts.get("tracestate", ""))
