"""Faults of a Redis that keeps its data: restarted, paused, full, read-only, and its clock set."""

from __future__ import annotations

import os
import signal

from faults import kills
from faults.places import Place
from faults.stage import Stage
from faults.supervisor import stopped
from procfile import metrics

_NO_MASTER = 1
# Callbacks of a second or two.
_LITTLE = 256 * 1024
# What is over at once happens so often before everybody may recover from it.
_IN_A_ROW = 10


def restarted(stage: Stage, place: Place, times: int) -> int:
    """Stop it and start it again, sometimes after a while."""
    for _ in range(times):
        place.breakable.stop()
        stage.play(stage.random.choice((0.0, 0.2, 1.0)))
        place.breakable.start()
        stage.recover()
        stage.play(0.3)
    return times


def killed(stage: Stage, place: Place, times: int) -> int:
    """Kill it; what it has written, the system has."""
    for _ in range(times):
        place.breakable.kill()
        place.breakable.start()
        stage.recover()
        stage.play(0.3)
    return times


def paused(stage: Stage, place: Place, times: int) -> int:
    """Have it answer nobody, with CLIENT PAUSE: first for less than a lease, then for more."""
    for number in range(times):
        seconds = (1.0, 4.0)[number % 2]
        with place.breakable.client() as client:
            client.client_pause(int(seconds * 1000))
        stage.play(seconds)
        stage.recover()
    return times


def clients_killed(stage: Stage, place: Place, times: int) -> int:
    """Cut all connections, with CLIENT KILL TYPE normal."""
    with place.breakable.client() as client:
        for number in range(1, times + 1):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            if number % _IN_A_ROW == 0 or number == times:
                stage.recover()
            stage.play(stage.random.random() / 5)
    return times


def scripts_flushed(stage: Stage, place: Place, times: int) -> int:
    with place.breakable.client() as client:
        for number in range(1, times + 1):
            client.script_flush()
            if number % _IN_A_ROW == 0 or number == times:
                stage.recover()
            stage.play(stage.random.random() / 10)
    return times


def full(stage: Stage, place: Place, times: int) -> int:
    """Let it run out of memory while nobody drains; draining must go on all the same."""
    shards = [stage.keyspace.shard(number).inbox for number in range(stage.settings.shards)]
    for _ in range(times):
        with place.breakable.client() as client:
            with stopped(stage.supervisor.family("worker")):
                client.config_set("maxmemory", client.info("memory")["used_memory"] + _LITTLE)
                stage.wait_until(lambda: _spooled(stage.settings.port) > 0)
            # It is full still, and takes no deposit.
            stage.wait_until(lambda: not any(map(client.xlen, shards)))
            client.config_set("maxmemory", 0)
        stage.recover()
    return times


def _spooled(port: int) -> float:
    for line in metrics(port).splitlines():
        if line.startswith(b"rollcall_spool_callbacks "):
            return float(line.split()[1])
    return 0.0


def read_only(stage: Stage, place: Place, times: int) -> int:
    """Make it the replica of a master that is away: it answers, and takes no write."""
    for _ in range(times):
        with place.breakable.client() as client:
            client.replicaof("127.0.0.1", _NO_MASTER)
            stage.play(2.0)
            client.replicaof("NO", "ONE")
        stage.recover()
    return times


def clock_set_back(stage: Stage, place: Place, times: int) -> int:
    """Set its clock back by an hour, every other time while a worker is to die with a lease."""
    for number in range(times):
        with_a_lease = kills.stopped_at_a_commit(stage) if number % 2 else None
        place.breakable.jump(f"-{number + 1}h")
        if with_a_lease:
            os.kill(with_a_lease, signal.SIGKILL)
        stage.recover()
        stage.play(1.0)
    return times
