"""Where the chains of all rooms end in Redis. Reads only, and every wait is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def heads(settings: Settings) -> Iterator[tuple[str, Head]]:
    """Give the head of every room that is stored, what is left of expired ones included.

    Raises:
        RedisError: Redis did not answer.
    """
    with connect(settings, timeout=_REPLY_SECONDS) as redis:
        keyspace = keyspace_of(settings)
        by_shard: dict[int, list[str]] = {}
        for room_sid in _rooms(redis, keyspace.prefix):
            shard = shard_of(room_sid, settings.shards)
            some = by_shard.setdefault(shard, [])
            some.append(room_sid)
            if len(some) == _RECORDS:
                yield from _heads(redis, keyspace.shard(shard).rooms, by_shard.pop(shard))
        for shard, rest in by_shard.items():
            yield from _heads(redis, keyspace.shard(shard).rooms, rest)


def _rooms(redis: Redis, prefix: str) -> Iterator[str]:
    """Find the rooms; one that is there all the while is found, perhaps twice."""
    for server in servers(redis):
        keys: Iterator[Any] = server.scan_iter(match=f"{prefix}:{{*}}:room:*", count=_KEYS)
        for key in keys:
            yield key.decode().rpartition(":room:")[2]


def _heads(redis: Redis, rooms: str, room_sids: list[str]) -> Iterator[tuple[str, Head]]:
    stored: Any = redis.mget([rooms + room_sid for room_sid in room_sids])
    for room_sid, one in zip(room_sids, stored, strict=True):
        try:
            ledger = records.decode(one).ledger
        except (UnknownVersionError, UnreadableRecordError):
            yield room_sid, Head(0, None)
            continue
        # Of a room that nothing was recorded of there is nothing to compare.
        if ledger.audit_records:
            yield room_sid, Head(ledger.audit_records, ledger.audit_head)
