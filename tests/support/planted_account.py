"""An account with everything that a server keeps, for others to reach for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from engagement import v1
from engagement.uuid7 import uuid7
from tests.support.attack_callers import ABSENT, OWN, VICTIM
from tests.support.attack_ways import STATUS, Way
from tests.support.events import bad_event, customer_event
from tests.support.known_callers import shown
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening

MARK, _NO_MARK = "zqvictim", "zqabsent"
_RECORDING = ("RecordEvent", "RecordEvents", "UploadEvents")


@dataclass(frozen=True, slots=True)
class Planted:
    """What the account has."""

    values: Mapping[str, Sequence[str]]
    """By kind, as `attack_ways` names them, and for what calls store by the attacker and the method too."""
    page_tokens: Mapping[str, str]
    """By method."""
    absent_cursor: str
    """Of an account that does not exist."""

    def pairs(self, way: Way, attacker: str) -> Iterator[tuple[str, str]]:
        """What the account has there, each with an equally long text that names nothing."""
        if way.kind == "page token":
            token = self.page_tokens.get(way.method.name, self.page_tokens["ListEvents"])
            yield token, token[:9] + ("A" if token[9] != "A" else "B") + token[10:]
        elif way.kind == "cursor":
            yield from ((each, self.absent_cursor) for each in self.values["cursor"])
        else:
            kinds = [f"{way.kind} for {attacker} by {way.method.name}", way.kind, way.kind.rpartition(" ")[2]]
            if way.method.name in _RECORDING:
                kinds.insert(1, f"{way.kind} to record")
            for value in next(self.values[kind] for kind in kinds if kind in self.values):
                yield value, _missing(value)


def _missing(value: str) -> str:
    if MARK in value:
        return value.replace(MARK, _NO_MARK)
    return value[:-1] + ("0" if value[-1] != "0" else "1")


class Operator:
    """Somebody with all rights."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.ingest: Any = v1.IngestServiceStub(channel)
        self.events: Any = v1.EventServiceStub(channel)
        self.privacy: Any = v1.PrivacyServiceStub(channel)
        self.entities: Any = v1.EntityServiceStub(channel)
        self.server: Any = v1.ServerServiceStub(channel)
        self._token = token

    def naming(self, account_id: str = VICTIM) -> tuple[tuple[str, str], ...]:
        """The metadata of a call."""
        return shown(self._token, account_id)

    async def holdings(self) -> list[str]:
        """All that the account has, to compare; and that the other one is not there."""
        calls: list[tuple[Any, Message]] = [
            (self.events.ListEvents, v1.ListEventsRequest(account_id=VICTIM, page_size=1000)),
            (self.ingest.ListUploads, v1.ListUploadsRequest(account_id=VICTIM)),
            (self.privacy.ListErasures, v1.ListErasuresRequest(account_id=VICTIM)),
            (self.entities.ListEntities, v1.ListEntitiesRequest(account_id=VICTIM, kind=STATUS)),
            (
                self.privacy.GetSuppression,
                v1.GetSuppressionRequest(
                    account_id=VICTIM, subject=v1.Subject(consumer_id=f"{MARK} suppressed")
                ),
            ),
        ]
        found = [str(await call(request, metadata=self.naming())) for call, request in calls]
        accounts = await self.server.ListAccounts(v1.ListAccountsRequest(), metadata=self.naming())
        assert ABSENT not in {each.account_id for each in accounts.accounts}
        return found

    async def plant(self, attackers: Iterable[str]) -> Planted:
        """Fills the account; each of the attackers gets things of its own, for what its calls store."""
        metadata = self.naming()
        await self.entities.PutEntities(
            v1.PutEntitiesRequest(account_id=VICTIM, kind=STATUS, names=[f"{MARK} gold", f"{MARK} put"]),
            metadata=metadata,
        )
        values: dict[str, Sequence[str]] = {
            "consumer": [f"{MARK} ada", f"{MARK} suppressed"],
            "customer": [f"{MARK} customer"],
            "conversation": [f"{MARK} talk"],
            "source": [f"{MARK} source"],
            "status": [f"{MARK} gold"],
            "put status": [f"{MARK} put"],
            "text": [f"{MARK}word"],
            "event": [f"{MARK} event 1"],
            "upload": [f"{MARK} upload"],
            "source name": [f"{MARK} file"],
            "request": [f"{MARK} request"],
            # Not those that others look for: what records them has them, too.
            "consumer to record": [f"{MARK} adb", f"{MARK} suppressed too 1"],
            "customer to record": [f"{MARK} customes"],
            "conversation to record": [f"{MARK} talj"],
            "source to record": [f"{MARK} sourcf"],
            "status to record": [f"{MARK} gole"],
            "source name to record": [f"{MARK} file to record"],
        }
        for attacker in attackers:
            for method in _RECORDING:
                values[f"recorded event for {attacker} by {method}"] = [uuid7()]
            values[f"opened upload for {attacker} by UploadEvents"] = [f"{MARK} {attacker}"]
            values[f"used request for {attacker} by EraseConsumer"] = [f"{MARK} {attacker}"]
        await self._record(values)
        await self._upload(values)
        values["erasure"] = await self._erase(values)
        listed = await self.events.ListEvents(
            v1.ListEventsRequest(account_id=VICTIM, page_size=1), metadata=metadata
        )
        values["cursor"] = [listed.events[0].cursor]
        started = RawSubscription(
            self.events, subscribing(account_id=ABSENT, stop_at_tail=True), metadata=self.naming(ABSENT)
        )
        absent = (await started.rest())[-1].cursor
        await self.ingest.RecordEvent(
            v1.RecordEventRequest(account_id=OWN, event=customer_event("own")), metadata=self.naming(OWN)
        )
        return Planted(values, await self._page_tokens(), absent)

    async def _record(self, values: Mapping[str, Sequence[str]]) -> None:
        ids = [f"{MARK} event {number}" for number in range(3)]
        ids += [each for kind, found in values.items() if kind.startswith("recorded") for each in found]
        rejected = bad_event(f"{MARK} rejected")
        rejected.source = f"{MARK} source"
        await self.ingest.RecordEvents(
            v1.RecordEventsRequest(
                account_id=VICTIM, events=[*map(_event, ids), _recorded(), rejected], allow_partial=True
            ),
            metadata=self.naming(),
        )

    async def _upload(self, values: Mapping[str, Sequence[str]]) -> None:
        ids = [f"{MARK} upload", f"{MARK} second"]
        ids += [each for kind, found in values.items() if kind.startswith("opened") for each in found]
        for upload_id in ids:
            upload = RawUpload(self.ingest, metadata=self.naming())
            opened = opening(upload_id=upload_id, account_id=VICTIM)
            opened.open.source_name = f"{MARK} file to record" if upload_id == ids[1] else f"{MARK} file"
            bad = [bad_event(f"{MARK} {upload_id} bad {number}") for number in range(2)]
            good = _event(f"{MARK} {upload_id} good")
            await upload.send(opened, chunk(1, good, *bad), finish(1))
            assert (await upload.receive_rest())[-1].HasField("finished")

    async def _erase(self, values: Mapping[str, Sequence[str]]) -> list[str]:
        requests = [f"{MARK} request", f"{MARK} second"]
        requests += [each for kind, found in values.items() if kind.startswith("used") for each in found]
        erasures = []
        for number, request_id in enumerate(requests):
            consumer = f"{MARK} suppressed" if number == 0 else f"{MARK} suppressed too {number}"
            answer = await self.privacy.EraseConsumer(
                v1.EraseConsumerRequest(
                    account_id=VICTIM,
                    request_id=request_id,
                    subjects=[v1.Subject(consumer_id=consumer)],
                    suppress=True,
                ),
                metadata=self.naming(),
            )
            erasures.append(answer.erasure.erasure_id)
        return erasures[:1]

    async def _page_tokens(self) -> dict[str, str]:
        calls: dict[str, tuple[Any, Any]] = {
            "ListEvents": (self.events.ListEvents, v1.ListEventsRequest()),
            "ListUploads": (self.ingest.ListUploads, v1.ListUploadsRequest()),
            "GetUpload": (self.ingest.GetUpload, v1.GetUploadRequest(upload_id=f"{MARK} upload")),
            "ListErasures": (self.privacy.ListErasures, v1.ListErasuresRequest()),
        }
        tokens = {}
        for name, (call, request) in calls.items():
            request.account_id, request.page_size = VICTIM, 1
            tokens[name] = (await call(request, metadata=self.naming())).next_page_token
            assert tokens[name], name
        return tokens


def _event(event_id: str) -> v1.Event:
    return v1.Event(
        event_id=event_id,
        consumer_id=f"{MARK} ada",
        conversation_id=f"{MARK} talk",
        source=f"{MARK} source",
        customer_info=v1.CustomerInfo(
            customer_id=f"{MARK} customer", customer_status=f"{MARK} gold", balance=f"{MARK}word balance"
        ),
    )


def _recorded() -> v1.Event:
    """What calls that record name, too."""
    return v1.Event(
        event_id=f"{MARK} event to record",
        consumer_id=f"{MARK} adb",
        conversation_id=f"{MARK} talj",
        source=f"{MARK} sourcf",
        customer_info=v1.CustomerInfo(customer_id=f"{MARK} customes", customer_status=f"{MARK} gole"),
    )
