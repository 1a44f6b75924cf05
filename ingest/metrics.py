"""`/metrics`: what the door counts, for Prometheus. Every process counts for itself.

Each application has a registry of its own, so two in one process do not mix. No label is ever
taken from a request: the words are those of the error tree and those below, and each is there from
the start, so that what never happened reads 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.deposits import Deposits, State
from ingest.doorbell import Bell
from ingest.inbox import Inbox, Receipt
from ingest.spool import Spool
from schemas.errors import RefusedError, RollcallError

Where = Literal["inbox", "spool"]

# A deposit takes 0.1 ms of Redis and the way there, an fsync some milliseconds; after 0.5 s Redis
# is given up, and by 1 s every request must have been answered.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
_PROBLEM = "application/problem+json"
# All that a problem can have as its reason.
_REASONS = {RollcallError.reason, *(kind.reason for kind in RefusedError.__subclasses__())}


class Metrics:
    """The counters of one application, and its gauges once it has been given what to read."""

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

    def accepted(self, where: Where) -> None:
        """Count a callback that is durable."""
        self._accepted[where].inc()

    def refused(self, reason: str) -> None:
        """Count a request that was answered with a problem."""
        self._refused.get(reason, self._refused[RollcallError.reason]).inc()

    def deposit_took(self, seconds: float) -> None:
        """Note how long a deposit took, whether it succeeded or not."""
        self._deposit_seconds.observe(seconds)

    def watch(self, spool: Spool, state: Callable[[], State]) -> None:
        """Have the spool and the state read whenever somebody asks for the metrics."""
        callbacks = Gauge(
            "rollcall_spool_callbacks",
            "Callbacks on this machine's disk that Redis does not have yet.",
            registry=self._registry,
        )
        callbacks.set_function(lambda: spool.callbacks)
        size = Gauge(
            "rollcall_spool_bytes",
            "What they take of ROLLCALL_SPOOL_MAX_BYTES.",
            registry=self._registry,
        )
        size.set_function(lambda: spool.size)
        self._registry.register(_StateCollector(state))

    def exposition(self) -> bytes:
        """Write everything down in Prometheus' text format."""
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """The state, asked once a scrape: it costs a round trip to Redis."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "rollcall_door_state",
            "1 for what /readyz tells, 0 for the other states.",
            labels=["state"],
        )
        now = self._state()
        for state in get_args(State):
            family.add_metric([state], float(state == now))
        yield family


class MeasuredDeposits(Deposits):
    """Deposits that are timed and counted."""

    def __init__(self, inbox: Inbox, spool: Spool, doorbell: Bell, metrics: Metrics) -> None:
        super().__init__(inbox, spool, doorbell)
        self._metrics = metrics

    def deposit(self, params: Mapping[str, str], token: str) -> Receipt:
        began = time.perf_counter()
        try:
            receipt = super().deposit(params, token)
        finally:
            self._metrics.deposit_took(time.perf_counter() - began)
        self._metrics.accepted("spool" if receipt.spooled else "inbox")
        return receipt


def metrics_views(metrics: Metrics) -> Blueprint:
    """Make the view, and have every problem that the application answers counted."""
    views = Blueprint("metrics", __name__)

    @views.get("/metrics")
    def read_metrics() -> Response:
        # In the format that every Prometheus reads. The newer ones are chosen by what the request
        # says, which the library copies into the answer's header.
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    @views.after_app_request
    def count_problem(answer: Response) -> Response:
        # The answer itself tells: so what is counted is what the sender was told.
        if answer.mimetype == _PROBLEM:
            metrics.refused(answer.get_json()["reason"])
        return answer

    return views
