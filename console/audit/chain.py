"""The chain of one room, judged: what is missing, altered, forked, cut off. Pure.

It is given what was found of a room in the order of the numbers, one at a time, and keeps no more
than the last number's hashes and what is wrong, so a room may have any number of records.

A chain cannot vouch for its own end: who can write the files can cut it, and write it anew from any
record on. What it is held to is outside: the head that Redis has, or the signature of its closing
record.
"""

from __future__ import annotations

from collections.abc import Iterable

from console.audit.judgement import WORDS, Finding, Head, Judgement, Link
from console.audit.strand import Strand
from schemas.audit import is_of_a_room

# Of each word so many places are told; how many there are is counted.
_MOST_TOLD = 20
# Of each number so many different records are followed; a real log has two at the most, where Redis
# has lost its tail.
_MOST_FOLLOWED = 100
# A room that is heard of when even its tombstone is gone (ROLLCALL_TOMBSTONE_DAYS, at the least a
# day) begins another chain: so long after the closing record of the one before.
_ANOTHER_AFTER_MS = 24 * 3600 * 1000


class Judge:
    """Judges one room."""

    def __init__(
        self, room_sid: str, head: Head | None, *, must_hold: bool = False, must_close: bool = False
    ) -> None:
        """Begin a room.

        Args:
            room_sid: which.
            head: where its chain ends in Redis, if that is known.
            must_hold: whether something outside must vouch for its end: a closing record, which is
                signed where a signature is asked for, or the head.
            must_close: whether a closing record at the end is asked for.
        """
        self._room_sid = room_sid
        self._head = head
        self._must_hold = must_hold
        self._must_close = must_close
        self._wrong: dict[str, Finding] = {}
        self._records = self._copies = 0
        self._signed = True
        self._strands: list[Strand] = []

    def take(self, n: int, links: Iterable[Link]) -> None:
        """Take all that was found under the next number; 0 is for what has none."""
        whole: dict[str, Link] = {}
        altered = False
        for one in links:
            if not one.fits:
                number = f"n {n}" if n else "a record without a number"
                self._say("altered", f"{number} in {one.place} does not fit its hash")
                altered = True
                continue
            # In copies too: a hash does not cover the signature beside it.
            if one.closing and not one.signed:
                self._signed = False
                if one.signed is False:
                    self._say("unsigned", f"n {n} in {one.place}")
            if one.hash in whole:
                self._copies += 1
            elif len(whole) < _MOST_FOLLOWED:
                whole[one.hash] = one
            else:
                self._say("forked", f"n {n}: {one.place}")
        self._records += len(whole)
        self._follow(n, sorted(whole.values(), key=lambda one: (one.time_ms, one.hash)))
        if altered:
            self._claim(n)

    @property
    def is_newer_than_its_head(self) -> bool:
        """Whether there are records that Redis did not have yet when it was looked at.

        Then it is to be looked at once more: they were committed meanwhile, or by nobody.
        """
        if self._head is None:
            return not all(one.closed for one in self._strands)
        return any(one.last > self._head.n for one in self._strands)

    def judge(self, later: Head | None = None) -> Judgement:
        """Say what there is to say, at the end of the room.

        Args:
            later: where its chain ends in Redis once all records have been read, if it is known.
        """
        for strand in self._strands:
            strand.end()
        eras = self._eras()
        last_era = eras[-1] if eras else []
        self._compare_with_head(last_era)
        if later:
            self._compare_with_later(last_era, later)
        for number, era in enumerate(eras, start=1):
            is_live = number == len(eras) and bool(self._head or later)
            self._look_at_the_end(era, is_live=is_live)
        closed = bool(eras) and all(one.closed for one in self._strands)
        return Judgement(
            room_sid=self._room_sid,
            first=min((one.first for one in self._strands), default=0),
            last=max((one.last for one in self._strands), default=0),
            records=self._records,
            copies=self._copies,
            chains=len(eras),
            closed=closed,
            signed=closed and self._signed,
            live=bool(self._head or later),
            findings=sorted(self._wrong.values(), key=lambda one: [*WORDS].index(one.word)),
        )

    def _follow(self, n: int, links: list[Link]) -> None:
        """Look whether these records follow those before, and no two of them the same one."""
        followed: dict[Strand, list[Link]] = {}
        for one in links:
            followed.setdefault(self._strand_of(n, one), []).append(one)
        for strand, some in followed.items():
            by_prev: dict[str, list[Link]] = {}
            for one in some:
                by_prev.setdefault(one.prev, []).append(one)
            for siblings in by_prev.values():
                if len(siblings) > 1:
                    places = ", ".join(one.place for one in siblings)
                    self._say("forked", f"n {n}: {places}", len(siblings) - 1)
            for least, most in strand.holes(n):
                late = not strand.first and least == 1
                word = "begins-late" if late else "missing"
                self._say(word, _range(least, most), most - least + 1)
            closing = [one.time_ms for one in some if one.closing]
            strand.take(n, {one.hash: one.place for one in some}, max(closing, default=None))
            if self._head and n == self._head.n:
                strand.at_head = strand.hashes

    def _strand_of(self, n: int, one: Link) -> Strand:
        """Find the chain that a record continues, as far as can be told."""
        if n == 1:
            if one.prev:
                self._say("altered", f"n 1 in {one.place} names one before it")
            self._strands.append(Strand(one.place, one.time_ms))
            return self._strands[-1]
        if not one.prev:
            self._say("altered", f"n {n} in {one.place} does not follow n {n - 1}")
        for strand in self._strands:
            if strand.last == n - 1 and one.prev in strand.hashes:
                return strand
        if broken := [strand for strand in self._strands if strand.is_broken_before(n)]:
            return _likeliest(broken)
        if not self._strands:
            self._strands.append(Strand(one.place))
        elif one.prev:
            self._say("altered", f"n {n} in {one.place} does not follow n {n - 1}")
        return _likeliest(self._strands)

    def _claim(self, n: int) -> None:
        """Have an altered record take the place of one that is not there otherwise."""
        if not self._strands:
            self._strands.append(Strand())
        lacking = [one for one in self._strands if one.last < n]
        if lacking:
            _likeliest(lacking).claim(n)

    def _eras(self) -> list[list[Strand]]:
        """Tell chains of which one was begun long after the end of another from forks."""
        eras: list[list[Strand]] = []
        for strand in sorted(self._strands, key=lambda one: one.begun_ms):
            before = eras[-1] if eras else []
            if all(
                one.closed and strand.begun_ms - one.ended_ms >= _ANOTHER_AFTER_MS for one in before
            ):
                eras.append([strand])
                continue
            self._say("forked", f"n 1: {before[-1].place}, {strand.place}")
            before.append(strand)
        return eras

    def _compare_with_head(self, era: list[Strand]) -> None:
        """Look whether records are there up to the one that is live, and whether it is that one."""
        head = self._head
        if head is None:
            return
        last = max((one.last for one in era), default=0)
        found = {digest: place for one in era for digest, place in one.at_head.items()}
        if head.hash is None:
            self._say("unreadable", self._room_sid)
        elif not era:
            self._say("absent", _range(1, head.n), head.n)
        elif head.n > last:
            self._say("truncated", _range(last + 1, head.n), head.n - last)
        elif found and head.hash not in found:
            places = ", ".join(found.values())
            self._say("altered", f"n {head.n} in {places} is not the record that is live")

    def _compare_with_later(self, era: list[Strand], later: Head) -> None:
        """Look whether records beyond the head of before were committed meanwhile."""
        last = max((one.last for one in era), default=0)
        ends = {
            digest: place for one in era if one.last == last for digest, place in one.hashes.items()
        }
        if last > later.n:
            self._say("unknown", _range(later.n + 1, last), last - later.n)
        elif last == later.n and ends and later.hash not in ends:
            places = ", ".join(ends.values())
            self._say("altered", f"n {last} in {places} is not the record that is live")

    def _look_at_the_end(self, era: list[Strand], *, is_live: bool) -> None:
        """Look whether anything vouches for the end of chains."""
        for strand in era:
            if strand.closed:
                continue
            where = f"n {strand.last} is the last"
            if not is_of_a_room(self._room_sid):
                where += "; the chain of an account or a shard is never over"
            if self._must_close:
                self._say("open", where)
            elif self._must_hold and not is_live:
                self._say("unproven", where)

    def _say(self, word: str, where: str, count: int = 1) -> None:
        known = self._wrong.get(word, Finding(word, [], 0))
        told = [*known.where, where] if len(known.where) < _MOST_TOLD else known.where
        self._wrong[word] = Finding(word, told, known.times + count)


def _likeliest(strands: list[Strand]) -> Strand:
    """Of several chains, take the one that a record without a known place is likely to be of."""
    return max(strands, key=lambda one: (not one.closed, one.last))


def _range(least: int, most: int) -> str:
    return f"n {least}" if least == most else f"n {least} to {most}"
