"""The losses: Redis is asked who it is, and another one is told again what the last was told.

It is asked whether it still counts the shards as this process does, too: whoever changes the count
relies on every door to notice (decision 0019).

A server that was started anew, or a replica that was made the master, may lack the last that its
predecessor answered for. What it lacks is said aloud, as far as this process can know it, and what
this process deposited of late is deposited again: what was not lost changes nothing. Knows no
request. Called by one thread.
"""

from __future__ import annotations

import time

import structlog

from ingest.doorbell import Bell
from ingest.inbox import Inbox
from ingest.recent import Recent
from ingest.spool import Spool
from ingest.spool_rows import Spooled

# A question that costs Redis some microseconds. What is kept of the recent lasts far longer.
_ASK_SECONDS = 1.0
# One round trip, as in a replay.
_BATCH = 100
# As long as a request waits for the disk.
_DISK_SECONDS = 0.4

_log = structlog.get_logger()


class Losses:
    """Watches over what one process has deposited."""

    def __init__(self, inbox: Inbox, spool: Spool, doorbell: Bell) -> None:
        self._inbox = inbox
        self._spool = spool
        self._doorbell = doorbell
        self._servers: frozenset[str] = frozenset()
        self._ask_at = 0.0

    def look(self) -> int:
        """Ask who answers, and make good what it lacks; return how many callbacks were lost.

        Raises:
            UnavailableError: Redis broke off; all of it comes again with the next look.
            StartError: the shards are counted otherwise by now.
        """
        if time.monotonic() < self._ask_at:
            return 0
        self._inbox.check()
        servers = self._inbox.servers()
        lost = self._make_good() if self._servers and servers - self._servers else 0
        self._servers |= servers
        self._ask_at = time.monotonic() + _ASK_SECONDS
        return lost

    def _make_good(self) -> int:
        newest = [_order(entry) for entry in self._inbox.newest()]
        recent = self._inbox.recent.take()
        # Of others that wrote since, ids may be newer: so it is these at the least.
        lost = sum(_order(one.entry) > newest[one.shard] for one in recent)
        told = {"lost_at_least": lost, "deposited_again": len(recent)}
        if lost:
            _log.error("redis_lost_its_tail", **told)
        else:
            _log.warning("redis_replaced", **told)
        while recent:
            try:
                self._deposit_again(recent[:_BATCH])
            except Exception:
                self._inbox.recent.give_back(recent)
                raise
            del recent[:_BATCH]
        return lost

    def _deposit_again(self, recent: list[Recent]) -> None:
        rows = [Spooled(number, one.params, one.token) for number, one in enumerate(recent)]
        outcome = self._inbox.deposit_again(rows)
        for shard in outcome.wake:
            self._doorbell.ring(shard)
        taken = {one.id for one in outcome.taken}
        for row in rows:
            if row.id not in taken:
                # Its inbox is full. From the disk it is replayed as soon as there is room.
                self._spool.put(row.params, row.token, seconds=_DISK_SECONDS)


def _order(entry: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds), int(sequence)
