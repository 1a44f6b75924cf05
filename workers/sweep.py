"""The sweep: finds every shard that has work and nobody at it, and wakes it.

Celery may lose a wake-up, and a worker may die with a shard in hand. Neither matters longer than
one sweep: it asks Redis, not the broker, and whatever `wake` says. Beat sweeps every second; a
thread of each worker does the same, so that neither is a single point of failure. Targets of alerts
are swept with the shards.

What is promised of a worker that lives: whatever becomes of the broker, of beat and of the worker's
own children, a shard with nobody at it is drained at the second sweep, that is within some 2 s. A
worker that has gone deaf is slower, then, and never silent; while the broker hangs rather than
being away, each sweep may take a few seconds more.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.beat import Scheduler
from redis import RedisError

from schemas.wakeups import SWEEP_SECONDS
from workers.store import Store

# Of a worker that ends: what it took from the broker and will not begin waits no longer than this.
_LEAVING_SECONDS = 0.1
# A drain that this thread has begun ends after its slice and the commit that is under way; past
# this the worker ends without it, and the shard's lease runs out by itself.
_JOIN_SECONDS = 5.0

log = structlog.get_logger()


def sweep(store: Store, wake: Callable[[int], bool]) -> None:
    """Wake every shard that is waiting, until a wake-up cannot be sent.

    Raises:
        RedisError: the store did not answer.
    """
    _wake(store.waiting(), wake)


def _wake(shards: list[int], wake: Callable[[int], bool]) -> None:
    # Where not all can be woken, it must not always be the same that are left out.
    for shard in random.sample(shards, len(shards)):
        if not wake(shard):
            return


class SweepingBeat(Scheduler):
    """Celery's beat, but what is due runs in beat itself instead of being sent to a worker.

    A task a second that is sent would pile up in the broker while no worker lives, and would need
    the broker for what Redis alone can answer.
    """

    # The connection for sending, which beat would wait for as long as the broker is away.
    producer: Any = None

    def apply_async(self, entry: Any, *_: Any, **__: Any) -> None:
        self.app.tasks[entry.task]()


class Sweeper:
    """A thread that sweeps every second until it is stopped.

    A shard that still waits at the next sweep, it drains itself: the broker is away, or the worker
    has gone deaf to it, as Celery's have been known to after a restart of Redis (celery/celery#8030
    and others), or its children are stuck. The lease keeps two from draining the same shard.
    """

    def __init__(
        self,
        store: Store,
        wake: Callable[[int], bool],
        drain: Callable[[int], None],
        sweep_targets: Callable[[], None],
    ) -> None:
        self._store = store
        self._sweep_targets = sweep_targets
        self._wake = wake
        self._drain = drain
        self._waited: frozenset[int] = frozenset()
        self._leaving = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def begin(self) -> None:
        """Begin with new targets before the first alert of this worker can be published."""
        try:
            self._sweep_targets()
        except RedisError as error:
            log.warning("sweep_failing", error=type(error).__name__)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """From now on drain nothing here, and wake the others more often. Waits for nothing."""
        self._leaving.set()

    def end(self) -> None:
        """End the thread; wait, for a bounded time, until what it drains is given back."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        failing = False
        # At once: what waited for a worker has waited long enough.
        while not self._ended.is_set():
            try:
                self._sweep()
            except Exception as error:
                # Whatever it is: a thread that ended here would be missed by nobody.
                if not failing:
                    log.warning("sweep_failing", error=type(error).__name__, exc_info=True)
                failing = True
            else:
                if failing:
                    log.info("sweep_recovered")
                failing = False
            self._rest()

    def _rest(self) -> None:
        """Wait until the next sweep, or until there is none."""
        if not self._leaving.is_set():
            self._leaving.wait(SWEEP_SECONDS)
        else:
            self._ended.wait(_LEAVING_SECONDS)

    def _sweep(self) -> None:
        if self._leaving.is_set():
            sweep(self._store, self._wake)
            return
        waiting = self._store.waiting()
        # First, since to send a wake-up may take seconds where the broker hangs.
        for shard in waiting:
            if shard in self._waited and not self._leaving.is_set():
                log.warning("wake_up_unanswered", shard=shard)
                self._drain(shard)
        _wake([shard for shard in waiting if shard not in self._waited], self._wake)
        self._waited = frozenset(waiting)
        # After the shards: alerts can wait for a second.
        self._sweep_targets()
