"""The drain of one shard: take the lease, digest batches until the inbox is empty, commit each.

Effects happen exactly once whatever dies when: the inbox keeps every callback until the commit that
holds all that came of it removes it, and no commit is made twice.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from schemas.errors import CommitUnknownError, LeaseLostError, UnknownVersionError
from schemas.logs import Lines
from workers.digest import Digester, read_entries
from workers.room.bounds import Bounds
from workers.store import Batch, Entry, Hold, Store

# A drain gives way after this long, so that no shard starves while others have a flood.
SLICE_SECONDS = 1.0

log = structlog.get_logger()


class Drained(NamedTuple):
    """What a slice did."""

    callbacks: int
    # The shard was handed on: the caller sends a wake-up for the rest.
    handed_on: bool


class Drain:
    """Drains shards, one slice at a time."""

    def __init__(
        self,
        store: Store,
        bounds: Bounds,
        audit: Lines,
        *,
        slice_seconds: float = SLICE_SECONDS,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store = store
        self._bounds = bounds
        self._audit = audit
        self._slice_seconds = slice_seconds
        self._now = now

    def drain(self, shard: int, context: Mapping[str, Any]) -> Drained:
        """Drain a shard for one slice; nothing is done where another worker is at it.

        Args:
            shard: which one.
            context: what the audit records say of the circumstances (task, worker).

        Raises:
            RedisError: Redis did not answer; the lease expires by itself, the inbox keeps the rest.
            LeaseLostError: the shard is another worker's by now; the last batch was not committed.
            UnknownVersionError: the shard holds what only a newer worker can read; it was given
                back untouched.
        """
        taken = self._store.take(shard, secrets.token_hex(8))
        if taken is None:
            return Drained(0, handed_on=False)
        hold, entries = taken
        context = {"shard": shard, **context}
        deadline = time.monotonic() + self._slice_seconds
        callbacks = 0
        while True:
            while entries:
                hold, count = self._digest(hold, entries, context)
                callbacks += count
                if time.monotonic() > deadline:
                    released = self._store.release(hold, hand_on=True)
                    return Drained(callbacks, handed_on=released == "handed-on")
                entries = self._store.read(hold)
            if self._store.release(hold, hand_on=False) != "waiting":
                return Drained(callbacks, handed_on=False)
            entries = self._store.read(hold)

    def _digest(
        self, hold: Hold, entries: list[Entry], context: Mapping[str, Any]
    ) -> tuple[Hold, int]:
        arrivals = read_entries(hold.shard, entries)
        stored = self._store.load(hold, dict.fromkeys(one.room_sid for one in arrivals))
        try:
            digester = Digester(stored, self._bounds, context, self._now)
        except UnknownVersionError:
            self._store.release(hold, hand_on=True)
            raise
        digested = digester.digest(arrivals)
        hold = self._commit(hold, digested.batch)
        self._audit.write(b"".join(digested.audit_lines))
        return hold, len(digested.audit_lines)

    def _commit(self, hold: Hold, batch: Batch) -> Hold:
        try:
            return self._store.commit(hold, batch)
        except CommitUnknownError:
            # It may still be on its way, so it is never sent again. Without the lease it can take
            # no effect any more, so after the release what the look-up finds is final.
            self._store.release(hold, hand_on=True)
            committed = self._store.committed(hold)
            log.warning("commit_looked_up", shard=hold.shard, committed=committed)
            if not committed:
                raise LeaseLostError from None
            return hold._replace(token=hold.next_token)
