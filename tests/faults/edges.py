"""Faults at the edges: the spool's disk is full, nobody reads the audit, the broker is away."""

from __future__ import annotations

from resource import RLIM_INFINITY

import psutil  # type: ignore[import-untyped]  # it carries no types
from faults.places import Place
from faults.stage import Stage

# Beyond what stands in the log, which is of the same process.
_DISK = 128 * 1024


def disk_full(stage: Stage, place: Place, times: int) -> int:
    """Give the door no disk while Redis is away: it answers 503, and comes back."""
    for _ in range(times):
        refused = stage.sender.answers[503]
        place.breakable.stop()
        stage.play(0.5)
        room = stage.supervisor.log("web").stat().st_size + _DISK
        _limit(stage, room)
        stage.wait_until(lambda: stage.sender.answers[503] > refused)  # noqa: B023
        stage.play(1.0)
        _limit(stage, RLIM_INFINITY)
        place.breakable.start()
        stage.recover()
    return times


def _limit(stage: Stage, size: int) -> None:
    for pid in stage.supervisor.family("web"):
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (size, RLIM_INFINITY))


def audit_closed(stage: Stage, _: Place, times: int) -> int:
    """Close the pipe that the audit goes through, and start the worker anew after a while."""
    for _time in range(times):
        stage.supervisor.close_output("worker")
        stage.play(2.0)
        stage.supervisor.kill("worker")
        stage.recover()
    return times


def broker_restarted(stage: Stage, place: Place, times: int) -> int:
    for number in range(times):
        if number % 2:
            place.breakable.kill()
        else:
            place.breakable.stop()
        stage.recover()
        place.breakable.start()
        stage.play(2.0)
        stage.recover()
    return times
