"""What the audit costs: a backlog drained with the audit on, and as if there were none.

    python benchmarks/audit.py [--callbacks 20000] [--rounds 5]

One process drains what a real Redis holds; the records go to a file. Without the audit nothing is
recorded, sealed, kept with the commits or written; all else is the same. Both are measured in turn,
several rounds of it, so that a noisy machine is noisy for both.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from meetings import traffic

from console.embedded import EmbeddedRedis
from ingest.inbox import Inbox
from schemas.connection import connect, keyspace_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers import steps
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe
from workers.store import Store

# What may be lost at the most.
_GOAL = 0.25


@contextmanager
def no_audit() -> Iterator[None]:
    """Have the worker conclude without recording anything."""
    kept = {name: getattr(steps, name) for name in ("concluded", "elapsed")}

    def concluded(_arrival: Any, record: Any, outcome: Any, *_: Any, **__: Any) -> list[Any]:
        told = []
        for one in outcome.elapsed:
            told.append(steps.publish(record, one))
            record = told[-1].record
        return [*told, steps.publish(record, outcome, late=outcome.late)]

    steps.concluded = concluded
    steps.elapsed = lambda record, led_to, _around: steps.publish(record, led_to)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(steps, name, function)


def drained(
    url: str, callbacks: list[dict[str, str]], make: Callable[[Settings], Scribe], output: int
) -> tuple[float, float]:
    """Drain a backlog; return the callbacks a second, and the microseconds of this process each."""
    settings = Settings(redis_url=url, celery_broker_url=url)
    with connect(settings, timeout=10.0) as redis:
        redis.flushall()
        keyspace = keyspace_of(settings)
        inbox = Inbox(redis, keyspace, settings.shards)
        for params in callbacks:
            inbox.deposit(params, "")
        store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
        drain = Drain(store, bounds_of(settings), Lines(output), scribe=make(settings))
        gc.collect()
        began, began_cpu = time.monotonic(), time.process_time()
        for shard in range(settings.shards):
            while drain.drain(shard, {"task_id": "benchmark", "worker": "w:1"}).handed_on:
                pass
        count = len(callbacks)
        seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
        return count / seconds, cpu / count * 1e6


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callbacks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    callbacks = [*islice(traffic(1), asked.callbacks)]
    scribes: dict[str, Callable[[Settings], Scribe]] = {
        "off": lambda settings: Scribe(bounds_of(settings)),
        "on": lambda settings: Scribe(bounds_of(settings)),
        "on, names hashed": lambda settings: Scribe(
            bounds_of(settings), pseudonyms=Pseudonyms("k" * 64)
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in scribes}
    costs: dict[str, list[float]] = {name: [] for name in scribes}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        server = EmbeddedRedis(Path(folder))
        server.start()
        try:
            for _ in range(asked.rounds):
                for name, make in scribes.items():
                    os.ftruncate(file.fileno(), 0)
                    if name == "off":
                        with no_audit():
                            rate, cost = drained(server.url, callbacks, make, file.fileno())
                    else:
                        rate, cost = drained(server.url, callbacks, make, file.fileno())
                    rates[name].append(rate)
                    costs[name].append(cost)
        finally:
            server.stop()
    print(f"{len(callbacks)} callbacks, one process, medians of {asked.rounds} rounds")
    off = statistics.median(rates["off"])
    for name in scribes:
        rate = statistics.median(rates[name])
        print(
            f"  audit {name:<17} {rate:9,.0f} callbacks/s  {statistics.median(costs[name]):6.1f} µs"
            f" of the worker each  {1 - rate / off:6.1%} of the throughput lost"
        )
    print(f"goal: {_GOAL:.0%} at the most")


if __name__ == "__main__":
    main()
