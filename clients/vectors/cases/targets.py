"""Addresses of servers, and whether a token may go there in plain text."""

from __future__ import annotations

from typing import Any

Json = Any  # what json.dumps takes

_THIS_MACHINE = ("127.0.0.1:50051", "127.8.9.10:50051", "[::1]:50051", "localhost:50051", "LOCALHOST:50051")
_ELSEWHERE = (
    "engagement.example.com:50051",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "127.0.0.1.example.com:50051",
    "localhost.example.com:50051",
    "notlocalhost:50051",
    "[2001:db8::1]:50051",
)
# In the schemes of gRPC, which not every library takes.
_THIS_MACHINE_BY_SCHEME = (
    "unix:/run/engagement.sock",
    "unix:///run/engagement.sock",
    "dns:///localhost:50051",
    "dns:///127.0.0.1:50051",
)
_ELSEWHERE_BY_SCHEME = ("dns:///engagement.example.com:50051", "dns://127.0.0.1/engagement.example.com:50051")


def cases() -> list[Json]:
    """The cases of targets.json."""
    listed = ((True, _THIS_MACHINE, _THIS_MACHINE_BY_SCHEME), (False, _ELSEWHERE, _ELSEWHERE_BY_SCHEME))
    return [
        {"name": target, "is_this_machine": is_here, "has_scheme": bool(has_scheme)}
        for is_here, *groups in listed
        for has_scheme, targets in enumerate(groups)
        for target in targets
    ]
