"""What there is to say of the chain of one room: the words for it, and the data. Pure."""

from __future__ import annotations

from typing import NamedTuple

# What can be wrong with a room, a word each, in the order in which it is told.
WORDS = {
    "absent": "the room is live, and no record of it is in the files",
    "begins-late": "the first records are not there: rotated away, or removed",
    "missing": "records are not there",
    "altered": "a record does not fit its hash, the one before it, or what is live",
    "forked": "two different records follow the same one",
    "truncated": "the last records are not there",
    "unknown": "records are there that Redis does not know: others wrote them, or it lost its tail",
    "unsigned": "a closing record does not carry the signature that was asked for",
    "unproven": "neither a closing record nor Redis shows where the room ends",
    "open": "the room has no closing record at its end, which was asked for",
    "unreadable": "the room's own record in Redis cannot be read",
}


class Link(NamedTuple):
    """One record of a chain, as it was found."""

    n: int
    hash: str
    prev: str
    # Whether it carries the hash of what it says.
    fits: bool
    # Of first and closing records, in milliseconds since 1970, as far as they tell.
    time_ms: int
    closing: bool
    # None where no signature was asked for.
    signed: bool | None
    place: str


class Head(NamedTuple):
    """The end of a room's chain, as Redis has it; `hash` is None where it cannot be read."""

    n: int
    hash: str | None


class Finding(NamedTuple):
    """Something that is wrong with a room."""

    word: str
    # In words, one for each place; perhaps not all.
    where: list[str]
    times: int


class Judgement(NamedTuple):
    """What there is to say of a room."""

    room_sid: str
    first: int
    last: int
    records: int
    # Identical copies: a worker that died after writing has another write the same again.
    copies: int
    # How many the room has, one after the other: it is begun anew when nothing is left of it.
    chains: int
    closed: bool
    signed: bool
    # Whether its end was compared with what is live.
    live: bool
    findings: list[Finding]

    @property
    def whole(self) -> bool:
        return not self.findings
