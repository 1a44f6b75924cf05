"""How every process of Rollcall talks to Redis: one client, with bounds and without retries.

redis-py retries by default, which would make a commit whose reply was lost happen twice and turn a
0.3 s timeout into 7.5 s. Whoever calls decides what a failure means.
"""

from __future__ import annotations

from typing import cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import StartError
from schemas.keys import Keyspace
from schemas.settings import Settings


def connect(settings: Settings, *, timeout: float) -> Redis:
    """Make a client for REDIS_URL that waits `timeout` seconds for any reply, and never retries.

    Nothing is sent yet. Replies are bytes: identities and names are kept byte for byte.
    """
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        client_name="rollcall",
    )


def claim_shards(redis: Redis, keyspace: Keyspace, shards: int) -> None:
    """Store the shard count, or make sure that it is the one stored.

    Rooms are found by the count, so two processes that count differently would each keep half of
    the truth about a room.

    Raises:
        StartError: another count is stored.
        RedisError: Redis did not answer.
    """
    redis.set(keyspace.shard_count, shards, nx=True)
    stored = int(cast("bytes", redis.get(keyspace.shard_count)))
    if stored != shards:
        raise StartError(
            f"ROLLCALL_SHARDS: is {shards} here, but this Redis is kept with {stored};"
            " set the same for all processes."
        )
