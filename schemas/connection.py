"""How every process of Rollcall talks to Redis: one client, with bounds and without retries.

redis-py retries by default, which would make a commit whose reply was lost happen twice and turn a
0.3 s timeout into 7.5 s. Whoever calls decides what a failure means.
"""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

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
