"""The comparison of a soak: the books beside what Redis has of each room.

A room is compared when it is settled, and all are once more at the end, when nothing moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import cast

from faults.books import Books, Chain, Room
from redis import Redis
from timed import agree

from schemas.connection import keyspace_of
from schemas.keys import shard_of
from schemas.settings import Settings
from workers import records
from workers.bounds import bounds_of
from workers.records import Record
from workers.room.conditions import conditions
from workers.room.facts import Range
from workers.room.view import View, view

# Records that are read at once: half a MiB.
_AT_ONCE = 200
# Beside `applied`: a repetition, and one of a session that was let go of by then.
_ABSORBED = ("duplicate", "too-late")


class Comparison:
    """Compares what was sent and what was published with what Redis has."""

    def __init__(self, settings: Settings, books: Books) -> None:
        self._books = books
        self._shards = settings.shards
        self._keyspace = keyspace_of(settings)
        self._bounds = bounds_of(settings)

    def look(self, redis: Redis) -> None:
        """Look at the rooms that are settled; what they fold to need not be kept any longer."""
        for sid, record in self._records(redis, list(self._books.settled)):
            room = self._books.rooms[sid]
            if _is_read(room, record):
                self._compare(sid, room, record)
                self._books.settled.discard(sid)

    def finish(self, redis: Redis) -> None:
        """Look at everything, now that nothing moves any more."""
        books = self._books
        sent = [sid for sid, room in books.rooms.items() if room.sent]
        distinct = 0
        for sid, record in self._records(redis, sent):
            room, heard = books.rooms[sid], _bits(record.facts.sequences)
            distinct += heard.bit_count()
            books.counts["lost"] += (room.acknowledged & ~heard).bit_count()
            if heard & ~room.sent:
                books.note_problem(f"{sid}: knows of callbacks that nobody sent")
            if not _is_read(room, record):
                books.note_problem(f"{sid}: the streams end at {room.events}, {room.alerts}")
            self._compare(sid, room, record)
        self._count_verdicts(redis, distinct)

    def _count_verdicts(self, redis: Redis, distinct: int) -> None:
        verdicts: Counter[str] = Counter()
        for number in range(self._shards):
            told = cast("dict[bytes, bytes]", redis.hgetall(self._keyspace.shard(number).verdicts))
            verdicts.update({name.decode(): int(count) for name, count in told.items()})
        counts = self._books.counts
        counts["applied"] = verdicts.pop("applied", 0)
        counts["absorbed"] = sum(verdicts.pop(name, 0) for name in _ABSORBED)
        if verdicts:
            self._books.note_problem(f"verdicts that nothing sent can have: {dict(verdicts)}")
        if counts["applied"] != distinct:
            counts["doubled"] += max(0, counts["applied"] - distinct)
            self._books.note_problem(
                f"{counts['applied']} were applied, and the rooms know of {distinct}"
            )
        if counts["absorbed"] < counts["sent twice"]:
            self._books.note_problem("what was sent twice was not taken for a repetition each time")

    def _compare(self, sid: str, room: Room, record: Record) -> None:
        seen = view(record.facts, self._bounds)
        if room.believed is not None and not _agreed(room.believed, seen):
            self._books.note_problem(f"{sid}: the events fold to something else than the view")
        if room.raised != set(conditions(seen, self._bounds)):
            self._books.note_problem(f"{sid}: the alerts that are raised are not what is wrong")
        room.believed = None

    def _records(self, redis: Redis, sids: list[str]) -> Iterator[tuple[str, Record]]:
        for first in range(0, len(sids), _AT_ONCE):
            some = sids[first : first + _AT_ONCE]
            stored = cast("list[bytes | None]", redis.mget([self._key(sid) for sid in some]))
            yield from zip(some, map(records.decode, stored), strict=True)

    def _key(self, sid: str) -> str:
        return self._keyspace.shard(shard_of(sid, self._shards)).room(sid)


def _is_read(room: Room, record: Record) -> bool:
    """Whether all that was published of a room was read."""
    of = record.ledger
    events = Chain(of.revision, of.last_event_id)
    return (room.events, room.alerts) == (events, Chain(of.alerts, of.last_alert_id))


def _agreed(believed: View, seen: View) -> bool:
    try:
        return agree(believed, seen)
    except AssertionError:
        return False


def _bits(sequences: Iterable[Range]) -> int:
    return sum((1 << one.most + 1) - (1 << one.least) for one in sequences)
