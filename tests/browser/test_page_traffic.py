"""The status page of a real server with real callers, good ones, bad ones and hostile ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

from selenium.webdriver import Chrome

from engagement import v1
from tests.browser.page import Page
from tests.support.browser import use_scheme
from tests.support.connection import ACCOUNT, connect
from tests.support.events import bad_event, customer_events, text_fields
from tests.support.management import ask
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

HOSTILE = "<script>window.planted=1</script>\"'><img src=x onerror=window.planted=1>"
SOURCE = HOSTILE[:64]


def hostile_event(event_id: str) -> v1.Event:
    """A good event with markup in every text."""
    event = v1.Event(event_id=event_id, consumer_id=HOSTILE, conversation_id=HOSTILE, source=SOURCE)
    event.additional_attributes[HOSTILE] = HOSTILE
    for name in text_fields(event.customer_info):
        setattr(event.customer_info, name, HOSTILE)
    return event


def bad_hostile_event(event_id: str) -> v1.Event:
    """The same with a month 13."""
    event = hostile_event(event_id)
    event.customer_info.last_payment_date.CopyFrom(v1.Date(year=2014, month=13, day=1))
    return event


async def make_calls(address: str) -> None:
    """Good and bad events of a decent producer and of a hostile one, and a call that fails."""
    async with connect(address) as connection:
        await connection.record_batch(customer_events(40))
        await connection.record(hostile_event(HOSTILE))
        bad = bad_event("bad")
        bad.source = "crm-export"
        await expect_refused(connection.record(bad))
        await expect_refused(connection.record(bad_hostile_event(f"{HOSTILE} 2")))
        await connection.ingest.RecordEvents(
            v1.RecordEventsRequest(
                account_id=ACCOUNT, events=[bad_hostile_event(f"{HOSTILE} 3")], allow_partial=True
            )
        )
        await expect_refused(
            connection.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id=f"{HOSTILE} 4"))
        )


def test_a_bad_producer_is_on_the_page_with_rule_and_field_and_a_hostile_one_is_text(
    browser: Chrome, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "data", environment={"ENGAGEMENT_HTTP": "127.0.0.1:0"}).start() as server:
        use_scheme(browser, "dark")
        page = Page(browser, f"http://{server.http_address}/")
        page.load()
        wait_until(lambda: page.state == "Ready", "the page shows the first sample")
        asyncio.run(make_calls(server.address))
        wait_until(lambda: "crm-export" in page.column("rules", 1), "the bad producer is on the page")
        rule = {row[1]: row for row in page.rows("rules")}["crm-export"]
        assert rule[0] == ACCOUNT
        assert rule[2:5] == ["customer_info.last_payment_date.month", "int32.gte_lte", "1"]
        assert rule[6:] == ["99", "must be greater than or equal to 1 and less than or equal to 12"]
        hostile = {row[1]: row for row in page.rows("rules")}[SOURCE]
        assert hostile[2:5] == ["customer_info.last_payment_date.month", "int32.gte_lte", "2"]
        wait_until(lambda: page.rows("partitions")[0][2] == "41", "the stored events are on the page")
        assert page.text("#rules-summary") == "3 events rejected in the present and the last hour."
        assert {row[0]: row[1] for row in page.rows("failures")} == {
            "FIELD_INVALID": "2",
            "EVENT_NOT_FOUND": "1",
        }
        assert page.column("store", 0) == [
            "Database",
            "Write-ahead log",
            "Reserve for a full disk",
            "Free on the disk",
        ]
        assert page.run("return window.planted") is None
        assert page.run("return document.images.length + document.scripts.length") == 1
        assert page.errors == []
        assert ask(server.http_address, "/", method="HEAD").status == 200
