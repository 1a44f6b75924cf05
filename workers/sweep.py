"""The sweep: finds every shard that has work and nobody at it, and wakes it.

Celery may lose a wake-up, and a worker may die with a shard in hand. Neither matters longer than
one sweep: it asks Redis, not the broker, and whatever `wake` says. Beat sends one every second; a
thread of each worker does the same, so that neither is a single point of failure. Targets of alerts
are swept with the shards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from redis import RedisError

from schemas.wakeups import SWEEP_SECONDS
from workers.store import Store

log = structlog.get_logger()


def sweep(store: Store, wake: Callable[[int], None]) -> list[int]:
    """Wake every shard that is waiting; return which.

    Raises:
        RedisError: the store did not answer.
    """
    waiting = store.waiting()
    for shard in waiting:
        wake(shard)
    return waiting


class Sweeper:
    """A thread that sweeps every second until it is stopped.

    A shard that still waits at the next sweep, it drains itself: the broker is away, or the worker
    has gone deaf to it, as Celery's have been known to after a restart of Redis (celery/celery#8030
    and others). The lease keeps two from draining the same shard.
    """

    def __init__(
        self,
        store: Store,
        wake: Callable[[int], None],
        drain: Callable[[int], None],
        sweep_targets: Callable[[], None],
    ) -> None:
        self._store = store
        self._sweep_targets = sweep_targets
        self._wake = wake
        self._drain = drain
        self._waited: frozenset[int] = frozenset()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def begin(self) -> None:
        """Begin with new targets before the first alert of this worker can be published."""
        try:
            self._sweep_targets()
        except RedisError as error:
            log.warning("sweep_failing", error=type(error).__name__)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(SWEEP_SECONDS)

    def _sweep(self) -> None:
        waiting = sweep(self._store, self._wake)
        for shard in waiting:
            if shard in self._waited:
                log.warning("wake_up_unanswered", shard=shard)
                self._drain(shard)
        self._waited = frozenset(waiting)
        # After the shards: alerts can wait for a second.
        self._sweep_targets()

    def _run(self) -> None:
        failing = False
        while not self._stopping.wait(SWEEP_SECONDS):
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
