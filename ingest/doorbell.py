"""The doorbell: wake-ups, sent by one background thread a process.

To publish can block for seconds while the broker is away, and the answer to Twilio depends on the
deposit alone. So a request only names a shard here and goes on. Knows no callback and no Redis key.
"""

from __future__ import annotations

import threading
from typing import Protocol

import structlog
from celery import Celery

from schemas.settings import Settings
from schemas.wakeups import DRAIN, WakeUps, celery_config

# Long enough for the wake-ups of a healthy broker. Whatever is left then, the sweep finds.
_STOP_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Bell(Protocol):
    """Somebody who has a shard's workers woken, without ever blocking."""

    def ring(self, shard: int) -> None: ...

    def stop(self) -> None: ...


class Doorbell:
    """Wakes the workers of a set of shards: many rings for one shard become one message."""

    def __init__(self, celery: Celery, wake_ups: WakeUps) -> None:
        self._celery = celery
        self._wake_ups = wake_ups
        self._rung: set[int] = set()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def ring(self, shard: int) -> None:
        """Have a wake-up sent for this shard soon. Never blocks, never fails."""
        with self._changed:
            self._rung.add(shard)
            # At the first ring rather than before: a thread does not survive the fork that may
            # come between, and is seen not to be alive after one.
            if not self._stopping and (self._thread is None or not self._thread.is_alive()):
                self._start()
            self._changed.notify()

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """Send what has been rung, for at most `timeout` seconds, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        self._celery.close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="doorbell", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # The system has no thread left. The callback is durable, and the next ring tries again.
            self._thread = None
            _log.warning("wake_up_failed", reason="no-thread")

    def _serve(self) -> None:
        while shards := self._next():
            for shard in sorted(shards):
                if not self._wake_ups.send(DRAIN, shard):
                    # The others would go the same way. The sweep finds them within a second or two.
                    break

    def _next(self) -> set[int]:
        """Wait for rings. Empty when stopped and nothing is left to send."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung or self._stopping)
            shards, self._rung = self._rung, set()
            return shards


def open_doorbell(settings: Settings) -> Doorbell:
    """Make the doorbell that the settings name. Nothing is sent yet."""
    celery = Celery("rollcall", set_as_current=False)
    celery.conf.update(celery_config(settings))
    return Doorbell(celery, WakeUps(celery, settings))
