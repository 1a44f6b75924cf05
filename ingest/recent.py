"""The recent: what Redis took in the last minute, in memory, should Redis turn out to have lost it.

Redis answers before its disk and its replicas have what it answers for: a power cut loses about a
second under `appendfsync everysec`, a failover whatever had not reached the new master
(https://redis.io/docs/latest/operate/oss_and_stack/management/replication/). Merging is idempotent,
so whoever still knows what was said then can simply say it again. Knows no Redis and no HTTP.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

# A master that is cut off from its replicas goes on taking writes until the Sentinels have replaced
# it, after 30 s by default, and these are lost.
_KEEP_SECONDS = 60.0
# Some 20,000 callbacks, should a minute hold more.
_KEEP_BYTES = 16 * 1024 * 1024


class Recent(NamedTuple):
    """A callback that Redis took."""

    shard: int
    # The id that it had.
    entry: bytes
    params: bytes
    token: str
    # On the monotonic clock.
    at: float


class RecentDeposits:
    """What was deposited lately, by all threads of a process."""

    def __init__(
        self, *, keep_seconds: float = _KEEP_SECONDS, keep_bytes: int = _KEEP_BYTES
    ) -> None:
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._lock = threading.Lock()
        self._kept: deque[Recent] = deque()
        self._bytes = 0

    def note(self, shard: int, entry: bytes, params: bytes, token: str) -> None:
        """Keep a callback that Redis has just taken, for a while."""
        recent = Recent(shard, entry, params, token, time.monotonic())
        with self._lock:
            self._kept.append(recent)
            self._bytes += len(params)
            while self._is_too_much(recent.at):
                self._bytes -= len(self._kept.popleft().params)

    def take(self) -> list[Recent]:
        """Give out all that is kept, in the order in which Redis took it."""
        with self._lock:
            taken = [*self._kept]
            self._kept.clear()
            self._bytes = 0
            return taken

    def give_back(self, taken: list[Recent]) -> None:
        """Keep again what was taken: the oldest of all, in their order."""
        with self._lock:
            self._kept.extendleft(reversed(taken))
            self._bytes += sum(len(one.params) for one in taken)

    def _is_too_much(self, now: float) -> bool:
        if not self._kept:
            return False
        return self._bytes > self._keep_bytes or now - self._kept[0].at > self._keep_seconds
