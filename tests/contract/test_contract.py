"""The contract itself: code is fresh, lint passes, releases stay compatible, and no attribute is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from engagement import v1
from engagement_server.api.grpc.status import code_of
from engagement_server.errors import RequestError

PROTOS = Path(__file__).parents[2] / "protos"

# The two tables of the source document, row by row, then the attributes of its later revisions.
CUSTOMER_INFO = """
serverTimeStamp customerStatus customerType balance customerId socialId imei userName accountName role
lastPaymentDate registrationDate companySize storeZipCode storeNumber loginStatus
currency companyBranch
"""
PERSONAL_INFO = "serverTimeStamp name surname gender company customerAge email phone language otherContacts"
NOT_TEXT = {
    "server_time_stamp": FieldDescriptor.TYPE_INT64,
    "last_payment_date": FieldDescriptor.TYPE_MESSAGE,
    "registration_date": FieldDescriptor.TYPE_MESSAGE,
    "other_contacts": FieldDescriptor.TYPE_MESSAGE,
}
IDENTIFIES_A_PERSON = {
    v1.CustomerInfo: {"imei", "social_id", "user_name"},
    v1.PersonalInfo: {"name", "surname", "customer_age", "email", "phone", "other_contacts"},
    v1.PersonalContact: {"email", "phone"},
}
# Codes that reasons have.
CODES = (
    "INVALID_ARGUMENT|ALREADY_EXISTS|FAILED_PRECONDITION|ABORTED|NOT_FOUND|UNAUTHENTICATED"
    "|PERMISSION_DENIED|RESOURCE_EXHAUSTED|UNAVAILABLE|DATA_LOSS|INTERNAL"
)


def reasons_and_comments() -> dict[str, str]:
    """The comment of each value of `ErrorReason`."""
    text = (PROTOS / "engagement/v1/error_reason.proto").read_text()
    body = text[text.index("enum ErrorReason {") :]
    return {
        name: comment
        for comment, name in re.findall(r"((?: *//.*\n)+) *ERROR_REASON_([A-Z_]+) = [0-9]+;", body)
    }


def error_classes(base: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from error_classes(subclass)


def test_generated_code_is_fresh_and_the_contract_is_clean_and_compatible() -> None:
    done = subprocess.run(
        [sys.executable, PROTOS / "contract.py", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("message", "table"), [(v1.CustomerInfo, CUSTOMER_INFO), (v1.PersonalInfo, PERSONAL_INFO)]
)
def test_every_row_of_the_document_is_a_field_with_its_name_in_its_order(
    message: type[Message], table: str
) -> None:
    fields: list[Any] = [*message.DESCRIPTOR.fields]  # Any: two stubs type descriptors differently
    fields.sort(key=lambda field: field.number)
    assert [field.json_name for field in fields] == table.split()
    assert all(field.has_presence or field.is_repeated for field in fields)
    assert {field.name: field.type for field in fields if field.type != field.TYPE_STRING} == {
        name: field_type for name, field_type in NOT_TEXT.items() if name in message.DESCRIPTOR.fields_by_name
    }


@pytest.mark.parametrize("message", IDENTIFIES_A_PERSON)
def test_fields_that_identify_a_person_are_redacted(message: type[Message]) -> None:
    redacted = {field.name for field in message.DESCRIPTOR.fields if field.GetOptions().debug_redact}
    assert redacted == IDENTIFIES_A_PERSON[message]


def test_every_reason_has_a_comment_with_its_code_and_an_example() -> None:
    reasons = reasons_and_comments()
    assert {f"ERROR_REASON_{name}" for name in reasons} == set(v1.ErrorReason.keys())
    for name, comment in reasons.items():
        if name != "UNSPECIFIED":
            assert f'"reason": "{name}"' in comment
            assert '"domain": "engagement.v1"' in comment
            assert re.search(CODES, comment), name


def test_every_error_of_the_server_has_a_reason_in_the_contract_with_its_code() -> None:
    reasons = reasons_and_comments()
    named = [kind for kind in error_classes() if "reason" in vars(kind)]
    assert len({kind.reason for kind in named}) == len(named)
    for kind in named:
        code = code_of(kind.__new__(kind)).name
        assert re.search(rf"\b{code}\b", reasons[kind.reason]), kind
    families = [kind for kind in error_classes() if kind not in named]
    assert all(kind.__subclasses__() for kind in families)


def test_the_example_of_finding_a_partition_is_right() -> None:
    comments = " ".join(re.findall(r"// (.*)", (PROTOS / "engagement/v1/server_service.proto").read_text()))
    example = re.search(
        r'CRC-32 of "([\w-]+)" is (\d+); with (\d+) partitions, the account belongs to partition (\d+)',
        comments,
    )
    assert example is not None
    account_id, (checksum, count, number) = example[1], map(int, example.group(2, 3, 4))
    assert (zlib.crc32(account_id.encode()), checksum % count) == (checksum, number)
    # Above the signed 32-bit range, so that the example exposes a sign error.
    assert checksum >= 1 << 31
