"""The rooms as Redis has them, for reading only: one by its SID, and the open ones page by page.

It sends GET, MGET and ZSCAN and nothing that writes, and every wait is bounded. It must not know
HTTP, nor what a snapshot looks like to whoever asks.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec
from redis import Redis

from console.snapshot import Snapshot, snapshot
from schemas.connection import connect, keyspace_of
from schemas.errors import (
    ExpiredError,
    StartError,
    UnavailableError,
    UnknownRoomError,
    UnknownVersionError,
    UnreadableRecordError,
)
from schemas.keys import shard_of
from schemas.settings import Settings
from workers import records
from workers.bounds import bounds_of

# For any one answer of Redis: as long as a worker waits for it.
_REPLY_SECONDS = 2.0
# For a page: after this it ends where it is, and the next one goes on.
_PAGE_SECONDS = 5.0
# Of a page, before it ends in the same way. A room of fifty takes some 30 KiB.
_PAGE_BYTES = 4 * 1024 * 1024
# So that no one command holds Redis up for long: a record may have 100 KiB, a key has 60 bytes.
_RECORDS, _KEYS = 32, 1000

_encode = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """Where a page ended: everything up to this room was looked at."""

    shard: int = 0
    room_sid: str = ""


class Page(NamedTuple):
    """Some of the open rooms."""

    # Encoded, since their length decides how many there are.
    rooms: list[msgspec.Raw]
    # What cannot be read here: the SID, and the error's reason.
    unread: list[dict[str, str]]
    # None where there are no more rooms.
    ended: Place | None


class Rooms:
    """All rooms of one Rollcall."""

    def __init__(self, settings: Settings, redis: Redis | None = None) -> None:
        """Set up; nothing is sent yet.

        Args:
            settings: the same as those of the workers.
            redis: the data; by default what REDIS_URL names.
        """
        self._redis = redis or connect(settings, timeout=_REPLY_SECONDS)
        self._keys = keyspace_of(settings)
        self._shards = settings.shards
        self._bounds = bounds_of(settings)

    def check(self) -> None:
        """Make sure that Redis answers, and that the shards are counted as they are kept.

        Raises:
            StartError: another count is stored: every other room would seem to be unknown.
            RedisError: Redis did not answer.
        """
        stored = cast("bytes | None", self._redis.get(self._keys.shard_count))
        # None is stored before the first process that writes has started.
        if stored is not None and stored != b"%d" % self._shards:
            raise StartError(
                f"ROLLCALL_SHARDS: is {self._shards} here, but this Redis is kept with"
                f" {stored.decode()}; set the same for all processes."
            )

    def one(self, room_sid: str) -> Snapshot:
        """Take the snapshot of a room.

        Raises:
            UnknownRoomError: nothing is stored of it.
            ExpiredError: nothing but that it has been.
            UnknownVersionError: a newer Rollcall wrote its record.
            UnreadableRecordError: its record is damaged.
            RedisError: Redis did not answer.
        """
        self.check()
        shard = self._keys.shard(shard_of(room_sid, self._shards))
        record = records.decode(cast("bytes | None", self._redis.get(shard.room(room_sid))))
        if record.facts.expired:
            raise ExpiredError
        taken = snapshot(record, self._bounds)
        if taken is None:
            raise UnknownRoomError
        return taken

    def page(self, after: Place, limit: int, name: str | None = None) -> Page:
        """Take the snapshots of open rooms, in an order that does not change.

        A room that is open all the while is on one of the pages.

        Args:
            after: where the page before ended.
            limit: how many rooms at most. There may be fewer, or none, though more follow.
            name: only rooms of this name.

        Raises:
            UnavailableError: it took too long.
            RedisError: Redis did not answer.
        """
        self.check()
        deadline = time.monotonic() + _PAGE_SECONDS
        rooms: list[msgspec.Raw] = []
        unread: list[dict[str, str]] = []
        size = 0
        place = None
        try:
            for place, stored in self._records(after, deadline):
                try:
                    taken = self._open_room(stored, name)
                except (UnknownVersionError, UnreadableRecordError) as error:
                    unread.append({"room_sid": place.room_sid, "reason": error.reason})
                    taken = None
                if taken is not None:
                    rooms.append(msgspec.Raw(_encode(taken)))
                    size += len(rooms[-1])
                full = len(rooms) + len(unread) == limit or size > _PAGE_BYTES
                if full or time.monotonic() > deadline:
                    return Page(rooms, unread, place)
        except UnavailableError:
            if place is None:
                raise
            # What was read so far is a page, and the next goes on from there.
            return Page(rooms, unread, place)
        return Page(rooms, unread, None)

    def close(self) -> None:
        self._redis.close()

    def _open_room(self, stored: bytes | None, name: str | None) -> Snapshot | None:
        record = records.decode(stored)
        facts = record.facts
        # Most rooms of a day are closed, and most not asked for: their views need not be made.
        if facts.end is not None or facts.expired:
            return None
        if name is not None and (facts.name is None or facts.name.text != name):
            return None
        return snapshot(record, self._bounds)

    def _records(self, after: Place, deadline: float) -> Iterator[tuple[Place, bytes | None]]:
        """Read what is stored of rooms, shard by shard and there by SID."""
        for shard in range(after.shard, self._shards):
            sids = self._sids(shard, deadline)
            first = bisect_right(sids, after.room_sid) if shard == after.shard else 0
            for index in range(first, len(sids), _RECORDS):
                some = sids[index : index + _RECORDS]
                found: Any = self._redis.mget([self._keys.shard(shard).room(sid) for sid in some])
                for sid, stored in zip(some, found, strict=True):
                    yield Place(shard, sid), stored

    def _sids(self, shard: int, deadline: float) -> list[str]:
        """List the rooms of a shard that wait for anything, as every open one does.

        By rank they could not be read page by page: a room's due moment changes with each callback,
        and one that moves to an earlier rank would be missed. ZSCAN finds all that are there from
        its beginning to its end, some of them twice.
        """
        keys = self._keys.shard(shard)
        sids: set[str] = set()
        cursor = -1
        while cursor:
            if time.monotonic() > deadline:
                raise UnavailableError("Redis is too slow to list the rooms in time.")
            answer: Any = self._redis.zscan(keys.due, max(cursor, 0), count=_KEYS)
            cursor, members = answer
            sids.update(key.decode().removeprefix(keys.rooms) for key, _ in members)
        return sorted(sids)
