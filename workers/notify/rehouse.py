"""The places of targets while the number of shards is changed, where each shard has its stream.

In a cluster a target has a place in each shard's stream, and what an Alertmanager was told is kept
beside it: that of a room which moves goes with it, or nobody could ever resolve it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from redis import Redis

from schemas.keys import Keyspace
from workers.notify.alert import order
from workers.notify.alertmanager import Fired
from workers.notify.outbox import Outbox

_decode = msgspec.msgpack.Decoder(Fired).decode


class Places:
    """Where some targets stand in the streams of one keyspace."""

    def __init__(self, redis: Redis, keyspace: Keyspace, targets: Sequence[str]) -> None:
        self._redis = redis
        self._keyspace = keyspace
        # Where all shards share a stream, a target has one place whatever their number.
        self._targets = targets if keyspace.clustered else ()

    def undelivered(self, shards: range) -> list[int]:
        """List those of the shards whose alerts some target has not been told yet.

        Raises:
            RedisError: Redis broke off.
        """
        outbox = Outbox(self._redis, self._keyspace)
        waiting = []
        for number in shards:
            glances = outbox.glance([self._lane(target, number) for target in self._targets])
            if any(
                one.state and order(one.last_id) > order(one.state.cursor)
                for one in glances.values()
            ):
                waiting.append(number)
        return waiting

    def move(self, shards: int, home: Callable[[str], int]) -> None:
        """Put what is told to be firing beside the stream that will say that it is over.

        Args:
            shards: how many there are or were, whichever is more.
            home: tells the shard in which a room is from now on.

        Raises:
            RedisError: Redis broke off; done again, it goes on from there.
        """
        for target in self._targets:
            for number in range(shards):
                self._move_from(target, number, home)

    def _move_from(self, target: str, number: int, home: Callable[[str], int]) -> None:
        here = self._keyspace.target(self._lane(target, number)).firing
        stored = cast("dict[bytes, bytes]", self._redis.hgetall(here))
        for dedup_key, fired in stored.items():
            there = home(_decode(fired).labels["room_sid"])
            if there != number:
                lane = self._keyspace.target(self._lane(target, there))
                self._redis.hset(lane.firing, mapping={dedup_key: fired})
                self._redis.hdel(here, dedup_key.decode())

    def _lane(self, target: str, number: int) -> str:
        return list(self._keyspace.lanes(target, number + 1))[number]
