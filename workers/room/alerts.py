"""Alerts: the difference of what was wrong and what is."""

from __future__ import annotations

from collections.abc import Iterator

from workers.room.bounds import Bounds
from workers.room.conditions import Condition, conditions
from workers.room.diff import Event, Moment
from workers.room.view import View


def alerts(before: View, after: View, bounds: Bounds, at: int) -> list[Event]:
    """List what was raised, what grew worse and what was resolved between two views.

    Args:
        before: what was believed.
        after: what is believed now, of the same part of the room.
        bounds: what verdicts are made with.
        at: when that was noticed: the Timestamp of the callback between the two, or the moment that
            was due.
    """
    if _on_the_same_grounds(before, after):
        return []
    were, are = conditions(before, bounds), conditions(after, bounds)
    return [
        *(_event("resolved", gone, after, at) for key, gone in were.items() if key not in are),
        *_raised(were, are, after, at),
    ]


def _on_the_same_grounds(before: View, after: View) -> bool:
    """Whether nothing differs that any condition is made of, as with most callbacks.

    To compare what it is made of costs a tenth of making it.
    """
    of, now = before.facts, after.facts
    return (
        not (before.identities or after.identities or before.evictions or after.evictions)
        and before.missing == after.missing
        and of.present == now.present
        and of.end == now.end
        and of.set_aside is now.set_aside
        and of.failed == now.failed
        and of.recordings_failed is now.recordings_failed
        and of.stall is now.stall
    )


def _raised(
    were: dict[str, Condition], are: dict[str, Condition], after: View, at: int
) -> Iterator[Event]:
    for key, condition in are.items():
        was = were.get(key)
        if was is None:
            yield _event("raised", condition, after, at)
        elif condition.is_worse_than(was):
            yield _event("changed", condition, after, at)


def _event(change: str, condition: Condition, view: View, at: int) -> Event:
    data = {
        "alert": condition.alert,
        "dedup_key": condition.dedup_key,
        "severity": condition.severity,
        "summary": condition.summary,
        "room_sid": view.room_sid,
        "room_name": view.room_name,
        **condition.concerned,
        "count": condition.times,
        "since": None if condition.since is None else Moment(condition.since),
        "evidence": list(condition.evidence),
    }
    return Event(f"alert.{change}", condition.subject, at, data)
