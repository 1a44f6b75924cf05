"""`/metrics`: what the door counts, for Prometheus, and what waits behind it.

Where there are several web processes, whichever answers tells the sums over all of them, from a
folder that they share; alone, each application has a registry of its own, so two in one process do
not mix. What the workers do is counted in Redis, with each
commit, and read there, so that it can be told when no worker lives. No label is ever
taken from a request: the words are those of the error tree and those below, and each is there from
the start, so that what never happened reads 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Literal, get_args

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ingest.deposits import Deposits, State
from ingest.doorbell import Bell
from ingest.inbox import Inbox
from ingest.receipts import Receipt
from ingest.sharing import SHARED_FOLDER
from ingest.spool import Spool
from schemas.errors import RefusedError, RollcallError, UnavailableError

Where = Literal["inbox", "spool"]

# A deposit takes 0.1 ms of Redis and the way there, an fsync some milliseconds; after 0.5 s Redis
# is given up, and by 1 s every request must have been answered.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
_PROBLEM = "application/problem+json"
# All that a problem can have as its reason.
_REASONS = {RollcallError.reason, *(kind.reason for kind in RefusedError.__subclasses__())}


class Metrics:
    """What one application counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        accepted = Counter(
            "rollcall_callbacks_accepted",
            "Callbacks made durable, in the inbox or on this machine's disk.",
            ["where"],
            registry=self._registry,
        )
        refused = Counter(
            "rollcall_callbacks_refused",
            "Requests answered with a problem, whatever their path, by its reason.",
            ["reason"],
            registry=self._registry,
        )
        self._accepted = {where: accepted.labels(where) for where in get_args(Where)}
        self._refused = {reason: refused.labels(reason) for reason in sorted(_REASONS)}
        self._deposit_seconds = Histogram(
            "rollcall_deposit_seconds",
            "How long it took to make a callback durable, or to find that it cannot be.",
            buckets=_BUCKETS,
            registry=self._registry,
        )

        self._lost = Counter(
            "rollcall_callbacks_lost_by_redis",
            "Callbacks that Redis had taken and then lost with its tail; deposited again.",
            registry=self._registry,
        )
        self._spool_callbacks = Gauge(
            "rollcall_spool_callbacks",
            "Callbacks on this machine's disk that Redis does not have yet.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._spool_bytes = Gauge(
            "rollcall_spool_bytes",
            "What they take; each process may take ROLLCALL_SPOOL_MAX_BYTES.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )

    def lost(self, callbacks: int) -> None:
        """Count callbacks that Redis had taken and lost."""
        self._lost.inc(callbacks)

    def accepted(self, where: Where) -> None:
        """Count a callback that is durable."""
        self._accepted[where].inc()

    def refused(self, reason: str) -> None:
        """Count a request that was answered with a problem."""
        self._refused.get(reason, self._refused[RollcallError.reason]).inc()

    def deposit_took(self, seconds: float) -> None:
        """Note how long a deposit took, whether it succeeded or not."""
        self._deposit_seconds.observe(seconds)

    def spooled(self, callbacks: int, size: int) -> None:
        """Note what lies in this process's spool."""
        self._spool_callbacks.set(callbacks)
        self._spool_bytes.set(size)

    def exposition(self, asked: Collector) -> bytes:
        """Write everything down in Prometheus' text format.

        Args:
            asked: what is not counted here but asked for now.
        """
        registry = CollectorRegistry()
        if SHARED_FOLDER in os.environ:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._registry)
        registry.register(asked)
        return generate_latest(registry)


class AskedNow(Collector):
    """What is asked once a scrape: it costs two round trips to Redis."""

    def __init__(self, deposits: Deposits, inbox: Inbox) -> None:
        self._deposits = deposits
        self._inbox = inbox

    def collect(self) -> Iterator[Metric]:
        now = self._deposits.state()
        family = GaugeMetricFamily(
            "rollcall_door_state",
            "1 for what /readyz tells, 0 for the other states.",
            labels=["state"],
        )
        for state in get_args(State):
            family.add_metric([state], float(state == now))
        yield family
        if self._deposits.redis_answers():
            # Asked again of a Redis that is away, each scrape would wait for it once more.
            with suppress(UnavailableError):
                yield from self._behind()

    def _behind(self) -> Iterator[Metric]:
        backlog = self._inbox.backlog()
        verdicts = CounterMetricFamily(
            "rollcall_callbacks_concluded",
            "Callbacks that the workers are done with, by verdict; replayed ones are duplicates.",
            labels=["verdict"],
        )
        for verdict, count in sorted(backlog.verdicts.items()):
            verdicts.add_metric([verdict], count)
        yield verdicts
        yield GaugeMetricFamily(
            "rollcall_inbox_callbacks", "Callbacks that wait for a worker.", backlog.callbacks
        )
        yield GaugeMetricFamily(
            "rollcall_inbox_oldest_seconds",
            "How long the oldest of them has waited, by Redis's clock; 0 where none does.",
            backlog.oldest_seconds,
        )


class MeasuredDeposits(Deposits):
    """Deposits that are timed and counted."""

    def __init__(
        self, inbox: Inbox, spool: Spool, doorbell: Bell, metrics: Metrics, *, seconds: float
    ) -> None:
        super().__init__(inbox, spool, doorbell, seconds=seconds)
        self._metrics = metrics

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        began = time.perf_counter()
        try:
            receipt = super().deposit(params, token)
        finally:
            self._metrics.deposit_took(time.perf_counter() - began)
        self._metrics.accepted("spool" if receipt.spooled else "inbox")
        if receipt.spooled:
            self._note()
        return receipt

    def lost(self, callbacks: int) -> None:
        self._metrics.lost(callbacks)

    def look(self) -> None:
        super().look()
        self._note()

    def _note(self) -> None:
        self._metrics.spooled(self._spool.callbacks, self._spool.size)


def forget_dead_processes() -> None:
    """Have the gauges of processes that are no more left out of the sums; their counts stay."""
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return
    pids = {int(path.stem.rpartition("_")[2]) for path in Path(folder).glob("gauge_live*.db")}
    for pid in pids:
        if not _lives(pid):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        # Signal 0 is sent to nobody: it only asks.
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def metrics_views(metrics: Metrics, asked: Collector) -> Blueprint:
    """Make the view, and have every problem that the application answers counted."""
    views = Blueprint("metrics", __name__)

    @views.get("/metrics")
    def read_metrics() -> Response:
        # In the format that every Prometheus reads. The newer ones are chosen by what the request
        # says, which the library copies into the answer's header.
        return Response(metrics.exposition(asked), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    @views.after_app_request
    def count_problem(answer: Response) -> Response:
        # The answer itself tells: so what is counted is what the sender was told.
        if answer.status_code >= HTTPStatus.BAD_REQUEST and answer.mimetype == _PROBLEM:
            metrics.refused(answer.get_json()["reason"])
        return answer

    return views
