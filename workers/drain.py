"""The drain of one shard: take the lease, digest batches until the inbox is empty, commit each.

Effects happen exactly once whatever dies when: the inbox keeps every callback until the commit that
holds all that came of it removes it, and no commit is sent twice. The audit lines are committed as
well and kept until they are written, by this worker or by the next that takes the shard.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from redis import RedisError

from schemas.errors import AuditOutputError, LeaseLostError
from schemas.logs import Lines
from workers.arrivals import arrived_at, in_its_place, pseudo_room, read_entries
from workers.commits import Commits
from workers.digest import Digester
from workers.room.bounds import Bounds
from workers.scribe import Scribe
from workers.steps import Circumstances
from workers.store import LEASE_MS, NOTHING_TAKEN, Batch, Entry, Hold, Store, Taken

# A drain gives way after this long, so that no shard starves while others have a flood.
SLICE_SECONDS = 1.0
# Digesting may take this much of the lease; the rest is for the commit.
_DIGEST_SECONDS = LEASE_MS / 1000 / 3
# Machines whose clocks are kept at all differ by less, in microseconds.
_AHEAD = 5 * 60 * 1_000_000

log = structlog.get_logger()


class Drained(NamedTuple):
    """What a slice did."""

    callbacks: int
    # The shard was handed on: the caller sends a wake-up for the rest.
    handed_on: bool


class Drain:
    """Drains shards, one slice at a time."""

    def __init__(  # noqa: PLR0913  # tests alone change the last two
        self,
        store: Store,
        bounds: Bounds,
        audit: Lines,
        *,
        scribe: Scribe | None = None,
        slice_seconds: float = SLICE_SECONDS,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Make a drain, before the worker forks.

        Args:
            store: the shards.
            bounds: what verdicts are made with.
            audit: where the audit lines go.
            scribe: writes them; by default one that writes names as they are.
            slice_seconds: when to give way.
            now: microseconds since 1970, for the audit, and to see that Redis's clock is sane.
        """
        self._store = store
        self._bounds = bounds
        self._audit = audit
        self._scribe = scribe or Scribe(bounds)
        # Made before the worker forks, and so one for all its processes.
        self._commits = Commits(store.shards)
        self._slice_seconds = slice_seconds
        self._now = now

    def drain(self, shard: int, context: Mapping[str, Any]) -> Drained:
        """Drain a shard for one slice; nothing is done where another worker is at it.

        Whatever is raised, the shard was given back, the inbox keeps what was not committed, and
        the sweep has it taken up again.

        Args:
            shard: which one.
            context: what the audit records say of the circumstances (task, worker).

        Raises:
            RedisError: Redis did not answer.
            LeaseLostError: the shard is another worker's by now.
            AuditOutputError: nobody takes the audit lines.
            UnknownVersionError: the shard holds what only a newer worker can read.
            UnreadableRecordError: the record of the shard's pseudo-room is damaged.
        """
        taken = self._store.take(shard, secrets.token_hex(8))
        if taken is None:
            return Drained(0, handed_on=False)
        try:
            if taken.audit_lines:
                log.warning("audit_lines_found", shard=shard)
                self._write(taken.audit_lines)
            around = Circumstances(shard, context, self._bounds, self._now, self._scribe)
            self._look_back(taken.hold)
            hold = self._look_ahead(taken, around)
            return self._slice(hold, taken.entries, around)
        except LeaseLostError:
            raise
        except Exception:
            self._give_back(taken.hold)
            raise

    def _look_back(self, hold: Hold) -> None:
        """Say so where Redis has lost commits that this worker knows of.

        They are made again, from what is left of the inbox and the facts. Consumers see it by the
        ids of events: a revision comes again under another one, if it says something else.
        """
        lost = self._commits.note(hold.shard, hold.commits)
        if lost:
            log.error("redis_lost_commits", shard=hold.shard, lost=lost, left=hold.commits)

    def _look_ahead(self, taken: Taken, around: Circumstances) -> Hold:
        """Have it told where callbacks have waited for too long."""
        now = taken.now_ms * 1000
        since = arrived_at(taken.entries[0][0]) if taken.entries else now
        if now - since < self._bounds.stalled:
            return taken.hold
        hold = taken.hold
        stored = self._store.load(hold, [pseudo_room(hold.shard)])
        batch = Digester(stored, around).stalled(since, now)
        return self._commit(hold, batch) or hold

    def _slice(self, hold: Hold, entries: list[Entry], around: Circumstances) -> Drained:
        deadline = time.monotonic() + self._slice_seconds
        callbacks = 0
        while True:
            while entries:
                hold, count = self._batch(hold, entries, around)
                callbacks += count
                if time.monotonic() > deadline:
                    # Callbacks wait, so time has come as far as the last that was taken, and no
                    # further. Without this, rooms of a busy shard would never be looked at.
                    if count:
                        hold = self._elapse(hold, around, entries[count - 1][0]) or hold
                    return self._hand_on(hold, callbacks)
                entries = self._store.read(hold)
            released = self._store.release(hold, hand_on=False, audited=True)
            if released == "due":
                elapsed = self._elapse(hold, around)
                if elapsed is None:
                    # Not at once again: the sweep comes back to it in a second.
                    self._store.release(hold, hand_on=True, audited=True)
                    return Drained(callbacks, handed_on=False)
                hold = elapsed
                if time.monotonic() > deadline:
                    return self._hand_on(hold, callbacks)
            elif released != "waiting":
                return Drained(callbacks, handed_on=False)
            entries = self._store.read(hold)

    def _hand_on(self, hold: Hold, callbacks: int) -> Drained:
        released = self._store.release(hold, hand_on=True, audited=True)
        return Drained(callbacks, handed_on=released == "handed-on")

    def _batch(self, hold: Hold, entries: list[Entry], around: Circumstances) -> tuple[Hold, int]:
        until = time.monotonic() + _DIGEST_SECONDS
        shards = self._store.shards
        read = read_entries(hold.shard, entries)
        arrivals = [in_its_place(one, hold.shard, shards) for one in read]
        rooms = dict.fromkeys((pseudo_room(hold.shard), *(one.room_sid for one in arrivals)))
        digester = Digester(self._store.load(hold, rooms), around)
        batch, count = digester.digest(arrivals, until=until)
        committed = self._commit(hold, batch)
        # Nothing else is answered where callbacks are committed.
        assert committed is not None  # noqa: S101
        return committed, count

    def _commit(self, hold: Hold, batch: Batch) -> Hold | None:
        committed = self._store.commit(hold, batch)
        if committed is not None:
            self._commits.note(hold.shard, committed.commits)
            self._write(batch.audit_lines)
        return committed

    def _elapse(self, hold: Hold, around: Circumstances, taken: bytes | None = None) -> Hold | None:
        """Let time run in the rooms that are due; None where Redis's clock is not to be believed.

        Args:
            hold: the shard.
            around: the circumstances.
            taken: the last entry of the inbox that was taken: time runs up to its arrival. Without
                one it runs up to Redis's clock, and only if no callback has come meanwhile: those
                are taken first. An outage of the workers must not look like everybody having left.
        """
        until = time.monotonic() + _DIGEST_SECONDS
        by_ms = None if taken is None else arrived_at(taken) // 1000
        now, rooms = self._store.due(hold, by_ms=by_ms)
        if taken is None and self._clocks_disagree(now):
            return None
        if not rooms:
            return hold
        stored = self._store.load(hold, [pseudo_room(hold.shard), *rooms])
        batch = Digester(stored, around).elapse(rooms, now, until=until)
        if taken is not None:
            batch = batch._replace(last_id=NOTHING_TAKEN)
        return self._commit(hold, batch) or hold

    def _clocks_disagree(self, now: int) -> bool:
        """Whether Redis's clock is so far ahead of ours that nobody should be gone by it.

        One that jumps a day ahead would close every room, and what is closed is not opened again.
        """
        ahead = now - self._now()
        if ahead > _AHEAD:
            log.error("redis_clock_ahead", seconds=ahead // 1_000_000)
        return ahead > _AHEAD

    def _write(self, audit_lines: bytes) -> None:
        try:
            self._audit.write(audit_lines)
        except OSError as error:
            raise AuditOutputError(f"{AuditOutputError.__doc__} {error}.") from error

    def _give_back(self, hold: Hold) -> None:
        """Let the shard go, so that the next need not wait for the lease to run out.

        Without the lease, a commit that is still on its way can take no effect any more. Its audit
        lines, if it has taken effect before, stay for whoever comes next.
        """
        try:
            self._store.release(hold, hand_on=True, audited=False)
        except RedisError as error:
            log.warning("shard_not_given_back", shard=hold.shard, error=type(error).__name__)
