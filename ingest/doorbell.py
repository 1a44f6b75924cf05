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
from schemas.wakeups import DRAIN, EXPIRES_SECONDS, celery_config

# Long enough for the wake-ups of a healthy broker. Whatever is left then, the sweep finds.
_STOP_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Bell(Protocol):
    """Somebody who has a shard's workers woken, without ever blocking."""

    def ring(self, shard: int) -> None: ...

    def stop(self) -> None: ...


class Doorbell:
    """Wakes the workers of a set of shards: many rings for one shard become one message."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
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
                self._send(shard)

    def _next(self) -> set[int]:
        """Wait for rings. Empty when stopped and nothing is left to send."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung or self._stopping)
            shards, self._rung = self._rung, set()
            return shards

    def _send(self, shard: int) -> None:
        try:
            self._celery.send_task(
                DRAIN, args=[shard], expires=EXPIRES_SECONDS, retry=False, ignore_result=True
            )
        except Exception as error:  # noqa: BLE001  # each transport raises errors of its own
            # Dropped: the sweep finds the shard within a second or two. Of the error only its
            # class is told, since its text may quote the broker's URL with the password.
            cause = error.__cause__ or error
            _log.warning("wake_up_failed", shard=shard, reason=type(cause).__name__)


def open_doorbell(settings: Settings) -> Doorbell:
    """Make the doorbell that the settings name. Nothing is sent yet."""
    celery = Celery("rollcall", set_as_current=False)
    celery.conf.update(celery_config(settings))
    return Doorbell(celery)
