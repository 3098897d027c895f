"""Plays the attacks, and says what is wrong with the answers. It finds nothing wrong if there is no hole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from engagement.uuid7 import uuid7
from engagement_server.access.scopes import requirement_of
from tests.support.attack_callers import ABSENT, OWN, VICTIM, Attacker, Channels, naming
from tests.support.attack_calls import Outcome, outcome
from tests.support.attack_ways import Way
from tests.support.planted_account import MARK, Planted

_AT_ONCE: Final = 16
_FRESH: Final = "0" * 36
# The accounts that the metadata names, and the one that the request names.
NAMINGS: Final = (
    ((VICTIM,), VICTIM),
    ((OWN,), VICTIM),
    ((VICTIM,), OWN),
    ((OWN, VICTIM), VICTIM),
    ((VICTIM, OWN), OWN),
    ((), VICTIM),
    ((), OWN),
    ((f"{OWN},{VICTIM}",), VICTIM),
    ((OWN,), OWN),
)


async def _attempt(
    channels: Channels, attacker: Attacker, way: Way, accounts: Sequence[str], *, asked: str, value: str
) -> Outcome:
    fresh = uuid7()
    found = await outcome(
        channels.of(attacker),
        way.method,
        way.requests(asked, value=value, fresh=fresh),
        naming(attacker, *accounts),
    )
    return found.renamed((fresh, _FRESH))


async def problems_of_own_calls(
    channels: Channels, name: str, attacker: Attacker, planted: Planted, ways: Sequence[Way]
) -> list[str]:
    """Calls about the attacker's own account that name what another has: as if nobody had it."""
    problems = []
    for way in ways:
        if not way.path or attacker.reason_for(way.method, (OWN,), asked=OWN):
            continue
        for value, missing in planted.pairs(way, name):
            found, expected = [
                (await _attempt(channels, attacker, way, (OWN,), asked=OWN, value=text)).renamed(
                    (text, "?" * len(text))
                )
                for text in (value, missing)
            ]
            if found != expected:
                problems.append(f"{way.name} of what another has: {found:.600}, of nothing: {expected:.600}")
            if found.holds(MARK):
                problems.append(f"{way.name} tells what another has: {found:.600}")
            if found.reason in {"FIELD_INVALID", "FILTER_INVALID", "INTERNAL", "OVERLOADED"}:
                problems.append(f"{way.name} is no good attack: {found:.600}")
    return problems


async def problems_of_denied_calls(
    channels: Channels, name: str, attacker: Attacker, planted: Planted, ways: Sequence[Way]
) -> tuple[list[str], int]:
    """Calls that must be refused: for the same reason, and alike for accounts that exist or not.

    Returns how many calls there were, too.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def problem_of(way: Way, accounts: tuple[str, ...], asked: str, reason: str) -> str | None:
        value = next((each for each, _ in planted.pairs(way, name)), "") if way.path else ""
        found = []
        for account in (VICTIM, ABSENT):
            named = [each.replace(VICTIM, account) for each in accounts]
            async with turns:
                answer = await _attempt(
                    channels, attacker, way, named, asked=asked.replace(VICTIM, account), value=value
                )
            found.append(answer.renamed((account, "?" * len(account))))
        what = f"{way.name} as {accounts} about {asked}"
        if found[0] != found[1]:
            return f"{what}: {found[0]:.600}, of no account: {found[1]:.600}"
        if found[0].reason != reason or found[0].messages:
            return f"{what}: {found[0]:.600}, not {reason}"
        return None

    denied = [
        (way, accounts, asked, reason)
        for way in ways
        for accounts, asked in NAMINGS
        if (reason := attacker.reason_for(way.method, accounts, asked=asked))
        and (requirement_of(way.method).has_account or asked == OWN)
    ]
    found = await asyncio.gather(*(problem_of(*each) for each in denied))
    return [each for each in found if each is not None], 2 * len(denied)
