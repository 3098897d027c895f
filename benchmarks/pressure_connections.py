"""Neighbours that use HTTP/2 as no library does: they read nothing, or send what costs them nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.pressure_load import Load
from benchmarks.raw_connection import (
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    RawConnection,
    call_headers,
)
from engagement import v1

_LIST: Final = call_headers("/engagement.v1.EventService/ListEvents")
_RECORD: Final = call_headers("/engagement.v1.IngestService/RecordEvent")
_TICK_SECONDS: Final = 0.02
_ASKED_AGAIN_A_TICK: Final = 2


async def unread_lists(load: Load) -> None:
    """Lists that the server may not send: each stream has a window of 0. Those that end are asked for again.

    Options: `lists`, `connections`, `account`.
    """
    load.unit = "lists"
    request = v1.ListEventsRequest(account_id=load.options["account"], page_size=1_000).SerializeToString()
    open_lists: set[tuple[int, int]] = set()

    def on_frame(number: int, kind: int, flags: int, stream: int) -> None:
        if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            open_lists.discard((number, stream))
            load.refused["ended by the server"] += 1

    connections = [
        await RawConnection.connected(
            load.address,
            lambda kind, flags, stream, _, number=number: on_frame(number, kind, flags, stream),  # type: ignore[misc]
            stream_window_bytes=0,
        )
        for number in range(load.options["connections"])
    ]
    await load.begin()
    begun = 0
    while not load.is_over:
        # All at once first; then a bounded rate.
        missing = load.options["lists"] - len(open_lists)
        for _ in range(missing if begun < load.options["lists"] else min(missing, _ASKED_AGAIN_A_TICK)):
            number = begun % len(connections)
            if connections[number].can_send:
                open_lists.add((number, connections[number].request(_LIST, request)))
            begun += 1
        await load.pause(_TICK_SECONDS)
    load.done = begun
    load.notes["lists open at the end"] = len(open_lists)
    load.notes["connections closed"] = sum(not each.is_open for each in connections)
    for each in connections:
        each.close()


async def flood(load: Load) -> None:
    """Frames of a kind that cost their sender nothing. Options: `kind`, `a_second`."""
    load.unit = "frames"
    send = _FLOODS[load.options["kind"]]
    going_away = 0

    def on_frame(kind: int, _flags: int, _stream: int, _payload: bytes) -> None:
        nonlocal going_away
        going_away += kind == GOAWAY

    connection = await RawConnection.connected(load.address, on_frame)
    await load.begin()
    a_tick = int(load.options["a_second"] * _TICK_SECONDS)
    while not load.is_over:
        if not connection.is_open or going_away:
            load.refused["connections closed by the server"] += 1
            connection.close()
            going_away = 0
            connection = await RawConnection.connected(load.address, on_frame)
        for _ in range(a_tick):
            if connection.can_send:
                send(connection)
                load.done += 1
        await load.pause(_TICK_SECONDS)
    connection.close()


def _reset(connection: RawConnection) -> None:
    connection.reset(connection.begin(_RECORD))


_FLOODS: Final[dict[str, Callable[[RawConnection], None]]] = {
    "RST_STREAM": _reset,
    "PING": RawConnection.ping,
    "SETTINGS": RawConnection.settings,
}
