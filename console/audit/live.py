"""The chains of all rooms as Redis has them. Reads only, and every wait is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from redis import Redis

from console.audit.chain import Head
from schemas.connection import connect, keyspace_of, servers
from schemas.errors import UnknownVersionError, UnreadableRecordError
from schemas.keys import shard_of
from schemas.settings import Settings
from workers import records

# For any one answer of Redis: as long as a worker waits for it.
_REPLY_SECONDS = 2.0
# A key has 60 bytes, a record may have 100 KiB: no one command holds Redis up for long.
_KEYS, _RECORDS = 1000, 32


class Live:
    """One look at Redis."""

    def __init__(self, settings: Settings) -> None:
        """Set up; nothing is sent yet. Everything here may raise RedisError."""
        self._redis: Redis = connect(settings, timeout=_REPLY_SECONDS)
        self._keyspace = keyspace_of(settings)
        self._shards = settings.shards

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def heads(self) -> Iterator[tuple[str, Head]]:
        """Give the end of the chain of every room, what is left of expired ones included."""
        by_shard: dict[int, list[str]] = {}
        for room_sid in self._rooms():
            shard = shard_of(room_sid, self._shards)
            some = by_shard.setdefault(shard, [])
            some.append(room_sid)
            if len(some) == _RECORDS:
                yield from self._heads(shard, by_shard.pop(shard))
        for shard, rest in by_shard.items():
            yield from self._heads(shard, rest)

    def kept(self) -> Iterator[bytes]:
        """Give the lines of the last commit of each shard that are not known to be written."""
        for shard in range(self._shards):
            lines: Any = self._redis.get(self._keyspace.shard(shard).audit)
            yield from (lines or b"").splitlines(keepends=True)

    def _rooms(self) -> Iterator[str]:
        """Find the rooms; one that is there all the while is found, perhaps twice."""
        for server in servers(self._redis):
            pattern = f"{self._keyspace.prefix}:{{*}}:room:*"
            keys: Iterator[Any] = server.scan_iter(match=pattern, count=_KEYS)
            for key in keys:
                yield key.decode().rpartition(":room:")[2]

    def _heads(self, shard: int, room_sids: list[str]) -> Iterator[tuple[str, Head]]:
        rooms = self._keyspace.shard(shard)
        stored: Any = self._redis.mget([rooms.room(room_sid) for room_sid in room_sids])
        for room_sid, one in zip(room_sids, stored, strict=True):
            try:
                ledger = records.decode(one).ledger
            except (UnknownVersionError, UnreadableRecordError):
                yield room_sid, Head(0, None)
                continue
            # Of a room that nothing was recorded of there is nothing to compare.
            if ledger.audit_records:
                yield room_sid, Head(ledger.audit_records, ledger.audit_head)
