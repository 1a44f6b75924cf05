"""Moving rooms between shards: find those that lie elsewhere, copy, compare, and only then remove.

Whoever calls holds all the shards. Done again after having been killed anywhere, it goes on from
there. It knows where a room is looked for, and nothing of what its record means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from redis import Redis

from schemas.errors import ReshardError
from schemas.keys import Keyspace, shard_of
from workers.arrivals import pseudo_room
from workers.safety import masters

# Rooms of one round trip: a record may have 100 KiB.
AT_ONCE = 64
_KEYS = 1000
# A room's time to live is copied as it is read, and round trips take their time.
_TTL_SLACK_MS = 60_000


class Place(NamedTuple):
    """Where a room lies now."""

    room_sid: str
    shard: int


class Kept(NamedTuple):
    """All that is kept of a room, beside its name."""

    record: bytes | None
    # -1: for ever.
    ttl_ms: int
    due_ms: float | None

    def is_kept_in(self, other: Kept) -> bool:
        """Tell whether a copy is one; of a record about to expire, nothing may be left."""
        if self.due_ms != other.due_ms:
            return False
        if other.record is None:
            return self.record is None or 0 <= self.ttl_ms < _TTL_SLACK_MS
        forever = -1 in {self.ttl_ms, other.ttl_ms}
        alike = abs(self.ttl_ms - other.ttl_ms) < _TTL_SLACK_MS
        return self.record == other.record and (self.ttl_ms == other.ttl_ms if forever else alike)


class Moves:
    """The rooms of one keyspace, on their way to where `to` shards have them looked for."""

    def __init__(self, redis: Redis, keyspace: Keyspace, to: int) -> None:
        self._redis = redis
        self._keyspace = keyspace
        self._to = to
        self._pseudo_rooms = {pseudo_room(number): number for number in range(to)}

    def misplaced(self, shards: int) -> list[Place]:
        """List the rooms of the first so many shards that do not lie where they belong.

        Raises:
            RedisError: Redis broke off.
        """
        stems = {self._keyspace.shard(number).rooms: number for number in range(shards)}
        found = set()
        for key in self._room_keys(shards):
            stem, colon, room_sid = key.decode(errors="replace").rpartition(":")
            shard = stems.get(stem + colon)
            if shard is not None and self.home(room_sid) != shard:
                found.add(Place(room_sid, shard))
        return sorted(found)

    def move(self, places: list[Place]) -> None:
        """Move some rooms.

        Raises:
            ReshardError: another lies where one belongs, and both are left as they are.
            RedisError: Redis broke off; each room lies in one place or, alike, in both.
        """
        homes = [Place(one.room_sid, self.home(one.room_sid)) for one in places]
        kept = self._read(places)
        self._write(homes, kept)
        for place, home, was, now in zip(places, homes, kept, self._read(homes), strict=True):
            if not was.is_kept_in(now):
                raise ReshardError(
                    f"Room {place.room_sid} is kept in shard {place.shard}, and otherwise in shard"
                    f" {home.shard}, where it belongs; remove one of the two, and run it again."
                )
        self._remove(places)

    def home(self, room_sid: str) -> int:
        """Tell in which shard a room belongs."""
        # A shard's pseudo-room is looked for in its own shard. That of one which is given up is a
        # room like any other, until that shard is there again.
        home = self._pseudo_rooms.get(room_sid)
        return shard_of(room_sid, self._to) if home is None else home

    def _room_keys(self, shards: int) -> Iterator[bytes]:
        """Find the keys of all rooms, some of them twice: those kept, and those that are due."""
        # A prefix holds no braces, so that this is the number of the shard.
        pattern = self._keyspace.shard(0).room("*").replace("{0}", "{*}")
        for _, node in masters(self._redis):
            yield from node.scan_iter(pattern, count=_KEYS)
        for number in range(shards):
            for key, _ in self._redis.zscan_iter(self._keyspace.shard(number).due, count=_KEYS):
                yield key

    def _read(self, places: Iterable[Place]) -> list[Kept]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for one in places:
                keys = self._keyspace.shard(one.shard)
                pipeline.get(keys.room(one.room_sid))
                pipeline.pttl(keys.room(one.room_sid))
                pipeline.zscore(keys.due, keys.room(one.room_sid))
            answers: list[Any] = pipeline.execute()
        return [Kept(*answers[at : at + 3]) for at in range(0, len(answers), 3)]

    def _write(self, homes: Iterable[Place], kept: Iterable[Kept]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for home, one in zip(homes, kept, strict=True):
                keys = self._keyspace.shard(home.shard)
                key = keys.room(home.room_sid)
                # What lies there is written over in no case: it may be the newer one.
                if one.record is not None and one.ttl_ms:
                    lives = None if one.ttl_ms < 0 else one.ttl_ms
                    pipeline.set(key, one.record, px=lives, nx=True)
                if one.due_ms is not None:
                    pipeline.zadd(keys.due, {key: one.due_ms}, nx=True)
            pipeline.execute()

    def _remove(self, places: Iterable[Place]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for one in places:
                keys = self._keyspace.shard(one.shard)
                pipeline.unlink(keys.room(one.room_sid))
                pipeline.zrem(keys.due, keys.room(one.room_sid))
            pipeline.execute()
