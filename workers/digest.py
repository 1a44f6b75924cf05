"""Digesting a batch: inbox entries and stored records in, all that one commit writes out.

No I/O. The difference is taken after every callback, in inbox order; a batch shares the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

import structlog

from schemas import inbox
from schemas.audit import RECORDS, AuditVerdict, seal
from schemas.callbacks import room_of
from schemas.errors import IndigestibleError
from schemas.events import CloudEvent
from schemas.logs import iso_milliseconds
from workers import records
from workers.intake import callback_from
from workers.publish import publish_alert, publish_event
from workers.records import Record
from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import Outcome, conclude, set_aside
from workers.store import Batch, Entry

# What a batch takes in and gives out at the most, in bytes; a larger one would block Redis.
BATCH_BYTES = 1 << 20

# The door writes two fields; what else may lie in an inbox is kept as far as is sensible.
_STRANGE_FIELDS = 32

log = structlog.get_logger()


class Arrival(NamedTuple):
    """An inbox entry, read as far as it can be."""

    entry_id: bytes
    fields: Mapping[bytes, bytes]
    room_sid: str
    deposit: inbox.Deposit | None
    callback: Callback | None
    # Why it cannot be digested: an error's reason and its text.
    fault: tuple[str, str] | None

    @property
    def at(self) -> int:
        """Arrival time, in microseconds since 1970."""
        return int(self.entry_id.partition(b"-")[0]) * 1000


class Digested(NamedTuple):
    """A batch, ready to be committed, and the lines to log once it is."""

    batch: Batch
    audit_lines: list[bytes]


def read_entries(shard: int, entries: Iterable[Entry]) -> list[Arrival]:
    """Read the entries of one batch, as many as fit into BATCH_BYTES; at least one."""
    arrivals: list[Arrival] = []
    size = 0
    for entry_id, fields in entries:
        size += sum(len(value) for value in fields.values())
        if arrivals and size > BATCH_BYTES:
            break
        arrivals.append(_read_entry(shard, entry_id, fields))
    return arrivals


def _read_entry(shard: int, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Arrival:
    # An entry that tells no room is accounted for in a pseudo-room of its shard.
    arrival = Arrival(entry_id, fields, f"shard-{shard}", None, None, None)
    try:
        arrival = arrival._replace(deposit=inbox.decode(fields))
        params = arrival.deposit.params  # type: ignore[union-attr]
        arrival = arrival._replace(room_sid=room_of(params))
        return arrival._replace(callback=callback_from(params, arrival.at))
    except KeyError as error:
        return arrival._replace(fault=(IndigestibleError.reason, f"without {error}"))
    except IndigestibleError as error:
        return arrival._replace(fault=(error.reason, str(error)))


class Digester:
    """Takes the arrivals of one batch, one after the other."""

    def __init__(
        self,
        stored: Mapping[str, bytes | None],
        bounds: Bounds,
        context: Mapping[str, Any],
        now: Callable[[], int],
    ) -> None:
        """Begin a batch.

        Args:
            stored: the records of all rooms that it is about.
            bounds: what verdicts are made with.
            context: what every audit record says of its circumstances (shard, task, worker).
            now: microseconds since 1970, for the audit only.

        Raises:
            UnknownVersionError: a record was written by a newer Rollcall.
        """
        self._records = {sid: records.decode(one) for sid, one in stored.items()}
        self._bounds = bounds
        self._context = context
        self._now = now
        self._touched: set[str] = set()
        self._events: list[list[str | bytes]] = []
        self._alerts: list[list[str | bytes]] = []
        self._dead: list[list[str | bytes]] = []
        self._audit_lines: list[bytes] = []
        self._size = 0

    def digest(self, arrivals: Iterable[Arrival]) -> Digested:
        """Take the arrivals until the batch is full; what is left stays in the inbox."""
        last_id = b""
        for arrival in arrivals:
            self._take(arrival)
            last_id = arrival.entry_id
            if self._size > BATCH_BYTES:
                break
        rooms = {sid: records.encode(self._records[sid]) for sid in sorted(self._touched)}
        batch = Batch(last_id, rooms, self._events, self._alerts, self._dead)
        return Digested(batch, self._audit_lines)

    def _take(self, arrival: Arrival) -> None:
        self._touched.add(arrival.room_sid)
        if arrival.callback is None or arrival.fault:
            self._set_aside(arrival)
            return
        try:
            self._conclude(arrival, arrival.callback)
        except Exception as error:
            # Whatever it is, it would come again with every try: one callback must not stop the
            # shard. It is kept, with the reason, and said aloud.
            log.exception("callback_not_digested", entry_id=arrival.entry_id.decode())
            fault = (IndigestibleError.reason, f"{type(error).__name__}: {error}")
            self._set_aside(arrival._replace(fault=fault))

    def _conclude(self, arrival: Arrival, callback: Callback) -> None:
        record = self._records[arrival.room_sid]
        self._publish(arrival, record, conclude(record.facts, callback, self._bounds))

    def _publish(self, arrival: Arrival, record: Record, outcome: Outcome, **why: str) -> None:
        ledger = record.ledger
        events, alerts = [], []
        for event in outcome.events:
            ledger, published = publish_event(ledger, outcome.facts, event, late=outcome.late)
            events.append(published)
        for alert in outcome.alerts:
            ledger, published = publish_alert(ledger, outcome.facts, alert)
            alerts.append(published)
        self._records[arrival.room_sid] = Record(facts=outcome.facts, ledger=ledger)
        self._events += self._entries(events)
        self._alerts += self._entries(alerts)
        self._audit(
            arrival,
            outcome.verdict,
            late=outcome.late,
            revision_before=record.ledger.revision,
            events=[one.id for one in events],
            alerts=[one.id for one in alerts],
            **why,
        )

    def _set_aside(self, arrival: Arrival) -> None:
        reason, detail = arrival.fault or (IndigestibleError.reason, "")
        entry: list[str | bytes] = ["entry_id", arrival.entry_id, "room_sid", arrival.room_sid]
        entry += ["reason", reason, "detail", detail, "at", iso_milliseconds(self._now())]
        for name, value in islice(arrival.fields.items(), _STRANGE_FIELDS):
            entry += [b"entry." + name, value]
        self._dead.append(entry)
        record = self._records[arrival.room_sid]
        key = sha256(b"\n".join(arrival.fields.values())).hexdigest()[:16]
        try:
            outcome = set_aside(record.facts, key, arrival.room_sid, arrival.at)
        except Exception:
            # What failed for the callback may fail for its alert as well; the shard goes on.
            log.exception("alert_not_raised", entry_id=arrival.entry_id.decode())
            outcome = Outcome(record.facts, "set-aside", late=False, events=[], alerts=[])
        self._publish(arrival, record, outcome, reason=reason, detail=detail)

    def _audit(self, arrival: Arrival, verdict: AuditVerdict, **told: Any) -> None:
        record = self._records[arrival.room_sid]
        ledger = record.ledger
        number = ledger.audit_records + 1
        deposit = arrival.deposit
        digest, line = seal(
            {
                "event": RECORDS[verdict],
                "time": iso_milliseconds(self._now()),
                "room_sid": arrival.room_sid,
                "n": number,
                "prev": ledger.audit_head,
                "entry_id": arrival.entry_id.decode(),
                "arrived": iso_milliseconds(arrival.at),
                "params": deposit.params if deposit else None,
                # What `evidence` and `callback_id` of derived events name.
                "callback_id": arrival.callback.id.hex() if arrival.callback else None,
                "idempotency_token": deposit.token if deposit else "",
                "revision": ledger.revision,
                **told,
                **self._context,
            }
        )
        self._size += len(line)
        self._audit_lines.append(line)
        self._records[arrival.room_sid] = record._replace(
            ledger=ledger._replace(audit_records=number, audit_head=digest)
        )

    def _entries(self, published: list[CloudEvent]) -> list[list[str | bytes]]:
        self._size += sum(len(one.data) for one in published)
        return [one.fields() for one in published]
