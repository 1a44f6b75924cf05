"""One round of one receiver: its door, its drain, all of it together, and how fast it tells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.backlog import INBOXES
from benchmarks.figures import Figures, percentile
from benchmarks.latency import latencies, reading
from benchmarks.meetings import traffic
from benchmarks.orders import CONNECTIONS, Order
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkError, Process, cpu_seconds_of, wait_until
from benchmarks.sending import send
from benchmarks.systems import Site, Starting, System, waiting

# The whole machine: as many web processes as this, and so many requests under way for each.
_CORES = os.cpu_count() or 1
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# Another seed than that of the shots: rooms of its own.
_BACKLOG_SEED = 2
# Looking costs Redis something as well.
_LOOK_SECONDS = 0.02
# Of callbacks; the others change nothing, or were overtaken by what told the same.
_LEAST_TOLD = 0.8


@dataclass(frozen=True, slots=True)
class Side:
    """A receiver on its site, and how it is to be measured."""

    system: System
    site: Site
    plan: Plan
    shots: Path
    figures: Figures

    def measure(self) -> None:
        """Measure one round. Redis is empty at the beginning of each part."""
        self.site.redis.flushall()
        with ExitStack() as stack:
            web = self._start(stack, self.system.web(self.site, 1))
            self._accept(web)
        self._drain(1)
        for processes in self.plan.worker_processes:
            self._drain(processes)
        self._deposit(1)
        with ExitStack() as stack:
            beside = [self._start(stack, one) for one in self.system.beside(self.site)]
            web, is_ready = self.system.web(self.site, _CORES)
            stack.callback(web.end)
            web.wait_ready(is_ready)
            worker = self.system.worker(self.site)
            stack.callback(worker.end)
            worker.wait_ready(lambda: not self._waiting())
            self._together(web, worker, beside)

    def _start(self, stack: ExitStack, starting: Starting) -> Process:
        process, is_ready = starting
        stack.callback(process.end)
        self._note(f"start {process.name}", process.wait_ready(is_ready))
        return process

    def _note(self, figure: str, value: float) -> None:
        self.figures.note(figure, self.system.name, value)

    def _waiting(self) -> int:
        return waiting(self.system, self.site)

    def _order(self, **more: Any) -> Order:
        return Order(
            shots=str(self.shots),
            port=self.site.port,
            system=self.system.name,
            redis_url=self.site.server.url,
            **more,
        )

    def _accept(self, web: Process) -> None:
        """Send as fast as the door answers, while no worker is there."""
        before = web.cpu_seconds()
        report = send(self._order(seconds=self.plan.accept, warm_seconds=self.plan.warm))
        if self._waiting() != report.sent:
            raise BenchmarkError(f"{report.sent} were accepted, and {self._waiting()} wait.")
        self._note("accepted", report.accepted_per_second)
        self._note("cpu of accepting", (web.cpu_seconds() - before) / report.sent)
        self._note("resident web", web.resident_bytes())
        if self.system.name == "rollcall":
            inboxes = [self.site.redis.memory_usage(one, samples=0) or 0 for one in INBOXES]
            self._note("bytes waiting", sum(inboxes) / report.sent)

    def _drain(self, processes: int) -> None:
        """Let so many worker processes at a backlog, for a while or until nothing is left."""
        rollcall = self.system.name == "rollcall"
        wanted = self.plan.backlog_rollcall if rollcall else self.plan.backlog_plain
        self._deposit(wanted)
        worker = self.system.worker(self.site, processes)
        try:
            started = worker.wait_ready(lambda: self._waiting() < wanted)
            if processes == 1:
                self._note("start worker", started)
            before = self._waiting()
            if not before:
                raise BenchmarkError("The backlog was gone before anybody saw it shrink.")
            seconds = _until(lambda: not self._waiting(), self.plan.drain)
            self._note(f"drained by {processes}", (before - self._waiting()) / seconds)
        finally:
            worker.end()

    def _deposit(self, callbacks: int) -> None:
        """Have nothing but so many callbacks wait for the workers."""
        self.site.redis.flushall()
        self.system.deposit(self.site, islice(traffic(_BACKLOG_SEED), callbacks))
        if self._waiting() != callbacks:
            raise BenchmarkError(f"{callbacks} were deposited, and {self._waiting()} wait.")

    def _together(self, web: Process, worker: Process, beside: list[Process]) -> None:
        """Measure the whole of it: how much it can take, at what cost, and how fast it tells."""
        used = _Used(self.site, {"web": web, "worker": worker, **{one.name: one for one in beside}})
        order = self._order(
            seconds=self.plan.sustain,
            warm_seconds=self.plan.warm,
            connections=CONNECTIONS * _CORES,
            most_waiting=self.plan.most_waiting,
        )
        report = send(order)
        self._all_applied()
        used.note(self._note, report.sent, report.looks)
        self._note("cpu of sender", report.cpu_seconds / report.sent * 100_000)
        self._note("sustained", report.applied_per_second)
        sent = report.sent
        sent += self._latency("idle", sent, self.plan.idle_rate, self.plan.idle)
        self._latency("half", sent, report.applied_per_second / 2, self.plan.half)
        for process in (worker, *beside):
            self._note(f"resident {process.name}", process.resident_bytes())
        stream, redis = self.system.events, self.site.redis
        bytes_of_all = redis.memory_usage(stream, samples=0) or 0
        self._note("bytes an event", bytes_of_all / redis.xlen(stream))

    def _all_applied(self) -> None:
        wait_until(lambda: not self._waiting(), "all is applied", look=_LOOK_SECONDS)

    def _latency(self, when: str, first: int, rate: float, seconds: float) -> int:
        """Measure the way of each callback at a steady rate; return how many were sent."""
        sent, read = self.site.folder / "sent", self.site.folder / "read"
        with reading(self.system.events, self.site.server.url, read):
            order = self._order(first=first, seconds=seconds, rate=rate, stamps=str(sent))
            report = send(order)
            self._all_applied()
        took = latencies(sent, read)
        if len(took) < _LEAST_TOLD * report.sent:
            raise BenchmarkError(f"Of {report.sent} callbacks, {len(took)} led to an event.")
        for name, share in PERCENTILES.items():
            self._note(f"{when} {name}", percentile(took, share))
        return report.sent


class _Used:
    """What is used meanwhile: processor time, and round trips to Redis."""

    def __init__(self, site: Site, processes: dict[str, Process]) -> None:
        self._site = site
        self._processes = processes
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        cpu = {f"cpu of {name}": one.cpu_seconds() for name, one in self._processes.items()}
        stats, files = self._site.redis.info("stats"), self._site.redis.info("persistence")
        return {
            **cpu,
            "cpu of redis": cpu_seconds_of(self._site.server.pid),
            # What was read at once is one round trip, though it be a pipeline of commands.
            "round trips": stats["total_reads_processed"],
            "bytes to redis": stats["total_net_input_bytes"],
            "bytes from redis": stats["total_net_output_bytes"],
            "bytes appended": files["aof_current_size"],
            "bytes at last rewrite": files["aof_base_size"],
        }

    def note(self, note: Callable[[str, float], None], callbacks: int, looks: int) -> None:
        used = {name: now - self._before[name] for name, now in self._now().items()}
        used["round trips"] -= looks
        if used.pop("bytes at last rewrite"):
            # Redis has written its file anew meanwhile, and shorter.
            del used["bytes appended"]
        for name, much in used.items():
            # Processor time in seconds per 100,000, all else each.
            note(name, much / callbacks * (100_000 if name.startswith("cpu of") else 1))


def _until(is_over: Callable[[], bool], most: float) -> float:
    """Wait until something is over, or for so long; return how long that was."""
    began = time.monotonic()
    while not is_over() and time.monotonic() - began < most:
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - began
