"""Playing a room again: its logged callbacks and timers told to the heart, and what comes compared.

Of a record only what came in is believed; what came of it is worked out anew. Each record is
compared by itself: whatever came out otherwise, the next one builds on what was logged. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from schemas.audit import RECORDS, SETTLED, TIMER
from schemas.events import CloudEvent
from schemas.parsing import parse_timestamp
from workers.dead import account_of
from workers.intake import callback_from
from workers.pseudonyms import content_digest
from workers.records import NEW, Record
from workers.room.bounds import Bounds
from workers.room.conclude import Outcome, conclude, set_aside
from workers.room.patience import elapse
from workers.room.stall import stalled
from workers.room.value import replace
from workers.steps import Step, publish

Logged = Mapping[str, Any]

_VERDICTS = {event: verdict for verdict, event in RECORDS.items()}
_ROSTER = "rollcall.room.settled"


class NotReplayableError(Exception):
    """From this record on the room cannot be played again; says why."""


class Difference(NamedTuple):
    """Something that came out otherwise than it was logged."""

    what: str
    logged: Any
    replayed: Any


class Played(NamedTuple):
    """A room, as far as it has been played."""

    record: Record = NEW
    # The terms that the last record was concluded on.
    basis: str = ""
    bounds: Bounds = Bounds(before=0, after=0)
    identities: str = ""
    # The heart that it was concluded by.
    code: str = ""


def play(so_far: Played, logged: Logged) -> tuple[Played, list[Difference]]:
    """Play the next record of a room.

    Args:
        so_far: what the records before have led to.
        logged: the record.

    Returns:
        the room with what the log says of it, and what came out otherwise.

    Raises:
        NotReplayableError: the record does not tell what it takes.
    """
    so_far = _on_its_terms(so_far, logged)
    try:
        steps, differences = _steps(so_far.record, logged, so_far.bounds)
    except Exception as error:  # noqa: BLE001  # what today's heart does is what was asked for
        failed = Difference("the heart", "concluded", f"{type(error).__name__}: {error}")
        return _carried_on(so_far, logged), [failed]
    if steps:
        *before, last = steps
        for step in before:
            differences += _compared(step, {"events": [], "alerts": []})
        differences += _compared(last, logged)
        so_far = so_far._replace(record=last.record)
    return _carried_on(so_far, logged), differences


def _on_its_terms(so_far: Played, logged: Logged) -> Played:
    if so_far.basis and logged.get("basis") == so_far.basis:
        return so_far
    terms = logged.get("terms")
    if not isinstance(terms, Mapping):
        raise NotReplayableError("it does not tell the terms that it was concluded on")
    if so_far.identities not in {"", terms["identities"]}:
        raise NotReplayableError("names are written in another way than before")
    known = {name: terms["bounds"][name] for name in Bounds._fields if name in terms["bounds"]}
    return so_far._replace(
        bounds=Bounds(**known),
        basis=logged["basis"],
        identities=terms["identities"],
        code=terms["code"],
    )


def _steps(record: Record, logged: Logged, bounds: Bounds) -> tuple[list[Step], list[Difference]]:
    """Work out what a record leads to, and before it what time alone has led to."""
    if logged["event"] == SETTLED:
        return [], _totals(record, logged)
    if logged["event"] == TIMER:
        return [*_timer(record, logged, bounds)], []
    outcome = _outcome(record, logged, bounds)
    steps = []
    for one in outcome.elapsed:
        steps.append(publish(record, one))
        record = steps[-1].record
    steps.append(publish(record, outcome, late=outcome.late))
    verdict = RECORDS[outcome.verdict]
    return steps, [
        Difference(what, logged[name], came)
        for what, name, came in (("verdict", "event", verdict), ("late", "late", outcome.late))
        if logged[name] != came
    ]


def _timer(record: Record, logged: Logged, bounds: Bounds) -> Iterator[Step]:
    due = parse_timestamp(logged["due"])
    if since := logged.get("stalled_since"):
        facts = replace(record.facts, room_sid=logged["room_sid"])
        found = stalled(facts, parse_timestamp(since), due, bounds)
        yield publish(replace(record, facts=facts), found)
        return
    step = Step(record, [], [])
    for elapsed in elapse(record.facts, due, bounds):
        if step.events or step.alerts:
            # The log has no record of this one.
            yield step
        step = publish(step.record, elapsed)
    yield step


def _outcome(record: Record, logged: Logged, bounds: Bounds) -> Outcome:
    arrived, params = parse_timestamp(logged["arrived"]), logged["params"]
    taken_at = parse_timestamp(logged.get("taken_at", logged["arrived"]))
    if _VERDICTS[logged["event"]] != "set-aside":
        # Where names are hashed, the id is not that of what is written here.
        callback = callback_from(params, arrived)
        callback = replace(callback, id=bytes.fromhex(logged["callback_id"]), arrived=taken_at)
        return conclude(record.facts, callback, bounds)
    facts = replace(
        record.facts,
        room_sid=logged["room_sid"],
        account_sid=record.facts.account_sid or account_of(params),
    )
    if not logged["noted"]:
        return Outcome([], facts, "set-aside", late=False, events=[], alerts=[])
    return set_aside(facts, logged["key"], taken_at, bounds)


def _compared(step: Step, logged: Logged) -> Iterator[Difference]:
    if digests := logged.get("digests"):
        published = [*step.events, *step.alerts]
        came = [content_digest(one, str) for one in published]
        if came != digests and not _is_cut_off(step, digests, came):
            yield Difference("events and alerts", digests, _shown(published, came))
        return
    for name, published in (("events", step.events), ("alerts", step.alerts)):
        came = [one.id for one in published]
        if came != logged[name]:
            yield Difference(name, logged[name], _shown(published, came))


def _is_cut_off(step: Step, digests: list[str], came: list[str]) -> bool:
    """Whether only rosters differ that list as many sessions as fit.

    How many do depends on the length of names, which nobody knows any more.
    """
    published = [*step.events, *step.alerts]
    return len(came) == len(digests) and all(
        one.type == _ROSTER and bool(step.record.facts.rows)
        for one, was, is_ in zip(published, digests, came, strict=True)
        if was != is_
    )


def _shown(published: list[CloudEvent], came: list[str]) -> list[str]:
    return [
        f"{what} ({one.type} of {one.subject} at {one.time})"
        for one, what in zip(published, came, strict=True)
    ]


def _totals(record: Record, logged: Logged) -> list[Difference]:
    ledger = record.ledger
    came = {
        "events": ledger.revision,
        "alerts": ledger.alerts,
        "callbacks": ledger.callbacks,
        "records": ledger.audit_records + 1,
    }
    return [Difference("totals", logged["totals"], came)] if came != logged["totals"] else []


def _carried_on(played: Played, logged: Logged) -> Played:
    """Have the next record build on what was logged of this one."""
    ledger = played.record.ledger
    callbacks, events, alerts = ledger.callbacks, logged["events"], logged["alerts"]
    if verdict := _VERDICTS.get(logged["event"]):
        callbacks = {**callbacks, verdict: callbacks.get(verdict, 0) + 1}
    ledger = replace(
        ledger,
        revision=logged["revision"],
        last_event_id=events[-1] if events else ledger.last_event_id,
        last_alert_id=alerts[-1] if alerts else ledger.last_alert_id,
        alerts=_number_of(alerts[-1]) if alerts else ledger.alerts,
        audit_records=logged["n"],
        callbacks=callbacks,
    )
    return played._replace(record=replace(played.record, ledger=ledger))


def _number_of(alert_id: str) -> int:
    return int(alert_id.split(":")[1].removeprefix("a"))
