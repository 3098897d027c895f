"""Makes the pictures of the status page for the documents, from a server with ten minutes of traffic.

Run `python -m tests.browser.screenshots`, and look at them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import math
import tempfile
from pathlib import Path

import grpc

from engagement import v1
from tests.support.browser import browsing, use_scheme, use_width
from tests.support.connection import Connection, connect
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

FOLDER = Path(__file__).parents[2] / "docs/images"
_ACCOUNTS = ("north", "south", "west")
_STEP_SECONDS = 0.25
_FOLLOWERS = (*((account, pause) for account in _ACCOUNTS for pause in (0.0, 0.05)), ("north", 3600.0))
_CHANNEL = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
_ENVIRONMENT = {"ENGAGEMENT_HTTP": "127.0.0.1:0", "ENGAGEMENT_MAX_MEMORY": "512M"}
_PICTURES = (
    ("light", "light", 1180, 1200, 1),
    ("dark", "dark", 1180, 880, 1),
    ("phone", "light", 360, 780, 2),
)
"""Name, scheme, width, height and scale of each."""


def events(step: int, count: int) -> list[v1.Event]:
    """Events of one step; the next step brings some of them again."""
    numbers = (step * 40 + number for number in range(count))
    return [
        v1.Event(
            event_id=f"visit-{number:07}",
            consumer_id=f"consumer-{number % 5000}",
            source=("web", "app", "crm")[number % 3],
            customer_info=v1.CustomerInfo(customer_status="gold", balance=str(number % 900)),
        )
        for number in numbers
    ]


def rejected(step: int) -> list[v1.Event]:
    """Events of producers that break rules, each in its own way."""
    date = v1.Date(year=2024, month=13, day=1)
    found = [v1.Event(event_id=f"bad-{step}", source="crm-export", customer_info={"last_payment_date": date})]
    if step % 3 == 0:
        found.append(v1.Event(event_id=f"empty-{step}", source="web-forms", consumer_id="c"))
    if step % 7 == 0:
        long = v1.CustomerInfo(customer_status="x" * 9000)
        found.append(v1.Event(event_id=f"long-{step}", source="legacy-batch", customer_info=long))
    if step % 11 == 0:
        late = v1.CustomerInfo(customer_type="vip")
        found.append(
            v1.Event(event_id=f"late-{step}", source="app", original_time_stamp=17, customer_info=late)
        )
    return found


async def call(connection: Connection, step: int) -> None:
    """What callers do in one step."""
    account = _ACCOUNTS[step % 3]
    wave = 1.6 + math.sin(step * _STEP_SECONDS / 60) + 0.3 * math.sin(step * _STEP_SECONDS / 11)
    good = v1.RecordEventsRequest(account_id=account, events=events(step, int(60 * wave)))
    await connection.ingest.RecordEvents(good)
    bad = v1.RecordEventsRequest(account_id=account, events=rejected(step), allow_partial=True)
    await connection.ingest.RecordEvents(bad)
    for number in range(int(4 * wave)):
        request = v1.GetEventRequest(account_id=account, event_id=f"visit-{step * 40 + number:07}")
        await connection.events.GetEvent(request)
    if step % 8 == 0:
        with contextlib.suppress(grpc.RpcError):
            await connection.events.GetEvent(v1.GetEventRequest(account_id=account, event_id="none"))
    if step % 21 == 0:
        with contextlib.suppress(grpc.RpcError):
            await connection.ingest.RecordEvent(
                v1.RecordEventRequest(account_id=account, event=rejected(step)[0])
            )


async def keep_calling(connection: Connection) -> None:
    """Calls until it is cancelled."""
    for step in itertools.count():
        await call(connection, step)
        await asyncio.sleep(_STEP_SECONDS)


async def follow(address: str, account: str, pause_seconds: float) -> None:
    """Reads a subscription with a pause after each message; what is not read stays with the server."""
    async with grpc.aio.insecure_channel(address, options=_CHANNEL) as channel:
        request = v1.SubscribeEventsRequest(account_id=account, earliest=True)
        async for _ in v1.EventServiceStub(channel).SubscribeEvents(request):
            await asyncio.sleep(pause_seconds)


def take(url: str) -> None:
    """Takes all pictures."""
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile)) as browser:
        for name, scheme, width, height, scale in _PICTURES:
            use_scheme(browser, scheme)
            use_width(browser, width, height=height, scale=scale)
            browser.get(url)
            wait_until(lambda: browser.title.startswith("Ready"), "the page has a sample")
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
            (FOLDER / f"status-page-{name}.png").write_bytes(base64.b64decode(shot["data"]))


async def main(minutes: float) -> None:
    """Runs a server and its callers, and takes the pictures at the end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder) / "data", environment=_ENVIRONMENT).start() as server,
    ):
        url = f"http://{server.http_address}/"
        async with connect(server.address) as connection:
            callers = [asyncio.create_task(keep_calling(connection))]
            callers += [asyncio.create_task(follow(server.address, *follower)) for follower in _FOLLOWERS]
            await asyncio.wait(callers, timeout=60 * minutes, return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.to_thread(take, url)
            for caller in callers:
                if caller.done():
                    caller.result()  # has failed: the pictures are of a server without it
                caller.cancel()
            await asyncio.wait(callers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.5, help="how long callers call before")
    asyncio.run(main(parser.parse_args().minutes))
