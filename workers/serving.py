"""Serving: what a worker does with a shard that waits, and what is said when that breaks off.

It knows who is woken and who is told to end, and leaves how a shard is drained to `drain` and
`rounds`.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial

import structlog
from redis import RedisError

from schemas.errors import RollcallError
from workers.drain import Drain
from workers.leaving import Leaving
from workers.rounds import LINGER_SECONDS, Rounds, Terms
from workers.store import Store
from workers.turns import Drained

log = structlog.get_logger()


class Serving:
    """Serves shards, in whichever process of the worker."""

    def __init__(
        self, store: Store, drain: Drain, leaving: Leaving, wake: Callable[[int], bool]
    ) -> None:
        self._store = store
        self._drain = drain
        self._leaving = leaving
        self._wake = wake

    def answer(self, shard: int, task_id: str | None, *, share: int) -> None:
        """Answer a wake-up: serve the shard and others, as many as are this process's share."""
        with self._leaving.put_off():
            self._serve(
                shard, task_id, Terms(share, LINGER_SECONDS, leaving=self._leaving.is_asked)
            )

    def drain(self, shard: int) -> None:
        """Drain a shard for a slice, in a thread that has other things to do."""
        self._serve(shard, None, Terms(leaving=self._leaving.is_asked))

    def _serve(self, shard: int, task_id: str | None, terms: Terms) -> None:
        context = {"task_id": task_id, "worker": f"{socket.gethostname()}:{os.getpid()}"}
        begin = partial(self._drain.begin, context=context)
        # No name is given to the rounds, which remember the errors, and these what they broke off.
        if self._settle(Rounds(self._store, begin, terms).serve(shard)):
            self._store.reconnect()
            # It is held by the cycle of an error and its traceback: few objects, and megabytes of
            # callbacks, which nobody would look for until many objects are there.
            gc.collect()

    def _settle(self, drained: Iterable[Drained]) -> bool:
        """Wake others for what was handed on, and say what broke off; true where anything did."""
        broken_off = False
        for one in drained:
            if one.error:
                broken_off = True
                _say_why(one, one.error)
            elif one.handed_on:
                self._wake(one.shard)
        return broken_off


def _say_why(drained: Drained, error: Exception) -> None:
    """Say why a drain broke off.

    Nothing is lost and nothing half done: the inbox keeps what was not committed, and the sweep
    wakes the shard again.
    """
    if isinstance(error, (RedisError, RollcallError)):
        reason = getattr(error, "reason", "redis")
        log.warning("drain_interrupted", shard=drained.shard, reason=reason, error=error)
    else:
        log.error("drain_failed", shard=drained.shard, exc_info=error)
