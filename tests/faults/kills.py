"""Faults of processes: killed at a named step, killed at random, stopped past the lease."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from faults.places import Place
from faults.said import lines_of
from faults.stage import Stage
from streams import published

from schemas.errors import LeaseLostError
from workers.store import LEASE_MS

_ALERTS_SECONDS = 180.0

Inject = Callable[[Stage, Place, int], int]


def at(*points: str) -> Inject:
    """Kill whoever passes a point, at each of them in turn."""

    def inject(stage: Stage, _: Place, times: int) -> int:
        for number in range(times):
            armed = stage.crash_points / points[number % len(points)]
            armed.touch()
            _wait_until_passed(stage, armed)
            stage.recover()
            stage.play(stage.random.random() / 2)
        return times

    return inject


def _wait_until_passed(stage: Stage, armed: Path) -> None:
    stage.wait_until(lambda: not armed.exists(), what=f"somebody passes {armed.name}")


def at_the_spool(*points: str) -> Inject:
    """The same in the spool, which needs Redis to be away for a moment each time."""

    def inject(stage: Stage, place: Place, times: int) -> int:
        for number in range(times):
            armed = stage.crash_points / points[number % len(points)]
            armed.touch()
            place.breakable.stop()
            stage.play(1.0)
            place.breakable.start()
            _wait_until_passed(stage, armed)
            stage.recover()
        return times

    return inject


def at_alerts(*points: str) -> Inject:
    """The same in the delivery of alerts: each comes to its receiver, once at least."""
    kill = at(*points)

    def inject(stage: Stage, place: Place, times: int) -> int:
        killed = kill(stage, place, times)
        stage.sender.pause()
        stage.recover()
        with stage.client() as client:
            told = {alert.attributes["id"] for alert in published(client, "rollcall:alerts")}
        posted = place.breakable.posted
        # A target waits until the lease of its dead worker is over, and is told one by one.
        stage.wait_until(lambda: told <= {one.json["id"] for one in posted}, _ALERTS_SECONDS)
        stage.sender.go_on()
        return killed

    return inject


def at_random(stage: Stage, _: Place, times: int) -> int:
    """Kill main processes and children of web, worker and beat, whatever they do just then."""
    for number in range(1, times + 1):
        stage.supervisor.kill_one(stage.random)
        stage.play(stage.random.uniform(0.1, 0.9))
        if number % 20 == 0 or number == times:
            stage.recover()
    return times


def stopped_past_the_lease(stage: Stage, _: Place, times: int) -> int:
    """Stop a worker in front of a commit until its lease is long over, and let it go on."""
    for number in range(times):
        stopped = stopped_at_a_commit(stage)
        stage.play(LEASE_MS / 1000 + 1)
        # Others have long taken its shard over.
        stage.recover()
        os.kill(stopped, signal.SIGCONT)
        stage.wait_until(lambda: _leases_lost(stage) > number)  # noqa: B023  # called at once
    stage.recover()
    return times


def stopped_at_a_commit(stage: Stage) -> int:
    """Stop a child of a worker in front of a commit; return its id.

    Its main process drains too, where wake-ups are not answered in time. Stopped, nobody would be
    left whom wake-ups reach, so that one is let go on.
    """
    stopped = stage.crash_points / "commit.stopped"
    while True:
        (stage.crash_points / "commit.stop").touch()
        stage.wait_until(stopped.exists)
        pid = int(stopped.read_text())
        stopped.unlink()
        if pid != stage.supervisor.pid("worker"):
            return pid
        os.kill(pid, signal.SIGCONT)


def _leases_lost(stage: Stage) -> int:
    """How often a worker found that its lease was another's, and committed nothing."""
    said = lines_of(stage.supervisor.log("worker"))
    return sum(line.get("reason") == LeaseLostError.reason for line in said)
