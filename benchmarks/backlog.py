"""How many callbacks were accepted and are not applied yet, asked of Redis in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from redis import Redis

from schemas.keys import Keyspace

Name = Literal["plain", "rollcall"]

_SHARDS = 8  # as shipped


def inboxes_of(prefix: str) -> list[str]:
    """List where callbacks wait for Rollcall's workers."""
    return [Keyspace(prefix).shard(number).inbox for number in range(_SHARDS)]


INBOXES = inboxes_of("rollcall")


def backlog_of(name: Name, redis: Redis, inboxes: Iterable[str] = INBOXES) -> int:
    """Count what waits: of the plain receiver in its queue or with a worker."""
    with redis.pipeline(transaction=False) as pipeline:
        if name == "plain":
            pipeline.llen("plain")
            pipeline.hlen("unacked")
        else:
            for inbox in inboxes:
                pipeline.xlen(inbox)
        return sum(pipeline.execute())
