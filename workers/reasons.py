"""Reasons: why a step of a room came to what it did, as data for the audit.

Taken from what the heart has concluded; nothing is concluded here. The words are those of
`schemas/audit_reasons.py`, and no identity or name is ever among what they tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.logs import iso_milliseconds
from workers.room.bounds import (
    CONTESTED_AFTER,
    PRESUMED_AFTER,
    QUIET_FOR,
    ROOM_END_WITHIN,
    Bounds,
)
from workers.room.callback import Callback
from workers.room.conclude import Outcome
from workers.room.diff import Event
from workers.room.facts import Facts
from workers.room.patience import Elapsed

Reason = dict[str, Any]
_Telling = Callable[[Event, Facts, Bounds], Reason]


def reasons_of_time(led_to: Elapsed, before: Facts, bounds: Bounds) -> list[Reason]:
    """Say why time alone changed what is believed.

    Args:
        led_to: what it has led to.
        before: what was known before.
        bounds: what verdicts are made with.
    """
    telling = _BY_TIME
    if led_to.facts.end is not None and before.end is None:
        # Everybody departs with the room, whoever waited for them.
        telling = {kind: tell for kind, tell in _BY_TIME.items() if kind != "identity.departed"}
    told = [
        telling[event.kind](event, before, bounds)
        for event in led_to.events
        if event.kind in telling
    ]
    return [*told, *map(_alert, led_to.alerts)]


def reasons_of_callback(
    outcome: Outcome, before: Facts, callback: Callback | None, bounds: Bounds
) -> list[Reason]:
    """Say why a callback has the verdict that it has, and what it changed beside the obvious.

    Args:
        outcome: what it has led to.
        before: what was known before, when time had run up to it.
        callback: None where it could not be read; the fault says the rest.
        bounds: what verdicts are made with.
    """
    told: list[Reason] = []
    if outcome.late and callback:
        by_ms = (before.latest - callback.at) // 1000
        told.append(_reason("late", by_ms=by_ms, latest=iso_milliseconds(before.latest)))
    if outcome.verdict == "duplicate":
        told.append(_reason("nothing-new"))
    elif outcome.verdict == "too-late" and callback:
        told.append(_too_late(before, callback))
    if callback and callback.strange and outcome.verdict != "set-aside":
        told.append(_strange(outcome, callback))
    for event in outcome.events:
        if event.kind == "participant.evicted":
            told.append(_evicted(event, outcome.facts, bounds))
        elif event.kind == "participant.eviction-retracted":
            told.append(_retracted(event, outcome))
    return [*told, *map(_alert, outcome.alerts)] if outcome.alerts else told


def reason_of_stall(since: int, bounds: Bounds) -> Reason:
    """Say since when callbacks of a shard have waited."""
    return _reason("stalled", since=iso_milliseconds(since), stalled_ms=bounds.stalled // 1000)


def _reason(why: str, **tells: Any) -> Reason:
    return {"why": why, **tells}


def _too_late(before: Facts, callback: Callback) -> Reason:
    if before.expired:
        return _reason("expired")
    if callback.at <= before.folded_until:
        return _reason(
            "let-go",
            timestamp=iso_milliseconds(callback.at),
            folded_until=iso_milliseconds(before.folded_until),
        )
    return _reason("listed", participant_sid=callback.text("participant_sid"))


def _strange(outcome: Outcome, callback: Callback) -> Reason:
    if outcome.verdict == "unrecognised":
        return _reason("unknown-event", name=callback.event)
    return _reason("unknown-parameters", names=sorted(callback.strange))


def _evicted(event: Event, after: Facts, bounds: Bounds) -> Reason:
    data = event.data
    return _reason(
        "evicted",
        evicted_sid=data["evicted_sid"],
        survivor_sid=data["survivor_sid"],
        evicted_end=iso_milliseconds(event.at),
        survivor_start=iso_milliseconds(after.sessions[data["survivor_sid"]].start),
        gap_ms=data["gap_ms"],
        least_ms=-bounds.before // 1000,
        most_ms=bounds.after // 1000,
        evidence=data["evidence"],
    )


def _retracted(event: Event, outcome: Outcome) -> Reason:
    evicted_sid, ended = event.data["evicted_sid"], outcome.facts.ended
    session = outcome.facts.sessions.get(evicted_sid)
    end = session.ended if session else None
    because = "times"
    if any(
        one.kind == "participant.evicted" and one.subject == evicted_sid for one in outcome.events
    ):
        because = "other-survivor"
    elif ended and end and abs(ended.at - end.at) <= ROOM_END_WITHIN:
        because = "room-ended"
    survivor_sid = event.data["survivor_sid"]
    return _reason(
        "eviction-retracted",
        evicted_sid=evicted_sid,
        survivor_sid=survivor_sid,
        because=because,
    )


def _alert(alert: Event) -> Reason:
    data = alert.data
    return _reason(
        "alert",
        alert=data["alert"],
        change=alert.kind.removeprefix("alert."),
        severity=data["severity"],
        count=data["count"],
    )


def _departed(event: Event, _before: Facts, bounds: Bounds) -> Reason:
    return _reason(
        "departed",
        participant_sid=event.subject,
        left_at=iso_milliseconds(event.data["left_at"]),
        linger_ms=bounds.linger // 1000,
    )


def _contested(event: Event, _before: Facts, _bounds: Bounds) -> Reason:
    sids = event.data["participant_sids"]
    return _reason("contested", participant_sids=sids, after_ms=CONTESTED_AFTER // 1000)


def _missed(event: Event, _before: Facts, bounds: Bounds) -> Reason:
    return _reason("missed", missing=event.data["missing"], gap_ms=bounds.gap // 1000)


def _presumed(_event: Event, before: Facts, _bounds: Bounds) -> Reason:
    heard = iso_milliseconds(before.heard)
    return _reason("presumed", heard=heard, after_ms=PRESUMED_AFTER // 1000)


def _settled(_event: Event, before: Facts, _bounds: Bounds) -> Reason:
    return _reason("settled", heard=iso_milliseconds(before.heard), quiet_ms=QUIET_FOR // 1000)


_BY_TIME: dict[str, _Telling] = {
    "identity.departed": _departed,
    "identity.contested": _contested,
    "room.gap-found": _missed,
    "room.closed": _presumed,
    "room.settled": _settled,
}
