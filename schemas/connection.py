"""How every process of Rollcall talks to Redis: one client, with bounds and without retries.

redis-py retries by default, which would make a commit whose reply was lost happen twice and turn a
0.3 s timeout into 7.5 s. Whoever calls decides what a failure means.
"""

from __future__ import annotations

from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from schemas.cluster import Cluster
from schemas.errors import StartError
from schemas.keys import Keyspace
from schemas.redis_urls import Address, read_address
from schemas.settings import Settings

# Between the two counts, while rooms are moved from the one to the other (decision 0019).
CHANGING = b">"


def connect(settings: Settings, *, timeout: float) -> Redis:
    """Make a client for REDIS_URL that waits `timeout` seconds for a command, and never retries.

    The time is spread over all replies that a command on a new connection needs, so that a Redis
    which is slow at each of them is given up in time as well. Nothing is sent yet. Replies are
    bytes: identities and names are kept byte for byte.
    """
    address = read_address(settings.redis_url)
    return {"single": _single, "sentinel": _sentinel, "cluster": _cluster}[address.kind](
        address, timeout
    )


def _single(address: Address, timeout: float) -> Redis:
    host, port = address.hosts[0]
    return Redis(host, port, db=address.database, ssl=address.tls, **_bounds(address, timeout))


def _sentinel(address: Address, timeout: float) -> Redis:
    """Make a client of whom the sentinels call master when a connection is opened."""
    # Half of the time is for finding the master, though all sentinels but the last are away.
    asked = timeout / 2 / len(address.hosts)
    of_sentinels = _bounds(address._replace(database=0, options=address.sentinel_options), asked)
    of_sentinels["ssl"] = address.tls
    sentinels = Sentinel(address.hosts, sentinel_kwargs=of_sentinels)
    bounds = _bounds(address, timeout / 2)
    master = sentinels.master_for(address.master, db=address.database, ssl=address.tls, **bounds)
    return cast("Redis", master)


def _cluster(address: Address, timeout: float) -> Redis:
    bounds = _bounds(address, timeout / 2)

    def node(host: str, port: int) -> Redis:
        return Redis(host, port, ssl=address.tls, **bounds)

    return Cluster(address.hosts, node, seconds=timeout)


def _bounds(address: Address, timeout: float) -> dict[str, Any]:
    """Return the options of a connection on which a first command is answered in time."""
    # The reply to AUTH, the one to SELECT, those of TLS, and that of the command.
    replies = ("password" in address.options) + bool(address.database) + address.tls + 1
    return {
        **address.options,
        "socket_timeout": timeout / replies,
        "socket_connect_timeout": timeout / replies,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        # Each of these would cost a round trip more at every new connection: the newer protocol
        # (without which a reply says the same here), and the client's name for itself.
        "protocol": 2,
        "driver_info": None,
    }


def servers(redis: Redis) -> list[Redis]:
    """Return a client of each server that is known: of a cluster, several."""
    return redis.nodes() if isinstance(redis, Cluster) else [redis]


def reconnect(redis: Redis) -> None:
    """Have the next command open a connection of its own.

    What answers on an old one may be a master no longer, and would say so for ever.
    """
    for server in servers(redis):
        server.connection_pool.disconnect(inuse_connections=False)


def keyspace_of(settings: Settings) -> Keyspace:
    """Return the keys, which are named otherwise in a cluster."""
    clustered = read_address(settings.redis_url).kind == "cluster"
    return Keyspace(settings.prefix, clustered=clustered)


def claim_shards(redis: Redis, keyspace: Keyspace, shards: int) -> None:
    """Store the shard count, or make sure that it is the one stored.

    Rooms are found by the count, so two processes that count differently would each keep half of
    the truth about a room.

    Raises:
        StartError: another count is stored.
        RedisError: Redis did not answer.
    """
    # Out of memory, Redis refuses even a SET that would change nothing; and a worker that could not
    # start then could not free any.
    stored = cast("bytes | None", redis.get(keyspace.shard_count))
    if stored is None:
        redis.set(keyspace.shard_count, shards, nx=True)
        stored = cast("bytes | None", redis.get(keyspace.shard_count)) or b"nothing"
    if CHANGING in stored:
        was, _, to = stored.decode().partition(CHANGING.decode())
        raise StartError(
            f"ROLLCALL_SHARDS: this Redis is being changed from {was} to {to} shards; let"
            f" `rollcall reshard {to}` finish, or run it again, and set ROLLCALL_SHARDS={to}."
        )
    if stored != b"%d" % shards:
        raise StartError(
            f"ROLLCALL_SHARDS: is {shards} here, but this Redis is kept with {stored.decode()};"
            " set the same for all processes."
        )
