"""The Celery app of the workers: the composition root. Everything is made here and handed down.

The tasks are wake-ups and carry a shard's number at most; what they do is in `drain` and `sweep`.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
from schemas.errors import RollcallError
from schemas.logs import Lines
from schemas.settings import Settings
from schemas.wakeups import DRAIN, NOTIFY, SWEEP, SWEEP_SECONDS, WakeUps, celery_config
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.notify.register import register
from workers.scribe import Scribe
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
    drain = Drain(store, bounds_of(settings), audit, scribe=scribe)
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
            log.warning("drain_interrupted", shard=shard, reason=reason, error=error)
            store.reconnect()
            return
        if drained.handed_on:
            wake(shard)

    # Shared, a task would be given to every other app of the process as well.
    @app.task(name=DRAIN, bind=True, shared=False)
    def drain_shard(task: Task[Any, Any], shard: int) -> None:
        with _undisturbed():
            drain_here(shard, task.request.id)

    @app.task(name=SWEEP, shared=False)
    def sweep_shards() -> None:
        try:
            sweep(store, wake)
            sweep_targets()
        except RedisError as error:
            log.warning("sweep_failing", error=type(error).__name__)

    _say_terms(app, scribe)
    _sweep_beside(app, Sweeper(store, wake, drain_here, sweep_targets))
    return app


def _say_terms(app: Celery, scribe: Scribe) -> None:
    """Have a worker say at its start what it concludes with; beat concludes nothing."""

    @worker_init.connect(weak=False)
    def say(sender: Any, **_: Any) -> None:
        if sender.app is app:
            log.info(STARTED, **scribe.started())


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
    def leave(**_: Any) -> None:
        # From inside a signal handler, so nothing may be waited for here.
        sweeper.leave()

    @worker_shutdown.connect(weak=False)
    def end(**_: Any) -> None:
        sweeper.end()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put a SIGTERM off until the block is done.

    Heroku and foreman send it to the children as well as to the main process
    (https://devcenter.heroku.com/articles/dynos#shutdown), and Celery's end on the spot. One that
    holds a shard would leave it to nobody until the lease has run out.
    """
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if asked.is_set():
            signal.raise_signal(signal.SIGTERM)
