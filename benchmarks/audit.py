"""What the audit costs: a backlog drained with the audit on, and as if there were none.

    python -m benchmarks.audit [--callbacks 20000] [--rounds 5] [--write docs/performance.md]

One process drains what a real Redis holds; the records go to a file. Without the audit nothing is
recorded, sealed, kept with the commits or written; all else is the same. Both are measured in turn,
several rounds of it, so that a noisy machine is noisy for both. What is compared is processor time,
of the worker and of Redis: a drain waits for Redis, so the sum is what a callback takes, and what
else runs on the machine is not counted.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from redis import Redis

from benchmarks.machine import described
from benchmarks.meetings import traffic
from benchmarks.report import write_into
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

# How much of the throughput may be lost at the most.
_GOAL = 0.25
_MARKS = "<!-- audit: begin -->", "<!-- audit: end -->"
_OFF, _ON, _HASHED = "off", "on", "on, names hashed"
_MICROSECONDS = 1e6

Params = dict[str, str]


class Cost(NamedTuple):
    """What a callback took, in microseconds of the processor."""

    worker: float
    redis: float

    @property
    def both(self) -> float:
        return self.worker + self.redis


@contextmanager
def no_audit() -> Iterator[None]:
    """Have the worker conclude without recording anything."""

    def concluded(_arrival: Any, record: Any, outcome: Any, *_: Any, **__: Any) -> list[steps.Step]:
        told = []
        for one in outcome.elapsed:
            told.append(steps.publish(record, one))
            record = told[-1].record
        return [*told, steps.publish(record, outcome, late=outcome.late)]

    def elapsed(record: Any, led_to: Any, _around: Any) -> steps.Step:
        return steps.publish(record, led_to)

    with patch.multiple(steps, concluded=concluded, elapsed=elapsed):
        yield


def drained(settings: Settings, callbacks: list[Params], scribe: Scribe, output: int) -> Cost:
    """Drain a backlog."""
    with connect(settings, timeout=10.0) as redis:
        redis.flushall()
        keyspace = keyspace_of(settings)
        inbox = Inbox(redis, keyspace, settings.shards)
        for params in callbacks:
            inbox.deposit(params, "")
        store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
        drain = Drain(store, bounds_of(settings), Lines(output), scribe=scribe)
        gc.collect()
        began = _clocks(redis)
        for shard in range(settings.shards):
            while drain.drain(shard, {"task_id": "benchmark", "worker": "w:1"}).handed_on:
                pass
        ended = _clocks(redis)
    took = [after - before for before, after in zip(began, ended, strict=True)]
    return Cost(*(one / len(callbacks) * _MICROSECONDS for one in took))


def _clocks(redis: Redis) -> tuple[float, float]:
    """Read how long the processor has worked for this process, and for Redis, in seconds."""
    used: Any = redis.info("cpu")
    served = used["used_cpu_user"] + used["used_cpu_sys"]
    return time.process_time(), served


def measured(callbacks: list[Params], rounds: int) -> tuple[dict[str, list[Cost]], str]:
    """Measure in turn; gives what each kind cost in each round, and what machine it was on."""
    costs: dict[str, list[Cost]] = {_OFF: [], _ON: [], _HASHED: []}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        server = EmbeddedRedis(Path(folder))
        server.start()
        settings = Settings(redis_url=server.url, celery_broker_url=server.url)
        bounds = bounds_of(settings)
        scribes: dict[str, Callable[[], Scribe]] = {
            _OFF: lambda: Scribe(bounds),
            _ON: lambda: Scribe(bounds),
            _HASHED: lambda: Scribe(bounds, pseudonyms=Pseudonyms("k" * 64)),
        }
        try:
            with Redis.from_url(server.url) as redis:
                machine = described(redis)
            for _ in range(rounds):
                for kind, make in scribes.items():
                    os.ftruncate(file.fileno(), 0)
                    if kind == _OFF:
                        with no_audit():
                            cost = drained(settings, callbacks, make(), file.fileno())
                    else:
                        cost = drained(settings, callbacks, make(), file.fileno())
                    costs[kind].append(cost)
        finally:
            server.stop()
    return costs, machine


def told(costs: dict[str, list[Cost]], callbacks: int, machine: str) -> str:
    """Write the report."""
    rounds = len(costs[_OFF])
    how = f"{callbacks:,} callbacks, medians of {rounds} interleaved rounds"
    lines = [
        f"`python -m benchmarks.audit`: {how}; {machine}.",
        "",
        "| audit | worker, µs a callback | Redis, µs | both | callbacks/s | throughput lost |",
        "|---|---|---|---|---|---|",
    ]
    without = median(one.both for one in costs[_OFF])
    lost = {kind: 1 - without / median(one.both for one in of) for kind, of in costs.items()}
    for kind, of in costs.items():
        worker, redis, both = (
            median(getattr(one, name) for one in of) for name in ("worker", "redis", "both")
        )
        share = "-" if kind == _OFF else f"{lost[kind]:.1%}"
        rate = _MICROSECONDS / both
        lines.append(
            f"| {kind} | {worker:.1f} | {redis:.1f} | {both:.1f} | {rate:,.0f} | {share} |"
        )
    verdict = "met" if lost[_ON] <= _GOAL else "missed"
    return "\n".join([*lines, "", f"Goal: at most {_GOAL:.0%} lost with the audit on: {verdict}."])


def main() -> None:
    """Measure, print the report, and put it into a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callbacks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="a document to put the report into")
    asked = parser.parse_args()
    callbacks = [*islice(traffic(1), asked.callbacks)]
    costs, machine = measured(callbacks, asked.rounds)
    report = told(costs, len(callbacks), machine)
    print(report)
    if asked.write:
        write_into(asked.write, report, *_MARKS)


if __name__ == "__main__":
    main()
