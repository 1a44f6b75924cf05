"""A worker without Redis: digests callbacks and writes its log, as fast as one process can.

It does with them what a drain does, but for the commits; rooms are let go once they have settled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count, islice, takewhile

from schemas.callbacks import EVENT
from schemas.inbox import encode_params
from schemas.reading import room_of
from schemas.settings import Settings
from workers.arrivals import pseudo_room, read_entries
from workers.batch import Batch
from workers.bounds import bounds_of
from workers.digest import Digester
from workers.scribe import Scribe
from workers.steps import Circumstances

Params = dict[str, str]

_SHARD = 0
_BATCH = 256
# All in microseconds. Between two callbacks: those of 500 meetings, 2 s apart in each.
_PACE = 4_000
# A closed room is settled when it was quiet for a minute.
_SETTLED_AFTER = 61_000_000
_BEGIN = 1_692_003_600_000_000
_CONTEXT = {"task_id": "b420e23e-4880-40cd-b753-6940eb1a008d", "worker": "worker-1:41"}


class OfflineWorker:
    """One worker of one shard."""

    def __init__(self) -> None:
        nowhere = "redis://nowhere"
        self._bounds = bounds_of(Settings(redis_url=nowhere, celery_broker_url=nowhere))
        self._scribe = Scribe(self._bounds)
        self._stored: dict[str, bytes | None] = {}
        # When rooms that have ended are settled, in this order.
        self._ended: dict[str, int] = {}

    def log_of(self, callbacks: Iterable[Params]) -> Iterator[bytes]:
        """Write what a worker logs of callbacks; gives the lines of a batch at a time."""
        remaining, clock = iter(callbacks), count(_BEGIN, _PACE)
        while taken := [*zip(islice(remaining, _BATCH), clock, strict=False)]:
            now = taken[-1][1]
            yield self._digest(taken, now) + self._settle(now)

    def _digest(self, taken: list[tuple[Params, int]], now: int) -> bytes:
        entries = [
            (b"%d-0" % (at // 1000), {b"params": encode_params(params), b"token": b""})
            for params, at in taken
        ]
        rooms = {pseudo_room(_SHARD), *(room_of(params) for params, _ in taken)}
        stored = {room: self._stored.get(room) for room in rooms}
        arrivals = read_entries(_SHARD, entries)
        batch, number = Digester(stored, self._around(now)).digest(arrivals, until=math.inf)
        if number != len(taken):
            raise RuntimeError("A batch was larger than a worker takes at once.")
        for params, at in taken:
            if params[EVENT] == "room-ended":
                # It may come twice.
                self._ended.setdefault(room_of(params), at + _SETTLED_AFTER)
        return self._kept(batch)

    def _settle(self, now: int) -> bytes:
        over = [*takewhile(lambda room: self._ended[room] <= now, self._ended)]
        if not over:
            return b""
        stored = {pseudo_room(_SHARD): None, **{room: self._stored[room] for room in over}}
        lines = self._kept(Digester(stored, self._around(now)).elapse(over, now, until=math.inf))
        for room in over:
            del self._stored[room], self._ended[room]
        return lines

    def _kept(self, batch: Batch) -> bytes:
        self._stored |= {room: one.record for room, one in batch.rooms.items()}
        return batch.audit_lines

    def _around(self, now: int) -> Circumstances:
        return Circumstances(_SHARD, _CONTEXT, self._bounds, lambda: now + _PACE, self._scribe)
