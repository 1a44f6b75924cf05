"""A worker without Redis: digests batches and lets time run as a drain does, and keeps its log."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from timed import ARRIVED, BOUNDS

from schemas.inbox import encode_params
from workers.arrivals import pseudo_room, read_entries
from workers.batch import Batch, Entry
from workers.digest import Digester
from workers.scribe import Scribe
from workers.steps import Circumstances

Params = dict[str, str]
SHARD = 0
_WRITING = 3_000


class LoggingWorker:
    """One worker of one shard; what is stored is read anew for each batch, as from Redis."""

    def __init__(self, scribe: Scribe | None = None) -> None:
        self.scribe = scribe or Scribe(BOUNDS)
        self.bounds = BOUNDS
        self.stored: dict[str, bytes | None] = {pseudo_room(SHARD): None}
        self.log = b""
        self._entries = 0
        self._now = ARRIVED

    def take(self, callbacks: Iterable[Params], at: int = ARRIVED) -> None:
        """Digest callbacks that arrive at one moment, in microseconds since 1970, in one batch."""
        self.take_entries([self.entry(params, at) for params in callbacks])

    def entry(self, params: Params, at: int) -> Entry:
        """Make an inbox entry of a callback that arrives at a moment."""
        self._entries += 1
        fields = {b"params": encode_params(params), b"token": b"t-%d" % self._entries}
        return b"%d-%d" % (at // 1000, self._entries), fields

    def take_entries(self, entries: Sequence[Entry]) -> None:
        """Digest entries of an inbox in one batch."""
        arrivals = read_entries(SHARD, entries)
        known = {one.room_sid: self.stored.get(one.room_sid) for one in arrivals}
        self._now = arrivals[-1].at
        digester = Digester(self.stored | known, self._around())
        batch, count = digester.digest(arrivals, until=math.inf)
        assert count == len(entries)
        self._commit(batch)

    def look(self, now: int) -> None:
        """Let time run in all rooms, up to a moment in microseconds since 1970."""
        self._now = now
        rooms = [sid for sid, record in self.stored.items() if record]
        self._commit(Digester(self.stored, self._around()).elapse(rooms, now, until=math.inf))

    def find_stalled(self, since: int, now: int) -> None:
        """Find that callbacks have waited."""
        self._now = now
        self._commit(Digester(self.stored, self._around()).stalled(since, now))

    def records(self) -> list[dict[str, Any]]:
        """The records that were logged."""
        return [json.loads(line) for line in self.log.splitlines()]

    def _around(self) -> Circumstances:
        context = {"task_id": "t-1", "worker": "worker-1:41"}
        return Circumstances(SHARD, context, self.bounds, lambda: self._now + _WRITING, self.scribe)

    def _commit(self, batch: Batch) -> None:
        self.log += batch.audit_lines
        for sid, one in batch.rooms.items():
            self.stored[sid] = one.record or self.stored.get(sid)
