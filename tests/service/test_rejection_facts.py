"""The error of a rejected event has the same facts for programs as that of a call that is refused for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from tests.support.calls import one, some
from tests.support.events import bad_event, customer_event, very_bad_event
from tests.support.raw_upload import RawUpload, chunk, finish
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

WRONG = {
    "bad": bad_event(),
    "conflict": customer_event("taken", role="another"),
    "unknown": customer_event("unknown", customer_status="lead"),
    "very bad": very_bad_event(),
}


@pytest.fixture
async def prepared(ingest: IngestServiceAsyncStub, channel: grpc.aio.Channel) -> IngestServiceAsyncStub:
    """A server with a closed list, and an event whose id is taken."""
    await ingest.RecordEvent(one(customer_event("taken", role="first")))
    await v1.EntityServiceStub(channel).PutEntities(
        v1.PutEntitiesRequest(
            account_id="acme",
            kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS,
            names=["gold", "silver"],
            closed=True,
        )
    )
    return ingest


async def facts_of_call(ingest: IngestServiceAsyncStub, event: v1.Event) -> dict[str, str]:
    """Those of a call with this event alone, with the path as the event has it."""
    metadata = dict((await expect_refused(ingest.RecordEvent(one(event)))).metadata)
    if "field" in metadata:
        metadata["field"] = metadata["field"].removeprefix("event.")
    return metadata


@pytest.mark.parametrize("name", WRONG)
async def test_a_rejected_event_of_a_batch_has_them(name: str, prepared: IngestServiceAsyncStub) -> None:
    response = await prepared.RecordEvents(
        some(WRONG[name], customer_event("good", role="good"), allow_partial=True)
    )
    found = dict(response.results[0].error.metadata)
    assert found == await facts_of_call(prepared, WRONG[name])
    assert not response.results[1].error.metadata


async def test_a_rejected_event_of_an_upload_has_them_when_it_is_rejected(
    prepared: IngestServiceAsyncStub,
) -> None:
    upload = RawUpload(prepared)
    await upload.open()
    await upload.send(chunk(1, *WRONG.values()), finish(1))
    (ack,) = [each.ack for each in await upload.receive_rest() if each.HasField("ack")]
    expected = [await facts_of_call(prepared, event) for event in WRONG.values()]
    told = [dict(each.result.error.metadata) for each in ack.results]
    for facts in (told, expected):
        del facts[3]["field"]  # which of many keys comes first is different in each message
    assert told == expected
    assert expected[2]["allowed"] == '"gold", "silver"'
    read = await prepared.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="upload"))
    later = [dict(each.result.error.metadata) for each in read.rejections]
    del later[3]["field"]
    assert later == expected
