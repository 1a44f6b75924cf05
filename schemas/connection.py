"""How every process of Rollcall talks to Redis: one client, with bounds and without retries.

redis-py retries by default, which would make a commit whose reply was lost happen twice and turn a
0.3 s timeout into 7.5 s. Whoever calls decides what a failure means.
"""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import StartError
from schemas.keys import Keyspace
from schemas.settings import Settings


def connect(settings: Settings, *, timeout: float) -> Redis:
    """Make a client for REDIS_URL that waits `timeout` seconds for a command, and never retries.

    The time is spread over all replies that a command on a new connection needs, so that a Redis
    which is slow at each of them is given up in time as well. Nothing is sent yet. Replies are
    bytes: identities and names are kept byte for byte.
    """
    seconds = timeout / _replies(settings.redis_url)
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        # Each of these would cost a round trip more at every new connection: the newer protocol
        # (without which a reply says the same here), and the client's name for itself.
        protocol=2,
        driver_info=None,
    )


def _replies(url: str) -> int:
    """How many replies the first command on a new connection waits for."""
    parts = urlsplit(url)
    # The one to AUTH, the one to SELECT, those of TLS, and that of the command.
    return bool(parts.password) + bool(parts.path.strip("/0")) + (parts.scheme == "rediss") + 1


def claim_shards(redis: Redis, keyspace: Keyspace, shards: int) -> None:
    """Store the shard count, or make sure that it is the one stored.

    Rooms are found by the count, so two processes that count differently would each keep half of
    the truth about a room.

    Raises:
        StartError: another count is stored.
        RedisError: Redis did not answer.
    """
    redis.set(keyspace.shard_count, shards, nx=True)
    stored = cast("bytes | None", redis.get(keyspace.shard_count)) or b"nothing"
    if stored != b"%d" % shards:
        raise StartError(
            f"ROLLCALL_SHARDS: is {shards} here, but this Redis is kept with {stored.decode()};"
            " set the same for all processes."
        )
