"""Publishing: from the heart's events to CloudEvents with their place in the room's ledger."""

from __future__ import annotations

from typing import Any

from schemas.events import TYPE_PREFIX, CloudEvent, chain_digest, encode_data, source_of
from schemas.logs import iso_milliseconds
from workers.records import Ledger
from workers.room.diff import Event, Moment
from workers.room.facts import Facts
from workers.room.value import replace

# Most of what an event tells. Told apart here, it is not asked three times what it is not.
_AS_IT_IS = frozenset({str, int, bool, type(None)})


def publish_event(
    ledger: Ledger, facts: Facts, event: Event, *, late: bool
) -> tuple[Ledger, CloudEvent]:
    """Make a derived event out of a change of belief, the next one of its room."""
    revision = ledger.revision + 1
    ledger, event = _as_published(ledger, event)
    published = _cloud_event(
        facts,
        event,
        stem=f"{facts.room_sid}:{revision}",
        previous_id=ledger.last_event_id,
        extensions={"roomrevision": str(revision), "late": "true" if late else "false"},
    )
    return replace(ledger, revision=revision, last_event_id=published.id), published


def _as_published(ledger: Ledger, event: Event) -> tuple[Ledger, Event]:
    """Have a retraction carry the data of the eviction that it withdraws, as it was published."""
    if event.kind == "participant.evicted":
        return replace(ledger, evictions=ledger.evictions | {event.subject: event.data}), event
    if event.kind == "participant.eviction-retracted":
        rest = dict(ledger.evictions)
        event = replace(event, data=rest.pop(event.subject, event.data))
        return replace(ledger, evictions=rest), event
    return ledger, event


def publish_alert(ledger: Ledger, facts: Facts, alert: Event) -> tuple[Ledger, CloudEvent]:
    """Make a published alert out of one of the heart's, the next one of its room."""
    number = ledger.alerts + 1
    ledger, alert = _with_its_beginning(ledger, alert)
    published = _cloud_event(
        facts,
        alert,
        stem=f"{facts.room_sid}:a{number}",
        previous_id=ledger.last_alert_id,
        extensions={"roomalert": str(number)},
    )
    return replace(ledger, alerts=number, last_alert_id=published.id), published


def _with_its_beginning(ledger: Ledger, alert: Event) -> tuple[Ledger, Event]:
    """Say since when it is, where the heart cannot tell: since it was raised."""
    if alert.data["since"] is not None:
        return ledger, alert
    key = alert.data["dedup_key"]
    since = ledger.raised.get(key, alert.at)
    raised = {one: at for one, at in ledger.raised.items() if one != key}
    if alert.kind != "alert.resolved":
        raised[key] = since
    alert = replace(alert, data={**alert.data, "since": Moment(since)})
    return replace(ledger, raised=raised), alert


def _written(value: Any) -> Any:
    """Write the times in the data of an event as text."""
    if isinstance(value, Moment):
        return iso_milliseconds(value)
    if isinstance(value, dict):
        return {
            name: one if type(one) in _AS_IT_IS else _written(one) for name, one in value.items()
        }
    if isinstance(value, list):
        return [_written(one) for one in value]
    return value


def _cloud_event(
    facts: Facts, event: Event, *, stem: str, previous_id: str, extensions: dict[str, str]
) -> CloudEvent:
    type_, time, data = (
        TYPE_PREFIX + event.kind,
        iso_milliseconds(event.at),
        encode_data(_written(event.data)),
    )
    digest = chain_digest(previous_id, type_, event.subject, time, data)
    return CloudEvent(
        id=f"{stem}:{digest}",
        source=source_of(facts.account_sid, facts.room_sid),
        type=type_,
        subject=event.subject,
        time=time,
        data=data,
        extensions={"roomsid": facts.room_sid, **extensions},
    )
