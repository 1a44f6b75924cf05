"""The Celery app of the workers: the composition root. Everything is made here and handed down.

The tasks are wake-ups and carry a shard's number at most; what they do is in `serving` and `sweep`.
"""

from __future__ import annotations

import os
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import (
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from redis import Redis, RedisError

from schemas.audit import STARTED
from schemas.connection import keyspace_of
from schemas.logs import Lines
from schemas.settings import Settings
from schemas.wakeups import DRAIN, NOTIFY, SWEEP, SWEEP_SECONDS, WakeUps, celery_config
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.leaving import Leaving
from workers.notify.register import register
from workers.scribe import Scribe
from workers.serving import Serving
from workers.store import Store
from workers.sweep import Sweeper, sweep
from workers.terms import scribe_of

log = structlog.get_logger()


def create_app(settings: Settings, redis: Redis, audit: Lines) -> Celery:
    """Make the Celery app with its tasks.

    Args:
        settings: the operator's.
        redis: the data; connections are made when first used, so the app may fork before.
        audit: where the audit records go.
    """
    keyspace = keyspace_of(settings)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    scribe = scribe_of(settings)
    # Its fair share: with every process at work there is somebody at each shard.
    share = -(-settings.shards // drains_of(settings))
    drain = Drain(store, bounds_of(settings), audit, scribe=scribe, at_once=share)
    leaving = Leaving()
    app = Celery("rollcall", set_as_current=False)
    app.conf.update(celery_config(settings))
    app.conf.update(
        beat_scheduler="workers.sweep:SweepingBeat",
        beat_schedule={"sweep": {"task": SWEEP, "schedule": SWEEP_SECONDS}},
    )
    wake_ups = WakeUps(app, settings)

    def wake(shard: int) -> bool:
        return wake_ups.send(DRAIN, shard)

    sweep_targets = register(app, settings, redis, lambda target: wake_ups.send(NOTIFY, target))

    serving = Serving(store, drain, leaving, wake)

    # Shared, a task would be given to every other app of the process as well.
    @app.task(name=DRAIN, bind=True, shared=False)
    def drain_shard(task: Task[Any, Any], shard: int) -> None:
        if 0 <= shard < settings.shards:
            serving.answer(shard, task.request.id, share=share)
        else:
            log.error("wake_up_for_no_shard", shard=shard, shards=settings.shards)

    @app.task(name=SWEEP, shared=False)
    def sweep_shards() -> None:
        try:
            sweep(store, wake)
            sweep_targets()
        except RedisError as error:
            log.warning("sweep_failing", error=type(error).__name__)

    _say_terms(app, scribe)
    _sweep_beside(app, Sweeper(store, wake, serving.drain, sweep_targets), leaving)
    return app


def drains_of(settings: Settings) -> int:
    """How many drains a worker runs at once: as many as there are cores, no more than shards."""
    return min(os.cpu_count() or 1, settings.shards)


def _say_terms(app: Celery, scribe: Scribe) -> None:
    """Have a worker say at its start what it concludes with; beat concludes nothing."""

    @worker_init.connect(weak=False)
    def say(sender: Any, **_: Any) -> None:
        if sender.app is app:
            log.info(STARTED, **scribe.started())


def _sweep_beside(app: Celery, sweeper: Sweeper, leaving: Leaving) -> None:
    """Run the sweeper in the worker's main process, as long as it works."""

    @worker_init.connect(weak=False)
    def begin(sender: Any, **_: Any) -> None:
        if sender.app is app:
            sweeper.begin()

    @worker_ready.connect(weak=False)
    def start(sender: Any, **_: Any) -> None:
        if sender.app is app:
            log.info("worker_ready")
            sweeper.start()

    @worker_shutting_down.connect(weak=False)
    def leave(**_: Any) -> None:
        # From inside a signal handler, so nothing may be waited for here.
        leaving.tell_all()
        sweeper.leave()

    @worker_shutdown.connect(weak=False)
    def end(**_: Any) -> None:
        sweeper.end()
