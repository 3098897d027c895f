"""The names of what stands around attribute sets: lists, context, and who vouches for it."""

from __future__ import annotations

from collections.abc import Collection
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
_FIELDS: Final = Context._fields
_ACCOUNT_ID, _CONVERSATION_ID, _CONSUMER_ID, _TIME = range(len(_FIELDS))
_SUBJECT_FIELDS: Final = frozenset({_CONVERSATION_ID, _CONSUMER_ID})
_UNKNOWN: Final = 100
_DEMERIT: Final = 10
"""Of what an object says that is no known header."""
_MAX_DEPTH: Final = 3
_SETS: Final = frozenset({"customerInfo", "personalInfo"})
_RANKS: Final = {
    "brandId": (_ACCOUNT_ID, 0),
    "accountId": (_ACCOUNT_ID, 0),
    "conversationId": (_CONVERSATION_ID, 0),
    "engagementId": (_CONVERSATION_ID, 1),
    "sessionId": (_CONVERSATION_ID, 2),
    "visitId": (_CONVERSATION_ID, 3),
    "visitorId": (_CONSUMER_ID, 1),
    "consumerId": (_CONSUMER_ID, 1),
    **{name: (_TIME, 0) for name, time in TIMES.items() if time == "serverTimeStamp"},
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


def may_say_something(members: Object) -> bool:
    """Whether the members of an object may give a context: some have a known name, or are objects."""
    return not CONTEXT.isdisjoint(members) or any(map(_is_header, members.values()))


def may_name_subject(members: Object, beside: Object) -> bool:
    """Whether the members of an event, or the objects beside its sets, may say whom it is about."""
    return not SUBJECTS.isdisjoint(members) or any(map(_is_header, beside.values()))


def _is_header(value: Json) -> bool:
    return isinstance(value, dict) and not (len(value) == 1 and next(iter(value)) in _AVRO_SCALARS)


class Surroundings:
    """What the members of an object say of the sets inside it.

    Its own members and its known headers say it best. Any other object inside it may say it as well, but two
    of them that differ are a conflict.
    """

    __slots__ = ("_conflicts", "_ranks", "_values", "has_issuer", "repeated")

    def __init__(self, members: Object, *, without: Collection[str] = ()) -> None:
        """Of the members of an object, but for those that belong to its sets."""
        self._ranks = [_UNKNOWN] * len(_FIELDS)
        self._values: list[Json] = list(NO_CONTEXT)
        self._conflicts: dict[int, str] = {}
        self.repeated = _repeated(members, CONTEXT)
        """A member with a context that appears more than once; empty if there is none."""
        self.has_issuer = bool(text_of(members.get(ISSUER)))
        for name, value in members.items():
            if name not in without:
                self._read(name, value, demerit=0, depth=0)

    @property
    def context(self) -> Context:
        """All that they say."""
        return Context(*self._values)  # type: ignore[arg-type]  # texts, but for the time

    @property
    def final(self) -> Context:
        """What no further member could change."""
        known = zip(self._values, self._ranks, NO_CONTEXT, strict=True)
        return Context(*(value if rank == 0 else nothing for value, rank, nothing in known))  # type: ignore[arg-type]

    def conflict(self, context: Context) -> str:
        """A name of what this context lacks, for which there are several values; empty if there is none."""
        return next((name for field, name in self._conflicts.items() if not context[field]), "")

    def _read(self, name: str, value: Json, *, demerit: int, depth: int) -> None:
        if name in _RANKS:
            field, rank = _RANKS[name]
            if field != _TIME or not demerit:
                self._claim(name, field, rank + demerit, value)
        elif name in _PARTICIPANTS:
            self._claim(name, _CONSUMER_ID, demerit, _first_participant(value))
        elif depth < _MAX_DEPTH and name not in _SETS and _is_header(value):
            header = _unwrapped(value)
            if isinstance(header, dict):
                self.repeated = self.repeated or _repeated(header, _RANKS)
                inner_demerit = 0 if name in _HEADERS and not demerit else _DEMERIT
                for inner, content in header.items():
                    self._read(inner, content, demerit=inner_demerit, depth=depth + 1)

    def _claim(self, name: str, field: int, rank: int, value: Json) -> None:
        """Takes a value, if no better one is known."""
        if rank > self._ranks[field]:
            return
        value = _unwrapped(value)
        text = text_of(value)
        if not text:
            return
        if rank < self._ranks[field]:
            self._ranks[field] = rank
            self._values[field] = value if field == _TIME else text
            self._conflicts.pop(field, None)
        elif rank >= _DEMERIT and field in _SUBJECT_FIELDS and self._values[field] != text:
            self._conflicts[field] = name


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
