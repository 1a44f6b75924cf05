"""The capacity plan: how much carries how many callbacks a second, from what one costs.

Knows nothing but the costs: how they were measured is for others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# A core that is planned to be busier than this has nothing left for a burst.
_BUSY = 0.6
# One worker process is at one shard at a time. More shards than processes, so that none is idle
# where rooms fall unevenly.
_SHARDS_A_PROCESS = 2
_LEAST_SHARDS = 8
# As many entries as the stream of events keeps, as shipped.
_EVENTS = 1_000_000
# How long the workers may be away: the inboxes hold what comes meanwhile.
_AWAY_SECONDS = 60
_GIB = 1 << 30


class Costs(NamedTuple):
    """What one callback costs: seconds of a core, and bytes."""

    web: float
    worker: float
    redis: float
    waiting: float
    event: float
    # None where Redis wrote its file anew while it was measured.
    appended: float | None


class Needs(NamedTuple):
    """What carries a rate."""

    rate: int
    web: int
    workers: int
    shards: int
    redis: int
    memory_gib: float
    appended_mb: float | None


def needs(rate: int, costs: Costs) -> Needs:
    """Work out what so many callbacks a second need."""
    web, workers, redis = (
        max(1, math.ceil(rate * cost / _BUSY)) for cost in (costs.web, costs.worker, costs.redis)
    )
    shards = max(_LEAST_SHARDS, 1 << math.ceil(math.log2(workers * _SHARDS_A_PROCESS)))
    memory = redis * _EVENTS * costs.event + rate * _AWAY_SECONDS * costs.waiting
    appended = None if costs.appended is None else rate * costs.appended / 1_000_000
    return Needs(rate, web, workers, shards, redis, memory / _GIB, appended)


def limits(costs: Costs) -> dict[str, float]:
    """At how many callbacks a second one of each has no time left, the first to give first."""
    full = {
        "one worker process": 1 / costs.worker,
        "one web process": 1 / costs.web,
        "one Redis": 1 / costs.redis,
    }
    return dict(sorted(full.items(), key=lambda one: one[1]))


def plan(costs: Costs, rates: tuple[int, ...] = (1_000, 10_000, 100_000)) -> str:
    """Write the plan down, as Markdown."""
    names = ("callbacks a second", "web processes", "worker processes", "shards", "Redis nodes")
    lines = [_row(*names, "their memory, GiB", "to disk, MB/s"), "|" + "---|" * len(Needs._fields)]
    for need in (needs(rate, costs) for rate in rates):
        *counts, memory, appended = need
        to_disk = "-" if appended is None else f"{appended:,.1f}"
        lines.append(_row(*(f"{one:,}" for one in counts), f"{memory:.1f}", to_disk))
    first, *then = (f"{name} at {rate:,.0f}" for name, rate in limits(costs).items())
    lines += ["", f"What gives first, in callbacks a second: {first}, then {', then '.join(then)}."]
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
