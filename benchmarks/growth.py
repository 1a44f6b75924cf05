"""Cost against growth: a drain with more rooms and with more people in each, and what a room takes.

Here the worker's rounds run in this process, over all shards, on rooms that were made live
beforehand. Each size has a prefix of its own in Redis, so that the rounds can go in turn.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.backlog import backlog_of, inboxes_of
from benchmarks.figures import Figures
from benchmarks.meetings import Meeting, Params
from benchmarks.plain.room import apply, new_room
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkError
from benchmarks.systems import Site, deposit
from schemas.connection import connect
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.main import collect_seldom
from workers.rounds import Rounds, Terms
from workers.store import Store
from workers.terms import scribe_of

_SEED = 5
_KINDS = ("audio", "video", "data")
# Of the rooms that are many: what is measured is how many there are.
_FEW_PEOPLE, _FEW_KINDS = 1, ("audio",)
_REDIS_SECONDS = 10.0
_BOUND_SECONDS = 600.0
# So often in each round, there and back: one takes half a second, and noise lasts longer.
_TURNS = 3
# Nobody lingers for so long: whoever drains ends when nothing waits.
_LINGER_SECONDS = 1.0


class Rooms:
    """So many live rooms of so many people each, in Rollcall."""

    def __init__(
        self, site: Site, name: str, rooms: int, people: int, kinds: Sequence[str]
    ) -> None:
        """Make them live."""
        self._site = site
        url = site.server.url
        self._settings = Settings(redis_url=url, celery_broker_url=url, prefix=name)
        self._random = Random(_SEED)
        self._redis = connect(self._settings, timeout=_REDIS_SECONDS)
        self._log = os.open(site.folder / f"{name}.log", os.O_WRONLY | os.O_CREAT, 0o600)
        shards, maxlen = self._settings.shards, self._settings.events_maxlen
        store = Store(self._redis, Keyspace(name), shards=shards, maxlen=maxlen)
        lines, scribe = Lines(self._log), scribe_of(self._settings)
        bounds = bounds_of(self._settings)
        self._store = store
        self._drain = Drain(store, bounds, lines, scribe=scribe, at_once=shards)
        self._rooms = [Meeting(self._random) for _ in range(rooms)]
        self.name = name
        self._inboxes = inboxes_of(name)
        self.callbacks_per_second(one for room in self._rooms for one in room.gather(people, kinds))

    def mutes(self, count: int) -> Iterator[Params]:
        """Tell of people in these rooms who mute and unmute themselves."""
        for _ in range(count):
            yield self._random.choice(self._rooms).mute()

    def callbacks_per_second(self, callbacks: Iterator[Params]) -> float:
        """Have callbacks wait, and drain them; return how many that were a second."""
        deposit(self._settings, callbacks)
        waiting = self._waiting()
        began = time.monotonic()
        while self._waiting():
            for shard in range(self._settings.shards):
                self._serve(shard)
            if time.monotonic() - began > _BOUND_SECONDS:
                raise BenchmarkError(f"{self._waiting()} callbacks still wait in {self.name}.")
        return waiting / (time.monotonic() - began)

    def _serve(self, shard: int) -> None:
        context = {"task_id": None, "worker": self.name}
        terms = Terms(self._store.shards, _LINGER_SECONDS, leaving=lambda: not self._waiting())
        Rounds(self._store, lambda one: self._drain.begin(one, context), terms).serve(shard)

    def _waiting(self) -> int:
        return backlog_of("rollcall", self._redis, self._inboxes)

    def bytes_each(self) -> float:
        """How much memory of Redis a room takes, with its key and its place among those due."""
        shards, keyspace = self._settings.shards, Keyspace(self.name)
        sids = [room.room_sid for room in self._rooms]
        keys = [keyspace.shard(number).due for number in range(shards)]
        keys += [keyspace.shard(shard_of(one, shards)).room(one) for one in sids]
        sizes = [self._redis.memory_usage(key, samples=0) or 0 for key in keys]
        return sum(sizes) / len(self._rooms)

    def close(self) -> None:
        """Close the connection and the log."""
        self._redis.close()
        os.close(self._log)


def _plain_bytes(site: Site, people: int) -> float:
    """How much memory of Redis such a room takes as the plain receiver keeps it."""
    room, key = new_room(), "plain:room:RM" + "0" * 32
    for params in Meeting(Random(_SEED)).gather(people, _KINDS):
        apply(room, params)
    site.redis.set(key, json.dumps(room), ex=3600)
    return float(site.redis.memory_usage(key, samples=0) or 0)


def measure_growth(site: Site, plan: Plan, figures: Figures) -> None:
    """Measure all sizes, the rounds in turn."""
    site.redis.flushall()
    # As a worker does at its start.
    collect_seldom()
    few = {
        f"{rooms:,} live rooms": Rooms(site, f"rooms{rooms}", rooms, _FEW_PEOPLE, _FEW_KINDS)
        for rooms in plan.live_rooms
    }
    crowds = {
        people: Rooms(site, f"people{people}", plan.rooms_of_people, people, _KINDS)
        for people in plan.people
    }
    figures.say("all rooms are live")
    for people, rooms in crowds.items():
        figures.note(f"bytes a room of {people}", "rollcall", rooms.bytes_each())
        figures.note(f"bytes a room of {people}", "plain", _plain_bytes(site, people))
    sizes = few | {f"{people} participants a room": rooms for people, rooms in crowds.items()}
    for turn in range(_TURNS * plan.rounds):
        for name, rooms in [*sizes.items()][:: -1 if turn % 2 else 1]:
            figures.note("drained", name, rooms.callbacks_per_second(rooms.mutes(plan.growth)))
    for rooms in sizes.values():
        rooms.close()
    site.redis.flushall()
