"""The names of what stands around attribute sets: lists, context, and who vouches for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from engagement.liveperson.findings import NO_CONTEXT, Context, Path, Voucher
from engagement.liveperson.values import Json, Object, RepeatingObject, text_of

RECORD_LISTS: Final = frozenset({"conversationHistoryRecords", "interactionHistoryRecords", "appSessions"})
"""Lists of records that name their own subject."""
_SET_LISTS: Final = {
    "sdes": Voucher.LIST,
    "unAuthSdes": Voucher.NOBODY,
    "engagementAttributes": Voucher.UNKNOWN,
    "lp_sdes": Voucher.CLAIMS,
    "authenticatedSdes": Voucher.SOURCE,
    "unauthenticatedSdes": Voucher.NOBODY,
    "unAuthenticatedSdes": Voucher.NOBODY,
}
KNOWN_LISTS: Final = RECORD_LISTS | _SET_LISTS.keys() | {"recordCollection"}
"""Lists that only these platforms write."""
_INNER_LISTS: Final = frozenset({"events", "array"})
"""Lists inside an object that has the name of a list, or in a record."""
VOUCHERS: Final = _SET_LISTS | {
    "authenticatedData": Voucher.SOURCE,
    "unauthenticatedData": Voucher.NOBODY,
    "unAuthenticatedData": Voucher.NOBODY,
}
"""Who vouches for the sets below a member."""
ISSUER: Final = "iss"
"""The claim of a token that makes its sets those of its issuer."""
TIMES: Final = {
    "serverTimeStamp": "serverTimeStamp",
    "serverTimestamp": "serverTimeStamp",
    "server_time_stamp": "serverTimeStamp",
    "originalTimeStamp": "originalTimeStamp",
    "originalTimestamp": "originalTimeStamp",
    "original_time_stamp": "originalTimeStamp",
}
"""The times of an event, by each of their spellings."""

_HEADERS: Final = frozenset({"info", "header", "metaData", "metadata", "_metadata", "visitorInfo"})
_PARTICIPANTS: Final = frozenset({"consumerParticipants", "consumerParticipant"})
# The field of Context, and how well the name says it: a lower rank wins, then the first.
_RANKS: Final = {
    "brandId": ("account_id", 0),
    "accountId": ("account_id", 0),
    "conversationId": ("conversation_id", 0),
    "engagementId": ("conversation_id", 1),
    "sessionId": ("conversation_id", 2),
    "visitId": ("conversation_id", 3),
    "visitorId": ("consumer_id", 1),
    "consumerId": ("consumer_id", 1),
    **{name: ("time", 0) for name, time in TIMES.items() if time == "serverTimeStamp"},
}
SUBJECTS: Final = frozenset(_RANKS) - TIMES.keys() | _PARTICIPANTS
"""The members of an object that say whom it is about."""
CONTEXT: Final = _RANKS.keys() | _HEADERS | _PARTICIPANTS | {ISSUER}
"""All members that give a context."""


def is_counted(path: Path) -> bool:
    """Whether every item of the list at this path should be a set, or a record."""
    around, name = path
    if around is None or name in KNOWN_LISTS:
        return True
    if name not in _INNER_LISTS:
        return False
    return is_record(around) or around[1] in KNOWN_LISTS


def is_of_sets(path: Path) -> bool:
    """Whether every item of the list at this path should be a set."""
    around, name = path
    return around is not None and is_counted(path) and (name in _SET_LISTS or name in _INNER_LISTS)


def is_at_home(path: Path) -> bool:
    """Whether a list at or around this path is one of these platforms."""
    around, name = path
    while around is not None:
        if name in KNOWN_LISTS:
            return True
        around, name = around
    return False


def is_record(path: Path) -> bool:
    """Whether the value at this path is a record that names its own subject."""
    around, name = path
    return around is not None and isinstance(name, int) and around[1] in RECORD_LISTS


class Surroundings:
    """What the members of an object say of the sets inside it."""

    def __init__(self, members: Object, *, has_headers: bool = True) -> None:
        """Of an object without headers, only its own members count."""
        self.context = NO_CONTEXT
        """All that they say."""
        self.final = NO_CONTEXT
        """What no further member could change."""
        self.repeated = ""
        """A member with a context that appears more than once; empty if there is none."""
        self.has_issuer = bool(text_of(members.get(ISSUER)))
        best: dict[str, tuple[int, Json]] = {}
        self.repeated = _repeated(members, CONTEXT)
        for field, rank, value in self._claims(members, has_headers=has_headers):
            if field not in best or rank < best[field][0]:
                best[field] = (rank, value)
        if best:
            self.context = _context(best)
            self.final = _context({field: each for field, each in best.items() if each[0] == 0})

    def _claims(self, members: Object, *, has_headers: bool) -> Iterator[tuple[str, int, Json]]:
        """Each field of a context, with its rank and its value."""
        for name, value in members.items():
            if name in _RANKS:
                yield from _claim(name, value)
            elif name in _PARTICIPANTS:
                consumer_id = _first_participant(value)
                if consumer_id:
                    yield "consumer_id", 0, consumer_id
            elif name in _HEADERS and has_headers:
                header = _unwrapped(value)
                if isinstance(header, dict):
                    self.repeated = self.repeated or _repeated(header, _RANKS)
                    for inner, content in header.items():
                        if inner in _RANKS:
                            yield from _claim(inner, content)


def _claim(name: str, value: Json) -> Iterator[tuple[str, int, Json]]:
    value = _unwrapped(value)
    if text_of(value):
        field, rank = _RANKS[name]
        yield field, rank, value


def _context(best: dict[str, tuple[int, Json]]) -> Context:
    texts = {field: text_of(value) or "" for field, (_, value) in best.items() if field != "time"}
    return Context(**texts, time=best["time"][1] if "time" in best else None)


def _first_participant(value: Json) -> str:
    participants = value if isinstance(value, list) else [value]
    ids = (text_of(_unwrapped(each.get("participantId"))) for each in participants if isinstance(each, dict))
    return next(filter(None, ids), "")


def _repeated(members: Object, names: Collection[str]) -> str:
    if not isinstance(members, RepeatingObject):
        return ""
    return min(members.repeated.intersection(names), default="")


def _unwrapped(value: Json) -> Json:
    """The value without the name of its type, which Avro puts around it."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, content)] = value.items()
        if name in _AVRO_SCALARS or "." in name:
            return content
    return value


_AVRO_SCALARS: Final = frozenset({"string", "long", "int"})
NO_SURROUNDINGS: Final = Surroundings({})
