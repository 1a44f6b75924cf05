"""Digesting a batch: arrivals and stored records in, all that one commit writes out.

It reads and writes nothing outside. The difference is taken after every callback, in inbox order;
a batch shares only the commit.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import structlog

from schemas.errors import IndigestibleError, UnreadableRecordError
from workers import dead, records, steps
from workers.arrivals import Arrival, Fault, pseudo_room
from workers.batch import Batch, Stored
from workers.records import Record
from workers.room.conclude import Outcome, conclude, set_aside
from workers.room.patience import elapse, next_due
from workers.room.stall import stalled
from workers.room.value import replace
from workers.steps import Circumstances, Step

# What a batch gives out at the most, in bytes; a larger one would block Redis.
_BATCH_BYTES = 1 << 20
# A room whose record is damaged waits for a person.
_LATER_MS = 3_600_000

log = structlog.get_logger()


class Digester:
    """Takes the arrivals of one batch, one after the other."""

    def __init__(self, stored: Mapping[str, bytes | None], around: Circumstances) -> None:
        """Begin a batch.

        Args:
            stored: the records of all rooms that it is about, and of the shard's pseudo-room.
            around: its circumstances.

        Raises:
            UnknownVersionError: the pseudo-room's was written by a newer Rollcall.
            UnreadableRecordError: it is no record.
        """
        self._around = around
        self._pseudo_room = pseudo_room(around.shard)
        self._unreadable: dict[str, Fault] = {}
        self._stored = stored
        # Of the rooms that have been read, and not been put away again.
        self._records: dict[str, Record] = {}
        self._touched: set[str] = set()
        self._put_away: dict[str, Stored] = {}
        self._events: list[list[str | bytes]] = []
        self._alerts: list[list[str | bytes]] = []
        self._dead: list[list[str | bytes]] = []
        self._audit_lines: list[bytes] = []
        self._verdicts: Counter[str] = Counter()
        self._size = 0
        self._until = math.inf
        # When to look again at rooms that could not be looked at, in milliseconds since 1970.
        self._later: dict[str, int] = {}
        if self._pseudo_room in stored:
            self._record(self._pseudo_room)

    def digest(self, arrivals: Sequence[Arrival], *, until: float) -> tuple[Batch, int]:
        """Take arrivals until the batch is full or the time is up.

        At least one, unless time alone, up to when it came, has filled the batch. What time led to
        is committed then, so that the next batch comes further.

        Args:
            arrivals: in inbox order; what is not taken stays in the inbox.
            until: on the monotonic clock. A batch that took longer than the lease holds could
                never be committed, and would come again for ever.

        Returns:
            the batch, and how many arrivals it took.

        Raises:
            UnknownVersionError: a record was written by a newer Rollcall.
        """
        self._until = until
        taken: list[bytes] = []
        last_of = {one.room_sid: one.entry_id for one in arrivals}
        for arrival in arrivals:
            if not self._take(arrival):
                break
            taken.append(arrival.entry_id)
            if last_of[arrival.room_sid] == arrival.entry_id:
                self._finish(arrival.room_sid)
            if self._is_full():
                break
        return self._batch(taken), len(taken)

    def elapse(self, room_sids: Iterable[str], now: int, *, until: float) -> Batch:
        """Let time run in rooms that are due.

        Args:
            room_sids: which; of the records that the batch began with.
            now: a moment of arrival time, in microseconds since 1970.
            until: as above; what is not reached by then stays due.

        Raises:
            UnknownVersionError: as above.
        """
        self._until = until
        for room_sid in dict.fromkeys(room_sids):
            self._record(room_sid)
            self._touched.add(room_sid)
            try:
                whole = self._elapse(room_sid, now)
            except Exception:
                # Whatever it is: one room must not stop the others. It is looked at again, should
                # somebody have mended it.
                log.exception("room_not_looked_at", room_sid=room_sid)
                self._later[room_sid] = now // 1000 + _LATER_MS
                continue
            if room_sid in self._unreadable:
                self._later[room_sid] = now // 1000 + _LATER_MS
            if not whole or self._is_full():
                break
            self._finish(room_sid)
        return self._batch(None)

    def stalled(self, since: int, now: int) -> Batch:
        """Have it told that callbacks of the shard have waited for too long.

        Args:
            since: arrival of the oldest, in microseconds since 1970.
            now: by Redis's clock, likewise.
        """
        record = self._records[self._pseudo_room]
        record = replace(record, facts=replace(record.facts, room_sid=self._pseudo_room))
        found = stalled(record.facts, since, now, self._around.bounds)
        step = steps.stalled(record, since, found, self._around)
        self._keep(self._pseudo_room, step)
        self._touched.add(self._pseudo_room)
        return self._batch(())

    def left(self) -> dict[str, bytes | None]:
        """Tell what is stored of rooms that were read and left as they are.

        Not of those that cannot be read, since somebody may mend them, nor of those that expire.
        """
        return {
            sid: self._stored[sid]
            for sid, record in self._records.items()
            if not (sid in self._touched or sid in self._unreadable or record.facts.expired)
        }

    def _is_full(self) -> bool:
        return self._size > _BATCH_BYTES or time.monotonic() > self._until

    def _batch(self, taken: Sequence[bytes] | None) -> Batch:
        rest = {sid: self._encoded(sid) for sid in sorted(self._touched)}
        return Batch(
            taken=taken,
            rooms=self._put_away | rest,
            audit_lines=b"".join(self._audit_lines),
            verdicts=self._verdicts,
            events=self._events,
            alerts=self._alerts,
            dead=self._dead,
        )

    def _finish(self, room_sid: str) -> None:
        """Put a room away that nothing more in this batch is about.

        The objects of 256 rooms do not fit into a processor's cache: read all before the first
        callback and written all after the last, each of them would be fetched from memory twice.
        """
        # Any callback may turn out to be the pseudo-room's.
        if room_sid in self._touched and room_sid != self._pseudo_room:
            self._put_away[room_sid] = self._encoded(room_sid)
            self._touched.remove(room_sid)
            del self._records[room_sid]

    def _encoded(self, room_sid: str) -> Stored:
        record = self._records[room_sid]
        if room_sid in self._later:
            return Stored(b"", due_ms=self._later[room_sid])
        if record is records.NEW:
            # It is gone, and there is nothing to look at.
            return Stored(b"")
        facts = record.facts
        # Of a room that was never heard of nothing is left either.
        over = facts.expired or not (facts.first or facts.heard)
        # Rounded up: the moment itself must have come.
        due_ms = -(-(next_due(facts) or 0) // 1000)
        keep_ms = self._around.bounds.tombstone // 1000 if over else 0
        return Stored(records.encode(record), keep_ms, due_ms)

    def _record(self, room_sid: str) -> Record:
        record = self._records.get(room_sid)
        if record is None:
            record = self._records[room_sid] = self._read(room_sid)
        return record

    def _read(self, room_sid: str) -> Record:
        try:
            return records.decode(self._stored[room_sid])
        except UnreadableRecordError as error:
            if room_sid == self._pseudo_room:
                raise
            # The record is left as it is, for a person to look at; the other rooms go on.
            self._unreadable[room_sid] = Fault(error.reason, f"{room_sid}: {error}")
            return records.NEW

    def _take(self, arrival: Arrival) -> bool:
        """Take an arrival; false where time alone, up to when it came, has filled the batch."""
        # One that a newer worker wrote is nobody's fault: it ends the batch.
        self._record(arrival.room_sid)
        if arrival.room_sid in self._unreadable:
            fault = self._unreadable[arrival.room_sid]
            arrival = replace(arrival, room_sid=self._pseudo_room, fault=fault)
        if arrival.callback and not arrival.fault:
            try:
                if not self._elapse(arrival.room_sid, arrival.at):
                    return False
                record = self._records[arrival.room_sid]
                outcome = conclude(record.facts, arrival.callback, self._around.bounds)
                concluded = steps.concluded(arrival, record, outcome, self._around)
                self._add(arrival, outcome, *concluded)
            except Exception as error:
                # Whatever it is, it would come again with every try: one callback must not stop
                # the shard. It is kept, with the reason, and said aloud.
                log.exception("callback_not_digested", entry_id=arrival.entry_id.decode())
                fault = Fault(IndigestibleError.reason, f"{type(error).__name__}: {error}")
                arrival = replace(arrival, fault=fault)
        if arrival.fault:
            self._set_aside(arrival, arrival.fault)
        return True

    def _set_aside(self, arrival: Arrival, fault: Fault) -> None:
        around = self._around
        record = self._records[arrival.room_sid]
        params = arrival.deposit.params if arrival.deposit else None
        facts = replace(
            record.facts,
            room_sid=arrival.room_sid,
            account_sid=record.facts.account_sid or dead.account_of(params),
        )
        try:
            outcome = set_aside(facts, arrival.digest, arrival.at, around.bounds)
            told = dead.on_record(arrival, fault, around.scribe, noted=True)
            concluded = steps.concluded(arrival, record, outcome, around, **told)
        except Exception:
            # What failed for the callback may fail for its alert as well; the shard goes on.
            log.exception("alert_not_raised", entry_id=arrival.entry_id.decode())
            outcome = Outcome([], facts, "set-aside", late=False, events=[], alerts=[])
            told = dead.on_record(arrival, fault, around.scribe, noted=False)
            concluded = steps.concluded(arrival, record, outcome, around, **told)
        self._add(arrival, outcome, *concluded)
        if arrival.digest not in facts.set_aside:
            # One that comes again lies there already.
            self._dead.append(dead.entry_of(arrival, fault, around.now()))

    def _elapse(self, room_sid: str, now: int) -> bool:
        """Let time run in a room; false where the batch was full before that was done."""
        record = self._records[room_sid]
        for elapsed in elapse(record.facts, now, self._around.bounds):
            step = steps.elapsed(record, elapsed, self._around)
            record = step.record
            self._keep(room_sid, step)
            self._touched.add(room_sid)
            # Facts know up to when they were looked at, so the rest can wait for the next commit.
            if self._is_full():
                return False
        return True

    def _add(self, arrival: Arrival, outcome: Outcome, *of: Step) -> None:
        for step in of:
            self._keep(arrival.room_sid, step)
        self._touched.add(arrival.room_sid)
        self._verdicts[outcome.verdict] += 1

    def _keep(self, room_sid: str, step: Step) -> None:
        self._records[room_sid] = step.record
        for published, fields in ((step.events, self._events), (step.alerts, self._alerts)):
            for one in published:
                fields.append(one.fields())
                self._size += len(one.data)
        self._audit_lines.append(step.audit_lines)
        self._size += len(step.audit_lines)
