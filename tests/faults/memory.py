"""The memory of a soak: of each process as long as it lives, and of Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]  # it carries no types
from faults.books import Books
from faults.stage import Stage
from redis import Redis
from servers import RedisServer

from schemas.keys import shard_of

MIB = 1024 * 1024
# By then all is loaded, and the caches are full.
_WARM_SECONDS = 60.0
# How many rooms are weighed for all.
_SAMPLE = 500
# What grows by more than half is not flat; a fork, a batch or a full buffer is less than that.
_FLAT = 1.5


class Weighed(NamedTuple):
    """How much a process holds, in bytes, and how old it is, in seconds."""

    resident: int
    age: float


class OfRedis(NamedTuple):
    """What Redis holds, in bytes of its used_memory."""

    used: int
    # Of it the records of rooms that are over, kept for ROLLCALL_KEEP_HOURS, and when each of
    # them is due. They grow with the number of rooms, and go by themselves.
    over: int

    @property
    def rest(self) -> int:
        return self.used - self.over


class Mark(NamedTuple):
    """What everything weighed at one moment, with nothing under way."""

    callbacks: int
    processes: dict[str, Weighed]
    redis: OfRedis


class Life(NamedTuple):
    """A process, from when it was warm until it was seen last."""

    name: str
    began: Weighed
    last: Weighed

    @property
    def seconds(self) -> float:
        return self.last.age - self.began.age


class Memory:
    """Weighs all processes again and again."""

    def __init__(self, stage: Stage, redis: RedisServer) -> None:
        self._stage = stage
        self._redis = redis
        # By the process's id and when it was started.
        self._lives: dict[tuple[int, float], Life] = {}
        # The most that any process of a name held.
        self.most: dict[str, int] = {}

    def weigh(self) -> dict[str, Weighed]:
        """Weigh all that run, children by number."""
        pids = {"Redis": self._redis.pid}
        for name in ("web", "worker", "beat"):
            for number, pid in enumerate(self._stage.supervisor.family(name)):
                pids[f"{name}, child {number}" if number else name] = pid
        found: dict[str, Weighed] = {}
        for name, pid in sorted(pids.items()):
            # It may just have been killed.
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                began = process.create_time()
                found[name] = Weighed(process.memory_info().rss, time.time() - began)
                self._note(name, (pid, began), found[name])
        return found

    def _note(self, name: str, process: tuple[int, float], weighed: Weighed) -> None:
        self.most[name] = max(self.most.get(name, 0), weighed.resident)
        # Redis holds more with every room that is over.
        if weighed.age > _WARM_SECONDS and name != "Redis":
            known = self._lives.get(process)
            self._lives[process] = Life(name, known.began if known else weighed, weighed)

    def longest_lives(self) -> list[Life]:
        """Of each name, the process that lived longest."""
        longest: dict[str, Life] = {}
        for life in sorted(self._lives.values(), key=lambda life: life.seconds):
            longest[life.name] = life
        return [longest[name] for name in sorted(longest)]

    def weigh_redis(self, books: Books) -> OfRedis:
        """Weigh Redis, and in it the rooms that are over."""
        with self._stage.client() as client:
            used = client.info("memory")["used_memory"]
            return OfRedis(used, self._weigh_rooms(client, books))

    def _weigh_rooms(self, client: Redis, books: Books) -> int:
        shards = [
            self._stage.keyspace.shard(number) for number in range(self._stage.settings.shards)
        ]
        over = [sid for sid, room in list(books.rooms.items()) if room.believed is None]
        sample = self._stage.random.sample(over, min(_SAMPLE, len(over)))
        keys = [shards[shard_of(sid, len(shards))].room(sid) for sid in sample]
        each = _sum_of(client, keys) / max(1, len(keys))
        # Rooms that go on are due as well; there are few of them.
        due = _sum_of(client, (of.due for of in shards))
        return int(each * len(over)) + due


def grown(marks: list[Mark], lives: list[Life]) -> list[str]:
    """List what is not flat: processes as long as they lived, and Redis from the first mark on."""
    found = [
        f"{life.name} grew from {life.began.resident} to {life.last.resident} bytes"
        for life in lives
        if life.last.resident > _FLAT * life.began.resident
    ]
    first, last = marks[0].redis.rest, marks[-1].redis.rest
    if last > _FLAT * first:
        found.append(f"Redis grew from {first} to {last} bytes, beside rooms that ended")
    return found


def _sum_of(client: Redis, keys: Iterable[str]) -> int:
    return sum(client.memory_usage(key, samples=0) or 0 for key in keys)
