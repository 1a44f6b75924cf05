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
_NOT_ASKED = "INFO is refused: what Redis loses in a restart or failover is not deposited again"
_ALLOW = "allow it to the user of REDIS_URL: ACL SETUSER ... +info"

_log = structlog.get_logger()


class Losses:
    """Watches over what one process has deposited."""

    def __init__(self, inbox: Inbox, spool: Spool, doorbell: Bell) -> None:
        self._inbox = inbox
        self._spool = spool
        self._doorbell = doorbell
        self._servers: frozenset[str] = frozenset()
        # Those that it was said of what they lack, and how many callbacks they lost that are not
        # all deposited again yet.
        self._told_of: frozenset[str] = frozenset()
        self._lost = 0
        self._may_ask = True
        self._batch = _BATCH
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
        self._note(may_ask=bool(servers))
        strangers = servers - self._servers
        lost = self._make_good(strangers) if self._servers and strangers else 0
        self._servers |= servers
        self._ask_at = time.monotonic() + _ASK_SECONDS
        return lost

    def _note(self, *, may_ask: bool) -> None:
        """Say it once where Redis takes callbacks and does not tell who it is."""
        if self._may_ask and not may_ask:
            _log.warning("redis_not_asked", what=_NOT_ASKED, todo=_ALLOW)
        self._may_ask = may_ask

    def _make_good(self, strangers: frozenset[str]) -> int:
        newest = [_order(entry) for entry in self._inbox.newest()]
        recent = self._inbox.recent.take()
        # At the next try, what was deposited again by then would not count as lost any more.
        if strangers - self._told_of:
            self._lost += _tell(recent, newest)
            self._told_of |= strangers
        while recent:
            try:
                self._deposit_again(recent[: self._batch])
            except Exception:
                self._inbox.recent.give_back(recent)
                # It may have been too much for the time that Redis has, and would be so for ever.
                self._batch = max(1, self._batch // 2)
                raise
            del recent[: self._batch]
        self._batch = _BATCH
        lost, self._lost = self._lost, 0
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


def _tell(recent: list[Recent], newest: list[tuple[int, int]]) -> int:
    """Say what a server lacks that came in the place of another; return how many callbacks.

    Args:
        recent: what its predecessors took.
        newest: the newest id that it knows, of each shard. Where others wrote since, that may be
            newer than what is lost: so it is these at the least.
    """
    lost = sum(_order(one.entry) > newest[one.shard] for one in recent)
    told = {"lost_at_least": lost, "deposited_again": len(recent)}
    if lost:
        _log.error("redis_lost_its_tail", **told)
    else:
        _log.warning("redis_replaced", **told)
    return lost


def _order(entry: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds), int(sequence)
