"""The chain of one room, judged: what is missing, altered, forked, cut off. Pure.

It is given what was found of a room in the order of the numbers, one at a time, and keeps no more
than the last number's hashes and what is wrong, so a room may have any number of records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

# What can be wrong with a room, a word each, in the order in which it is told.
WORDS = {
    "absent": "the room is live, and no record of it is in the files",
    "begins-late": "the first records are not there: rotated away, or removed",
    "missing": "records are not there",
    "altered": "a record does not fit its hash, the one before it, or what is live",
    "forked": "two different records follow the same one",
    "truncated": "the last records are not there",
    "unsigned": "a closing record does not carry the signature that was asked for",
    "open": "the room has no closing record at its end, which was asked for",
    "unreadable": "the room's own record in Redis cannot be read",
}

# Of each word so many places are told; how many there are is counted.
_MOST_TOLD = 20
# A room that is heard of when even its tombstone is gone (ROLLCALL_TOMBSTONE_DAYS, at the least a
# day) begins another chain.
_ANOTHER_AFTER_MS = 24 * 3600 * 1000


class Link(NamedTuple):
    """One record of a chain, as it was found."""

    n: int
    hash: str
    prev: str
    # Whether it carries the hash of what it says.
    fits: bool
    # In milliseconds since 1970, as far as it tells.
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
    # How often the room was begun anew.
    chains: int
    closed: bool
    signed: bool
    # Whether its end was compared with what is live.
    live: bool
    findings: list[Finding]

    @property
    def whole(self) -> bool:
        return not self.findings


class Judge:
    """Judges one room."""

    def __init__(self, room_sid: str, head: Head | None, *, must_close: bool = False) -> None:
        """Begin a room.

        Args:
            room_sid: which.
            head: where its chain ends in Redis, if that is known.
            must_close: whether a closing record at the end is asked for.
        """
        self._room_sid = room_sid
        self._head = head
        self._must_close = must_close
        self._wrong: dict[str, Finding] = {}
        self._first = self._last = 0
        self._records = self._copies = 0
        self._chains = 1
        self._closed = self._signed = False
        # Numbers since the last whole record that altered ones claim.
        self._claimed: list[int] = []
        # The hashes of the last number that has whole records, and when they were written.
        self._hashes: frozenset[str] = frozenset()

    def take(self, links: Sequence[Link]) -> None:
        """Take all that was found under the next number."""
        n = links[0].n
        whole = {one.hash: one for one in links if one.fits}
        for one in links:
            if not one.fits:
                number = f"n {n}" if n else "a record without a number"
                self._say("altered", f"{number} in {one.place} does not fit its hash")
        self._copies += sum(one.fits for one in links) - len(whole)
        if not whole:
            self._claimed.append(n)
            return
        self._skip_to(n)
        self._follow(n, [*whole.values()])
        self._compare_with_head(n, whole)
        self._records += len(whole)
        self._last, self._hashes, self._claimed = n, frozenset(whole), []
        # Copies too: a hash does not cover the signature beside it.
        closing = [one for one in links if one.fits and one.closing]
        self._closed = bool(closing)
        self._signed = all(one.signed for one in closing)
        for one in closing:
            if one.signed is False:
                self._say("unsigned", f"n {n} in {one.place}")

    def judge(self) -> Judgement:
        """Say what there is to say, at the end of the room."""
        # Altered records that continue the chain are its end.
        for n in self._claimed:
            if n == self._last + 1:
                self._last, self._closed, self._hashes = n, False, frozenset()
        self._look_at_the_end()
        if self._must_close and not self._closed and not self._is_absent():
            self._say("open", f"n {self._last} is the last")
        return Judgement(
            room_sid=self._room_sid,
            first=self._first,
            last=self._last,
            records=self._records,
            copies=self._copies,
            chains=self._chains,
            closed=self._closed,
            signed=self._closed and self._signed,
            live=self._head is not None,
            findings=sorted(self._wrong.values(), key=lambda one: [*WORDS].index(one.word)),
        )

    def _skip_to(self, n: int) -> None:
        """Take note of the numbers between the last whole record and this one."""
        least = self._last + 1
        for claimed in (*self._claimed, n):
            if least < claimed:
                word = "begins-late" if not self._first and least == 1 else "missing"
                self._say(word, _range(least, claimed - 1), claimed - least)
            least = max(least, claimed + 1)
        self._first = self._first or n
        if self._last + 1 < n or self._claimed:
            self._hashes = frozenset()

    def _follow(self, n: int, links: list[Link]) -> None:
        """Look whether these records follow those before, and no two of them the same one."""
        by_prev: dict[str, list[Link]] = {}
        for one in sorted(links, key=lambda one: (one.time_ms, one.hash)):
            by_prev.setdefault(one.prev, []).append(one)
        for prev, siblings in by_prev.items():
            others = siblings[1:]
            if n == 1:
                begun_anew = _begun_anew(siblings)
                self._chains += len(begun_anew)
                others = [one for one in others if one not in begun_anew]
            if others:
                places = ", ".join(one.place for one in siblings)
                self._say("forked", f"n {n}: {places}", len(others))
            place = siblings[0].place
            if n == 1 and prev:
                self._say("altered", f"n 1 in {place} names one before it")
            elif n > 1 and self._hashes and prev not in self._hashes and self._chains > 1:
                self._say("missing", f"n {n - 1} of one of {self._chains} chains")
            elif n > 1 and (not prev or (self._hashes and prev not in self._hashes)):
                self._say("altered", f"n {n} in {place} does not follow n {n - 1}")

    def _compare_with_head(self, n: int, whole: Mapping[str, Link]) -> None:
        """Compare the records of the number at which the chain ends in Redis."""
        head = self._head
        if head and head.hash is not None and n == head.n and head.hash not in whole:
            places = ", ".join(one.place for one in whole.values())
            self._say("altered", f"n {n} in {places} is not the record that is live")

    def _look_at_the_end(self) -> None:
        """Look whether records are there up to the one that is live."""
        head = self._head
        if head is None:
            return
        if head.hash is None:
            self._say("unreadable", self._room_sid)
        elif self._is_absent():
            self._say("absent", _range(1, head.n), head.n)
        elif head.n > self._last:
            self._say("truncated", _range(self._last + 1, head.n), head.n - self._last)

    def _is_absent(self) -> bool:
        return not (self._records or self._claimed)

    def _say(self, word: str, where: str, count: int = 1) -> None:
        known = self._wrong.get(word, Finding(word, [], 0))
        told = [*known.where, where] if len(known.where) < _MOST_TOLD else known.where
        self._wrong[word] = Finding(word, told, known.times + count)


def _begun_anew(first: list[Link]) -> list[Link]:
    """Of first records, by time, find those that begin another chain long after the one before."""
    return [
        later
        for before, later in pairwise(first)
        if later.time_ms - before.time_ms >= _ANOTHER_AFTER_MS
    ]


def _range(least: int, most: int) -> str:
    return f"n {least}" if least == most else f"n {least} to {most}"
