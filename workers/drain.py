"""The drain of one shard: take the lease, digest batches until the inbox is empty, commit each.

Effects happen exactly once whatever dies when: the inbox keeps every callback until the commit that
holds all that came of it removes it, and no commit is sent twice. The audit lines are committed as
well and kept until they are written, by this worker or by the next that takes the shard.

It sends nothing itself: each step yields what it asks of Redis, or that it waits for its next turn,
so that whoever drives it (`rounds`) can have several shards served in one round trip.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from schemas.errors import LeaseLostError
from schemas.logs import Lines
from workers.arrivals import arrived_at, in_its_place, read_entries
from workers.asking import answer_to
from workers.batch import BEFORE_ALL, Entry, Hold, Taken
from workers.committing import Asking, Committing
from workers.room.bounds import Bounds
from workers.rounds import SLICE_SECONDS, Rounds, Terms
from workers.scribe import Scribe
from workers.steps import Circumstances
from workers.store import BATCH_CALLBACKS, LEASE_MS, Released, Store
from workers.turns import Done, Drained, Turn, Work

# Digesting may take this much of the lease; the rest is for the commit.
_DIGEST_SECONDS = LEASE_MS / 1000 / 3
# Time that runs at the end of a slice may take as long as callbacks have had: with less, rooms that
# are due would fall behind where everybody is busy. All shards of a process do so together.
_TIMERS_SECONDS = SLICE_SECONDS
# Machines whose clocks are kept at all differ by less, in microseconds.
_AHEAD = 5 * 60 * 1_000_000

log = structlog.get_logger()


class Drain:
    """Drains shards."""

    def __init__(  # noqa: PLR0913  # tests alone change the last two
        self,
        store: Store,
        bounds: Bounds,
        audit: Lines,
        *,
        scribe: Scribe | None = None,
        slice_seconds: float = SLICE_SECONDS,
        at_once: int = 1,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Make a drain, before the worker forks.

        Args:
            store: the shards.
            bounds: what verdicts are made with.
            audit: where the audit lines go.
            scribe: writes them; by default one that writes names as they are.
            slice_seconds: when one that is drained by itself gives way.
            at_once: how many shards are served together at the most.
            now: microseconds since 1970, for the audit, and to see that Redis's clock is sane.
        """
        self._store = store
        self._bounds = bounds
        self._committing = Committing(store, audit)
        self._scribe = scribe or Scribe(bounds)
        self._slice_seconds = slice_seconds
        # All of them have to be digested and committed within their leases.
        self._digest_seconds = _DIGEST_SECONDS / at_once
        self._now = now

    def drain(self, shard: int, context: Mapping[str, Any]) -> Drained:
        """Drain one shard for a slice, by itself and waiting for nothing.

        Raises:
            RedisError, RollcallError: see `begin`.
        """
        terms = Terms(slice_seconds=self._slice_seconds)
        rounds = Rounds(self._store, lambda one: self.begin(one, context), terms)
        (drained,) = rounds.serve(shard)
        if drained.error:
            raise drained.error
        return drained

    def begin(self, shard: int, context: Mapping[str, Any]) -> Work:
        """Drain a shard, turn by turn; nothing is done where another worker is at it.

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
        taken = yield from answer_to(self._store.take(shard, secrets.token_hex(8)))
        if taken is None:
            return Drained(shard, 0, handed_on=False)
        try:
            if taken.audit_lines:
                log.warning("audit_lines_found", shard=shard)
                self._committing.write(taken.audit_lines)
            around = Circumstances(shard, context, self._bounds, self._now, self._scribe)
            self._committing.look_back(taken.hold)
            hold = yield from self._look_ahead(taken, around)
            return (yield from self._turns(hold, taken.entries, around))
        except LeaseLostError:
            raise
        except Exception:
            yield from self._give_back(taken.hold)
            raise

    def _look_ahead(self, taken: Taken, around: Circumstances) -> Asking[Hold]:
        """Have it told where callbacks have waited for too long."""
        now = taken.now_ms * 1000
        since = arrived_at(taken.entries[0][0]) if taken.entries else now
        if now - since < self._bounds.stalled:
            return taken.hold
        hold = taken.hold
        digester = yield from self._committing.digester(hold, [], around)
        batch = digester.stalled(since, now)
        return (yield from self._committing.commit(hold, batch, digester)) or hold

    def _turns(self, hold: Hold, entries: Sequence[Entry], around: Circumstances) -> Work:
        callbacks, last = 0, BEFORE_ALL
        while True:
            count = 0
            if entries:
                hold, count = yield from self._batch(hold, entries, around)
            if count:
                callbacks, last = callbacks + count, entries[count - 1][0]
            flooded = len(entries) == BATCH_CALLBACKS or count < len(entries)
            turn: Turn = yield Done(count, flooded)
            entries = turn.entries
            if turn.over:
                seconds = 0.0 if turn.leaving else _TIMERS_SECONDS
                handed_on = yield from self._hand_on(hold, last, around, seconds)
                return Drained(hold.shard, callbacks, handed_on)
            if turn.quiet:
                left = yield from self._let_go(hold, around)
                if left is None:
                    return Drained(hold.shard, callbacks, handed_on=False)
                hold = left

    def _let_go(self, hold: Hold, around: Circumstances) -> Asking[Hold | None]:
        """Give the shard back; or give the hold to go on with, where there is something to do."""
        released = yield from self._release(hold)
        if released == "waiting":
            return hold
        if released != "due":
            return None
        elapsed = yield from self._elapse(hold, around)
        if elapsed is None:
            # Not at once again: the sweep comes back to it in a second.
            yield from self._release(hold, hand_on=True)
        return elapsed

    def _hand_on(
        self, hold: Hold, last: bytes, around: Circumstances, seconds: float
    ) -> Asking[bool]:
        """Give the shard back in any case; tell whether somebody else is to be woken for it.

        Before that, time runs in all rooms that are due, for so many seconds: in a busy shard,
        which is never quiet, this is when it does.
        """
        over = time.monotonic() + seconds
        while True:
            released = yield from self._release(hold)
            if released not in {"due", "waiting"}:
                return False
            # While callbacks wait, and one may have come since it was last asked, time has come as
            # far as the last that was taken, and no further.
            taken = last if released == "waiting" else None
            elapsed = yield from self._elapse(hold, around, taken)
            none_left = elapsed == hold and released == "waiting"
            if elapsed is None or none_left or time.monotonic() > over:
                handed_on = yield from self._release(elapsed or hold, hand_on=True)
                return handed_on == "handed-on" and elapsed is not None
            hold = elapsed

    def _release(self, hold: Hold, *, hand_on: bool = False) -> Asking[Released]:
        return answer_to(self._store.release(hold, hand_on=hand_on, audited=True))

    def _batch(
        self, hold: Hold, entries: Sequence[Entry], around: Circumstances
    ) -> Asking[tuple[Hold, int]]:
        shards = self._store.shards
        read = read_entries(hold.shard, entries)
        arrivals = [in_its_place(one, hold.shard, shards) for one in read]
        digester = yield from self._committing.digester(
            hold, [one.room_sid for one in arrivals], around
        )
        until = time.monotonic() + self._digest_seconds
        batch, count = digester.digest(arrivals, until=until)
        committed = yield from self._committing.commit(hold, batch, digester)
        # Nothing else is answered where callbacks are committed.
        assert committed is not None  # noqa: S101
        return committed, count

    def _elapse(
        self, hold: Hold, around: Circumstances, taken: bytes | None = None
    ) -> Asking[Hold | None]:
        """Let time run in the rooms that are due; None where Redis's clock is not to be believed.

        Args:
            hold: the shard.
            around: the circumstances.
            taken: the last entry of the inbox that was taken: time runs up to its arrival. Without
                one it runs up to Redis's clock, and only if no callback has come meanwhile: those
                are taken first. An outage of the workers must not look like everybody having left.
        """
        by_ms = None if taken is None else arrived_at(taken) // 1000
        now, rooms = yield from answer_to(self._store.due(hold, by_ms=by_ms))
        if taken is None and self._clocks_disagree(now):
            return None
        if not rooms:
            return hold
        digester = yield from self._committing.digester(hold, rooms, around)
        until = time.monotonic() + self._digest_seconds
        batch = digester.elapse(rooms, now, until=until)
        if taken is not None:
            batch = batch._replace(taken=())
        return (yield from self._committing.commit(hold, batch, digester)) or hold

    def _clocks_disagree(self, now: int) -> bool:
        """Whether Redis's clock is so far ahead of ours that nobody should be gone by it.

        One that jumps a day ahead would close every room, and what is closed is not opened again.
        """
        ahead = now - self._now()
        if ahead > _AHEAD:
            log.error("redis_clock_ahead", seconds=ahead // 1_000_000)
        return ahead > _AHEAD

    def _give_back(self, hold: Hold) -> Asking[None]:
        """Let the shard go, so that the next need not wait for the lease to run out.

        Without the lease, a commit that is still on its way can take no effect any more. Its audit
        lines, if it has taken effect before, stay for whoever comes next.
        """
        try:
            yield from answer_to(self._store.release(hold, hand_on=True, audited=False))
        except Exception as error:  # noqa: BLE001  # what it is given back for is raised, and says more
            log.warning("shard_not_given_back", shard=hold.shard, error=type(error).__name__)
