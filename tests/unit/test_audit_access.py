"""The audit log tells which principals and tokens have come and gone, and what has changed for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engagement_server.access.audit_access import MAX_NAMES, AccessAudit
from engagement_server.access.audit_log import AuditLog
from engagement_server.access.watch import AccessWatch
from engagement_server.metrics.measures import Measures
from tests.support.audit_lines import AuditFiles, Said
from tests.support.known_callers import ISSUER, KnownCallers, principal, signing_key
from tests.support.waiting import eventually

Expect = Callable[..., Awaitable[list[Said]]]


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return AuditFiles(tmp_path)


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    callers = KnownCallers(tmp_path / "access")
    callers.grant(principal("crm"), principal("shop"))
    callers.token("crm")
    return callers


@pytest.fixture
async def expect(files: AuditFiles, callers: KnownCallers, tmp_path: Path) -> AsyncIterator[Expect]:
    """Waits for lines that say something, while the files are watched."""
    watch = AccessWatch(callers.config)
    log = AuditLog.open(files.config(), data=tmp_path / "data", measures=Measures())
    log.begin(version="1.2.3")
    AccessAudit(log, watch)
    watching = asyncio.create_task(watch.run())

    async def expected(event: str, **said: Any) -> list[Said]:
        watch.look_now()
        await eventually(lambda: bool(files.lines("access", event=event, **said)), f"{event} {said}")
        return files.lines("access", event=event, **said)

    yield expected
    watching.cancel()
    await asyncio.wait([watching])
    await log.close()


async def test_a_start_tells_which_versions_count(expect: Expect) -> None:
    _, second = [each for each in await expect("start") if "files" in each or "version" in each]
    assert {name: len(digest) for name, digest in second["files"].items()} == {
        "grants": 64,
        "tokens": 64,
        "jwt_keys": 64,
    }


async def test_principals_come_go_and_change(expect: Expect, callers: KnownCallers) -> None:
    callers.grant(
        principal("crm", scopes=["read", "erase"], jwts=[{"issuer": ISSUER, "subject": "s"}]),
        principal("new"),
    )
    (added,) = await expect("principals-added", names=["new"])
    await expect("principals-removed", names=["shop"])
    (changed,) = await expect("principal-changed", names=["crm"])
    assert changed["keys"] == ["jwts", "scopes"]
    assert added["files"].keys() == {"grants"}
    assert added["files"] == changed["files"]


async def test_each_key_of_a_grant_that_changes_is_named(expect: Expect, callers: KnownCallers) -> None:
    callers.grant(
        principal(
            *("crm",),
            tokens=["crm", "crm-2"],
            certificates=["dns:crm.internal"],
            accounts=["acme", "other"],
            scopes=["ingest"],
            sources=["page"],
            authenticated=False,
            publishable=True,
            events_per_second=500,
        ),
        principal("shop"),
    )
    (changed,) = await expect("principal-changed")
    assert changed["keys"] == [
        *("accounts", "authenticated", "certificates", "events_per_second"),
        *("publishable", "scopes", "sources", "tokens"),
    ]


async def test_tokens_come_rotate_expire_and_go(expect: Expect, callers: KnownCallers) -> None:
    callers.token("soon", expire_ms=time.time_ns() // 1_000_000 + 3_000)
    await expect("tokens-added", names=["soon"])
    callers.tokens.rotate("crm", expire_ms=None)
    await expect("tokens-changed", names=["crm"])
    await expect("tokens-expired", names=["soon"])
    callers.tokens.revoke("crm", is_old_only=False)
    await expect("tokens-removed", names=["crm"])


async def test_new_keys_of_an_issuer_are_told(expect: Expect, callers: KnownCallers) -> None:
    callers.publish(signing_key())
    await expect("jwt-keys-changed")


async def test_many_names_take_several_lines_and_no_secret_is_in_any(
    expect: Expect, callers: KnownCallers, files: AuditFiles
) -> None:
    callers.grant(*(principal(f"p{number:04}", tokens=[]) for number in range(MAX_NAMES + 1)))
    await expect("principals-removed")
    added = await expect("principals-added", names=[f"p{MAX_NAMES:04}"])
    assert len(added) == 1
    token = callers.token("more")
    await expect("tokens-added", names=["more"])
    secret = token.rpartition("_")[2]
    assert secret not in files.text
    assert not any(each.digest in files.text for each in callers.tokens.secrets())
