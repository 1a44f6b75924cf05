"""Rollcall's processes on some Redis, callbacks sent all the while, and what came of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from outage import ROOMS, TOKEN, Traffic
from procfile import PUBLIC_URL, healthy, processes, wait_for
from redis import Redis
from servers import wait_until
from streams import by_room, check_chain, published

from console.embedded import free_port
from schemas.connection import connect, keyspace_of
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings
from workers import records

SHARDS = 8
SIDS = [f"RM{room:032x}" for room in range(ROOMS)]
# Five are promised, and half of that is usual; a machine that runs all tests at once is slower.
RECOVERED_SECONDS = 15.0


class Load(NamedTuple):
    """What a test watches."""

    traffic: Traffic
    redis: Redis
    keyspace: Keyspace
    port: int

    def applied(self) -> int:
        """Count the callbacks that the rooms know of, each by its sequence number."""
        stored = (
            self.redis.get(self.keyspace.shard(shard_of(sid, SHARDS)).room(sid)) for sid in SIDS
        )
        heard = (one for record in stored for one in records.decode(record).facts.sequences)
        return sum(one.most - one.least + 1 for one in heard)

    def wait_until_applied(self) -> None:
        """Wait until all is applied that was sent up to now."""
        sent = self.traffic.sent
        wait_until(lambda: self.applied() >= sent, seconds=RECOVERED_SECONDS)

    def check(self) -> None:
        """Check that all of it was taken, applied once, and published without a hole.

        Each room is opened, its participant joins and its person arrives once; each track is
        published once.
        """
        assert dict(self.traffic.answers) == {204: self.traffic.sent}
        assert self.applied() == self.traffic.sent
        streams = [stream for stream in self.keyspace.streams(SHARDS) if stream.endswith("events")]
        rooms = by_room([one for stream in streams for one in published(self.redis, stream)])
        assert sorted(rooms) == SIDS
        for events in rooms.values():
            check_chain(events)
        assert sum(map(len, rooms.values())) == self.traffic.sent + 3 * ROOMS


@contextmanager
def load(folder: Path, rate: int, redis_url: str, settings: Mapping[str, str]) -> Iterator[Load]:
    """Start web, worker and beat; all are ended with the block."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis_url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(port),
        "ROLLCALL_SPOOL_DIR": str(folder / "spool"),
        **settings,
    }
    named = Settings(redis_url=redis_url, celery_broker_url=redis_url)
    with processes(environment, folder) as start, connect(named, timeout=5.0) as redis:
        for name in ("web", "worker", "beat"):
            start(name)
        wait_for(lambda: healthy(port))
        yield Load(Traffic(port, rate), redis, keyspace_of(named), port)
