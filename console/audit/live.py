"""The chains of all rooms as Redis has them. Reads only, and every wait is bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self

from redis import Redis

from console.audit.judgement import Head
from schemas.connection import connect, keyspace_of, servers
from schemas.errors import UnknownVersionError, UnreadableRecordError
from schemas.keys import shard_of
from schemas.settings import Settings
from workers import records
from workers.arrivals import pseudo_room

# For any one answer of Redis: as long as a worker waits for it.
_REPLY_SECONDS = 2.0
# A key has 60 bytes, a record may have 100 KiB: no one command holds Redis up for long.
_KEYS, _RECORDS = 1000, 32
# How the key of a room ends (schemas/keys.py): with its shard in braces, and its SID.
_KEY = re.compile(r"\{(\d+)\}:room:([^:]+)$", re.ASCII)


class Live:
    """One look at Redis."""

    def __init__(self, settings: Settings) -> None:
        """Set up; nothing is sent yet. Everything here may raise RedisError."""
        self._redis: Redis = connect(settings, timeout=_REPLY_SECONDS)
        self._keyspace = keyspace_of(settings)
        self._shards = settings.shards
        self._pseudo_rooms = {pseudo_room(number): number for number in range(settings.shards)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def heads(self) -> Iterator[tuple[str, Head]]:
        """Give the end of the chain of every room, what is left of expired ones included."""
        by_shard: dict[int, list[str]] = {}
        for shard, room_sid in self._rooms():
            some = by_shard.setdefault(shard, [])
            some.append(room_sid)
            if len(some) == _RECORDS:
                yield from self._heads(shard, by_shard.pop(shard))
        for shard, rest in by_shard.items():
            yield from self._heads(shard, rest)

    def head(self, room_sid: str) -> Head | None:
        """Give the end of the chain of one room; None where Redis knows none."""
        shard = self._pseudo_rooms.get(room_sid, shard_of(room_sid, self._shards))
        found = self._heads(shard, [room_sid])
        return next((head for _, head in found), None)

    def kept(self) -> Iterator[bytes]:
        """Give the lines of the last commit of each shard that are not known to be written."""
        for shard in range(self._shards):
            lines: Any = self._redis.get(self._keyspace.shard(shard).audit)
            yield from (lines or b"").splitlines(keepends=True)

    def _rooms(self) -> Iterator[tuple[int, str]]:
        """Find the rooms, each with the shard that it lies in.

        One that is there all the while is found, perhaps twice.
        """
        for server in servers(self._redis):
            pattern = f"{self._keyspace.prefix}:{{*}}:room:*"
            keys: Iterator[Any] = server.scan_iter(match=pattern, count=_KEYS)
            for key in keys:
                if found := _KEY.search(key.decode(errors="replace")):
                    yield int(found[1]), found[2]

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
