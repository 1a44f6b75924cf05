"""The Celery app of the workers: the composition root. Everything is made here and handed down.

The tasks are wake-ups and carry a shard's number at most; what they do is in `drain` and `sweep`.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import worker_init, worker_ready, worker_shutting_down
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from schemas.errors import RollcallError
from schemas.keys import Keyspace
from schemas.logs import Lines
from schemas.settings import Settings
from schemas.wakeups import DRAIN, EXPIRES_SECONDS, SWEEP, SWEEP_SECONDS, celery_config
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.notify.register import register
from workers.store import Store
from workers.sweep import Sweeper, sweep

log = structlog.get_logger()


def create_app(settings: Settings, redis: Redis, audit: Lines) -> Celery:
    """Make the Celery app with its tasks.

    Args:
        settings: the operator's.
        redis: the data; connections are made when first used, so the app may fork before.
        audit: where the audit records go.
    """
    keyspace = Keyspace(settings.prefix)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    drain = Drain(store, bounds_of(settings), audit)
    app = Celery("rollcall", set_as_current=False)
    app.conf.update(celery_config(settings))
    app.conf.update(
        # Beat keeps nothing between runs, so it needs no file to keep it in.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": SWEEP_SECONDS,
                "options": {"expires": EXPIRES_SECONDS},
            }
        },
    )

    sweep_targets = register(app, settings, redis)

    def wake(shard: int) -> None:
        try:
            app.send_task(DRAIN, args=[shard], expires=EXPIRES_SECONDS, retry=False)
        except OperationalError as error:
            # Dropped: the next sweep finds the shard again. The text may quote the broker's URL.
            log.warning("wake_up_failed", shard=shard, reason=type(error.__cause__).__name__)

    def drain_here(shard: int, task_id: str | None = None) -> None:
        context = {"task_id": task_id, "worker": f"{socket.gethostname()}:{os.getpid()}"}
        if not 0 <= shard < settings.shards:
            log.error("wake_up_for_no_shard", shard=shard, shards=settings.shards)
            return
        try:
            drained = drain.drain(shard, context)
        except (RedisError, RollcallError) as error:
            # Nothing is lost and nothing half done: the inbox keeps what was not committed, and
            # the sweep wakes the shard again.
            reason = getattr(error, "reason", "redis")
            log.warning("drain_interrupted", shard=shard, reason=reason, error=str(error))
            return
        if drained.handed_on:
            wake(shard)

    # Shared, a task would be given to every other app of the process as well.
    @app.task(name=DRAIN, bind=True, shared=False)
    def drain_shard(task: Task[Any, Any], shard: int) -> None:
        drain_here(shard, task.request.id)

    @app.task(name=SWEEP, shared=False)
    def sweep_shards() -> None:
        try:
            sweep(store, wake)
            sweep_targets()
        except RedisError as error:
            log.warning("sweep_failing", error=type(error).__name__)

    _sweep_beside(app, Sweeper(store, wake, drain_here, sweep_targets))
    return app


def _sweep_beside(app: Celery, sweeper: Sweeper) -> None:
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
    def stop(**_: Any) -> None:
        sweeper.stop()
