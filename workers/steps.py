"""Steps: what one callback, or one due moment, adds to a batch.

From what the heart has concluded to events and alerts with their place in the room's ledger, and
to the record of the audit. Reads and writes nothing outside; decides nothing about the room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from schemas.audit import RECORDS, SETTLED, TIMER, is_of_a_room
from schemas.events import CloudEvent
from schemas.logs import iso_milliseconds
from workers.arrivals import Arrival
from workers.publish import publish_alert, publish_event
from workers.reasons import reason_of_stall, reasons_of_callback, reasons_of_time
from workers.records import Ledger, Record
from workers.room.bounds import Bounds
from workers.room.conclude import Outcome
from workers.room.facts import Facts
from workers.room.patience import Elapsed
from workers.room.value import Value, replace
from workers.scribe import Scribe


class Circumstances(NamedTuple):
    """What holds for all callbacks of a batch."""

    shard: int
    # What audit records say of it: the task, the worker.
    context: Mapping[str, Any]
    bounds: Bounds
    # Microseconds since 1970, for the audit only: no verdict is made from it.
    now: Callable[[], int]
    scribe: Scribe


class Step(Value):
    """What one callback, or one due moment, adds to the batch."""

    record: Record
    events: list[CloudEvent]
    alerts: list[CloudEvent]
    audit_lines: bytes = b""


def concluded(
    arrival: Arrival, record: Record, outcome: Outcome, around: Circumstances, **fault: Any
) -> list[Step]:
    """Publish what a callback led to, and before it what time had led to until it came.

    Args:
        arrival: the callback.
        record: of its room, before.
        outcome: what it led to.
        around: the circumstances.
        fault: what the record of a callback that was set aside says as well.
    """
    steps = []
    for one in outcome.elapsed:
        steps.append(elapsed(record, one, around))
        record = steps[-1].record
    deposit, before = arrival.deposit, record.facts
    about = {
        "event": RECORDS[outcome.verdict],
        "room_sid": arrival.room_sid,
        "entry_id": arrival.entry_id.decode(),
        "arrived": iso_milliseconds(arrival.at),
        "params": around.scribe.params(deposit.params if deposit else None),
        "idempotency_token": deposit.token if deposit else "",
        # What `evidence` names.
        "callback_id": _callback_id(arrival, around.scribe),
        "late": outcome.late,
        "reasons": reasons_of_callback(outcome, before, arrival.callback, around.bounds),
        **fault,
    }
    if before.looked > arrival.at:
        about["taken_at"] = iso_milliseconds(before.looked)
    step = publish(record, outcome, late=outcome.late)
    step = _audited(step, record.ledger, about, around, verdict=outcome.verdict)
    if _is_to_be_closed(step, around):
        # A duplicate, or what is too late, sets no timer that would close the room once more.
        step = _closed(step, around)
    return [*steps, step]


def elapsed(record: Record, led_to: Elapsed, around: Circumstances) -> Step:
    """Publish what a due moment led to."""
    step = publish(record, led_to)
    if step.events or step.alerts:
        about = _due(record, led_to)
        about["reasons"] = reasons_of_time(led_to, record.facts, around.bounds)
        step = _audited(step, record.ledger, about, around)
    # Else something was let go, or looked at in vain: nobody's belief has changed, and whoever
    # plays the room again finds out by itself.
    ends = _is_over(led_to.facts) and not _is_over(record.facts)
    if ends or (step.audit_lines and _is_to_be_closed(step, around)):
        return _closed(step, around)
    return step


def stalled(record: Record, since: int, led_to: Elapsed, around: Circumstances) -> Step:
    """Publish that callbacks of a shard have waited since then.

    It is recorded in any case: nothing else tells when it was found.
    """
    about = _due(record, led_to)
    about["stalled_since"] = iso_milliseconds(since)
    told = reasons_of_time(led_to, record.facts, around.bounds)
    about["reasons"] = [reason_of_stall(since, around.bounds), *told]
    step = _audited(publish(record, led_to), record.ledger, about, around)
    return _closed(step, around) if _is_to_be_closed(step, around) else step


def publish(record: Record, led_to: Outcome | Elapsed, *, late: bool = False) -> Step:
    """Give what the heart has concluded its place in the room's ledger; no audit yet."""
    ledger, facts = record.ledger, led_to.facts
    events, alerts = [], []
    for event in led_to.events:
        ledger, published = publish_event(ledger, facts, event, late=late)
        events.append(published)
    for alert in led_to.alerts:
        ledger, published = publish_alert(ledger, facts, alert)
        alerts.append(published)
    if isinstance(led_to, Elapsed) and ledger.evictions:
        # What was let go cannot be retracted any more.
        kept = {sid: data for sid, data in ledger.evictions.items() if sid in facts.sessions}
        ledger = replace(ledger, evictions=kept)
    return Step(Record(facts=facts, ledger=ledger), events, alerts)


def _is_over(facts: Facts) -> bool:
    """Whether no more is expected of a room: what its records say can be signed."""
    return facts.quiet or facts.expired


def _is_to_be_closed(step: Step, around: Circumstances) -> bool:
    """Whether what the records of a room say is to be signed now.

    More is always expected of an account and of a shard, so each record of theirs is closed by
    itself; where nobody signs, nothing would be gained by it.
    """
    facts = step.record.facts
    signs_each = not is_of_a_room(facts.room_sid) and around.scribe.key_id is not None
    return _is_over(facts) or signs_each


def _callback_id(arrival: Arrival, scribe: Scribe) -> str | None:
    return scribe.digest(arrival.callback.id.hex()) if arrival.callback else None


def _due(record: Record, led_to: Elapsed) -> dict[str, Any]:
    return {
        "event": TIMER,
        "room_sid": record.facts.room_sid,
        "due": iso_milliseconds(led_to.at),
    }


def _audited(
    step: Step,
    before: Ledger,
    about: Mapping[str, Any],
    around: Circumstances,
    *,
    verdict: str = "",
) -> Step:
    """Put a step on record; `about` is what only this kind of record says."""
    ledger, events, alerts = step.record.ledger, step.events, step.alerts
    record = {
        **_written(around),
        "revision_before": before.revision,
        "revision": ledger.revision,
        "events": around.scribe.ids(events),
        "alerts": around.scribe.ids(alerts),
        **around.scribe.digests(events, alerts),
        **about,
        "reasons": around.scribe.reasons(about["reasons"]),
    }
    ledger, line = around.scribe.write(ledger, record, verdict)
    return Step(Record(facts=step.record.facts, ledger=ledger), events, alerts, line)


def _closed(step: Step, around: Circumstances) -> Step:
    """Add the closing record, for a room of which no more is expected.

    Whether the roster is another than the last time or not: every record before it is signed then.
    """
    ledger = step.record.ledger
    closing = {
        **_written(around),
        "event": SETTLED,
        "room_sid": step.record.facts.room_sid,
        "revision_before": ledger.revision,
        "revision": ledger.revision,
        "events": [],
        "alerts": [],
        "reasons": [],
    }
    ledger, line = around.scribe.close(ledger, closing)
    lines = step.audit_lines + line
    return replace(step, record=replace(step.record, ledger=ledger), audit_lines=lines)


def _written(around: Circumstances) -> dict[str, Any]:
    return {
        "time": iso_milliseconds(around.now()),
        "shard": around.shard,
        **around.context,
    }
