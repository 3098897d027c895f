"""What the audit log says of the files of access: who has come and gone, and what has changed for whom."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from heapq import heapify, heappop
from typing import TYPE_CHECKING, Any, Final

from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import Event, Line, now_text
from engagement_server.access.principals import Principal

if TYPE_CHECKING:
    from engagement_server.access.audit_log import AuditLog
    from engagement_server.access.directory import Known
    from engagement_server.access.files import AllContents
    from engagement_server.access.grants import Grants
    from engagement_server.access.watch import AccessWatch

MAX_NAMES: Final = 100
"""Names in a line."""
_KEYS: Final = {"may_authenticate": "authenticated", "is_publishable": "publishable"}
"""Keys of the grants whose fields have other names."""


class AccessAudit:
    """Writes a line for each change that the process has noticed which watches the files."""

    def __init__(self, audit: AuditLog, watch: AccessWatch) -> None:
        """Begins with what the files say now."""
        self._audit = audit
        self._watch = watch
        self._known = watch.directory.known
        self._expiries: list[tuple[int, str]] = []
        self._note_expiries()
        self._write(Event.START, files=_digests(watch.contents))
        watch.subscribe(self._take)
        audit.before_writing(self._find_expired)

    def _take(self, contents: AllContents) -> None:
        before, self._known = self._known, self._watch.directory.known
        digests = _digests(contents)
        if before.secrets is not self._known.secrets:
            for event, names in _changed_tokens(before, self._known):
                self._write_names(event, names, digests)
            self._note_expiries()
        if before.grants is not self._known.grants:
            for event, names in _changed_principals(before.grants, self._known.grants):
                self._write_names(event, names, digests)
            for name, keys in _changed_keys(before.grants, self._known.grants):
                self._write(Event.PRINCIPAL_CHANGED, names=(name,), keys=keys, files=digests)
        if before.keys is not self._known.keys:
            self._write(Event.JWT_KEYS_CHANGED, files=digests)

    def _note_expiries(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._expiries = [
            (secret.expire_ms, secret.id)
            for secrets in self._known.secrets.values()
            for secret in secrets
            if secret.expire_ms is not None and secret.expire_ms > now_ms
        ]
        heapify(self._expiries)

    def _find_expired(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        expired: list[str] = []
        while self._expiries and self._expiries[0][0] <= now_ms:
            expired.append(heappop(self._expiries)[1])
        self._write_names(Event.TOKENS_EXPIRED, expired, {})

    def _write_names(self, event: Event, names: Iterable[str], digests: Mapping[str, str]) -> None:
        ordered = sorted(names)
        for start in range(0, len(ordered), MAX_NAMES):
            self._write(event, names=tuple(ordered[start : start + MAX_NAMES]), files=digests)

    def _write(self, event: Event, **said: Any) -> None:  # Any: fields of a line
        self._audit.note(Line(time=now_text(), kind=Kind.ACCESS, event=event, **said))


def _digests(contents: AllContents) -> dict[str, str]:
    return {kind: hashlib.sha256(b"\0".join(each)).hexdigest() for kind, each in contents.items()}


def _changed_tokens(before: Known, after: Known) -> Iterator[tuple[Event, Iterable[str]]]:
    old, new = (
        {token: {secret.digest for secret in secrets} for token, secrets in known.secrets.items()}
        for known in (before, after)
    )
    yield Event.TOKENS_ADDED, new.keys() - old.keys()
    yield Event.TOKENS_REMOVED, old.keys() - new.keys()
    yield Event.TOKENS_CHANGED, [token for token in new.keys() & old.keys() if new[token] != old[token]]


def _changed_principals(before: Grants, after: Grants) -> Iterator[tuple[Event, Iterable[str]]]:
    old, new = ({principal.name for principal in grants.principals} for grants in (before, after))
    yield Event.PRINCIPALS_ADDED, new - old
    yield Event.PRINCIPALS_REMOVED, old - new


def _changed_keys(before: Grants, after: Grants) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Principals that are there before and after, each with the keys whose values differ."""
    old, new = ({each.name: each for each in grants.principals} for grants in (before, after))
    changed: defaultdict[str, set[str]] = defaultdict(set)
    for key in ("token", "jwt", "certificate"):
        for name in _changed_owners(getattr(before, f"by_{key}"), getattr(after, f"by_{key}")):
            changed[name].add(f"{key}s")
    for name in old.keys() & new.keys():
        if old[name] != new[name]:
            said, says = _granted(old[name]), _granted(new[name])
            changed[name] |= {key for key in said | says if said.get(key) != says.get(key)}
    for name in sorted(changed.keys() & old.keys() & new.keys()):
        yield name, tuple(sorted(changed[name]))


def _granted(principal: Principal) -> dict[str, Any]:  # Any: values of all keys
    """What a grant says, by its keys; those of quotas are its keys too."""
    said: dict[str, Any] = {}
    for each in fields(principal):
        value = getattr(principal, each.name)
        named: dict[str, Any] | None = value._asdict() if hasattr(value, "_asdict") else None
        said |= {_KEYS.get(each.name, each.name): value} if named is None else named
    return said


def _changed_owners(
    before: Mapping[Any, Principal], after: Mapping[Any, Principal]
) -> Iterator[str]:  # Any: credentials of all kinds
    """The names of principals that have gained or lost a credential of a kind."""
    for credential in before.keys() | after.keys():
        owners = [known[credential].name for known in (before, after) if credential in known]
        if len(set(owners)) == 1 and len(owners) > 1:
            continue
        yield from owners
