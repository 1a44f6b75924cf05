"""Faults of wake-ups: lost, doubled, late, never asked for; and of beat, which sends for more."""

from __future__ import annotations

import time

from celery import Celery
from faults.places import Place
from faults.stage import Stage
from faults.supervisor import stopped

from schemas.wakeups import DRAIN, EXPIRES_SECONDS, SWEEP, celery_config


def dropped(stage: Stage, _: Place, seconds: int) -> int:
    """Lose all wake-ups of door and workers; what is left are the sweeps."""
    return _changed(stage, "wake-up.drop", seconds)


def doubled(stage: Stage, _: Place, seconds: int) -> int:
    return _changed(stage, "wake-up.double", seconds)


def delayed(stage: Stage, _: Place, seconds: int) -> int:
    return _changed(stage, "wake-up.delay", seconds)


def _changed(stage: Stage, how: str, seconds: int) -> int:
    """Have something happen to all wake-ups; what it happened to, adds a letter to the file."""
    changed = stage.crash_points / how
    changed.touch()
    for _ in range(seconds):
        stage.play(1.0)
        stage.recover()
    times = changed.stat().st_size
    changed.unlink()
    return times


def queue_emptied(stage: Stage, _: Place, times: int) -> int:
    """Empty the queue by hand, with wake-ups in it that nobody could take."""
    queue = f"{stage.settings.prefix}:wakeups"
    for _time in range(times):
        with stopped(stage.supervisor.family("worker")), stage.client() as client:
            stage.wait_until(lambda: client.llen(queue))
            client.delete(queue)
        stage.recover()
    return times


def unasked(stage: Stage, _: Place, times: int) -> int:
    """Sweep, and wake every shard, though nobody asked for it."""
    app = Celery("unasked", set_as_current=False)
    app.conf.update(celery_config(stage.settings))
    for _time in range(times):
        app.send_task(SWEEP, expires=EXPIRES_SECONDS)
        for shard in range(stage.settings.shards):
            app.send_task(DRAIN, args=[shard], expires=EXPIRES_SECONDS)
        time.sleep(0.05)
    app.close()
    stage.recover()
    return times * (stage.settings.shards + 1)


def without_beat(stage: Stage, _: Place, seconds: int) -> int:
    """Have no beat for a while."""
    stage.supervisor.end("beat")
    stage.play(seconds)
    stage.recover()
    stage.supervisor.start("beat")
    return 1


def with_two_beats(stage: Stage, _: Place, seconds: int) -> int:
    stage.supervisor.start("beat-2")
    stage.play(seconds)
    stage.recover()
    return 1
