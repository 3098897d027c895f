"""The Python client's part in the comparison of clients: ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE.

The programs of all languages do the same: they read both files of length-delimited events into memory,
upload the first, and time the upload of the second, from the start to the summary.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import uvloop
from google.protobuf import proto

from benchmarks.load import without_collections
from engagement import EngagementClient, Uploader, v1


async def _main(address: str, account_id: str, warmup_file: str, events_file: str) -> None:
    warmup, events = _read(Path(warmup_file)), _read(Path(events_file))
    async with EngagementClient(address, account_id=account_id) as client:
        await Uploader(client).upload(warmup)
        with without_collections():
            start_seconds = time.perf_counter()
            summary = await Uploader(client).upload(events)
            elapsed_seconds = time.perf_counter() - start_seconds
    report = {"events": len(events), "accepted": summary.tally.accepted, "seconds": elapsed_seconds}
    print(json.dumps(report))


def _read(path: Path) -> list[v1.Event]:
    data = io.BytesIO(path.read_bytes())
    events = []
    while (event := proto.parse_length_prefixed(v1.Event, data)) is not None:
        events.append(event)
    return events


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
