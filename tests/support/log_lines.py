"""The lines that a server has logged as JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.support.server_process import ServerProcess

Line = dict[str, Any]  # Any: fields are of several types


def log_lines(server: ServerProcess) -> list[Line]:
    """All lines so far that are complete. Fails if one of them is not a JSON object."""
    complete = server.messages.rpartition("\n")[0]
    parsed = [json.loads(line) for line in complete.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in parsed)
    return parsed


def call_lines(server: ServerProcess, **fields: object) -> list[Line]:
    """The lines of calls that have these fields."""
    return [
        line
        for line in log_lines(server)
        if line["logger"] == "engagement_server.calls" and fields.items() <= line.items()
    ]
