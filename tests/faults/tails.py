"""Faults in which Redis forgets what it has answered for: its file cut off, a replica behind."""

from __future__ import annotations

from pathlib import Path

from faults.places import Place
from faults.stage import Stage
from servers import RedisServer, Replicated

_FORGOTTEN_SECONDS = 1.0


def cut_off(stage: Stage, place: Place, times: int) -> int:
    """Kill Redis and cut the last second off its file, as a power cut may."""
    for _ in range(times):
        _forget(stage, place.breakable)
        place.breakable.start()
        stage.recover()
    return times


def cut_off_with_the_door(stage: Stage, place: Place, times: int) -> int:
    """The same, and the door dies with it, so that nobody knows what was said last."""
    for _ in range(times):
        _forget(stage, place.breakable)
        stage.supervisor.end("web")
        place.breakable.start()
        stage.supervisor.start("web")
        stage.come_back()
    return times


def _forget(stage: Stage, redis: RedisServer) -> None:
    file, kept = _append_only(redis), _written(redis)
    stage.play(_FORGOTTEN_SECONDS)
    redis.kill()
    stage.forgotten.note(file.read_bytes()[kept:])
    with file.open("r+b") as written:
        written.truncate(kept)


def _written(redis: RedisServer) -> int:
    """Return how long its file is; from here on, all that it answers for stands there first.

    Under `everysec` it may put off writing while the disk is busy, and nobody could count that.
    """
    with redis.client() as client:
        client.config_set("appendfsync", "always")
    return _append_only(redis).stat().st_size


def _append_only(redis: RedisServer) -> Path:
    """Where it appends to: since Redis 7 a file in a folder."""
    return next(redis.folder.rglob("*.incr.aof"), redis.folder / "appendonly.aof")


def failed_over(stage: Stage, place: Place, times: int) -> int:
    """Kill the master; its replica takes over, and it comes back as a replica."""
    for _ in range(times):
        place.breakable.fail_over()
        stage.recover()
        _complete(stage, place.breakable)
    return times


def failed_over_behind(stage: Stage, place: Place, times: int) -> int:
    """Have the replica miss the last second before it takes over."""
    for _ in range(times):
        _fail_over_behind(stage, place.breakable)
        stage.recover()
        _complete(stage, place.breakable)
    return times


def failed_over_behind_with_the_door(stage: Stage, place: Place, times: int) -> int:
    """The same, and the door dies with the master: nobody can say again what was said last."""
    for _ in range(times):
        _fail_over_behind(stage, place.breakable, door_dies=True)
        # Deposits wait for a replica, so what they need is back when there is one.
        _complete(stage, place.breakable)
        stage.recover()
    return times


def _fail_over_behind(stage: Stage, servers: Replicated, *, door_dies: bool = False) -> None:
    master, replica = servers.master(), servers.replica()
    file, had = _append_only(master), _written(master)
    replica.pause()
    with master.client() as client:
        # What is under way to it would reach it all the same.
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    stage.play(_FORGOTTEN_SECONDS)
    if door_dies:
        stage.supervisor.end("web")
    master.kill()
    stage.forgotten.note(file.read_bytes()[had:])
    replica.resume()
    servers.wait_for_failover(master)
    if door_dies:
        stage.supervisor.start("web")


def _complete(stage: Stage, servers: Replicated) -> None:
    """Start the node that died; the sentinels make a replica of it."""
    master = servers.master()
    next(node for node in servers.nodes if node is not master).start()
    stage.wait_until(lambda: servers.in_sync(master))


def slots_moved(stage: Stage, place: Place, times: int) -> int:
    """Move the slots of shards to another node of the cluster, while they are in use."""
    for number in range(times):
        key = stage.keyspace.shard(number % stage.settings.shards).inbox
        owner = place.breakable.owner(key)
        others = [node for node in place.breakable.nodes if node is not owner]
        place.breakable.move_slot(key, stage.random.choice(others), pause=0.01)
        stage.recover()
    return times
