"""The conditions of a view: what is wrong in the room now. Their differences are the alerts.

A condition holds only while the room is open: closing resolves all of them, and what is learned
after the end raises nothing. The same condition is never raised twice, since a key names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

from workers.room.bounds import AGAIN_WITHIN, STORM_EVICTIONS, STORM_WITHIN
from workers.room.diff import Event
from workers.room.evictions import Eviction
from workers.room.view import View

SEVERITIES = ("info", "warning", "critical")


class Condition(NamedTuple):
    """One thing that is wrong."""

    alert: str
    dedup_key: str
    subject: str
    severity: str
    # How often, where that matters; a rise while raised is told.
    times: int
    summary: str
    # None where nothing tells: since it was noticed.
    since: int | None
    concerned: dict[str, Any]
    evidence: tuple[str, ...]

    def is_worse_than(self, was: Condition) -> bool:
        """Tell whether the severity or the count rose, even if the other one fell."""
        rank = SEVERITIES.index
        return rank(self.severity) > rank(was.severity) or self.times > was.times


def conditions(view: View) -> dict[str, Condition]:
    """List what is wrong in a view, by dedup key."""
    if view.room and view.room.closed:
        return {}
    by_identity: dict[str, list[Eviction]] = {}
    for eviction in view.evictions.values():
        by_identity.setdefault(eviction.identity, []).append(eviction)
    found = [
        _duplicate_identity(view, identity, sorted(group, key=_when))
        for identity, group in by_identity.items()
    ]
    if view.set_aside:
        found.append(_callback_set_aside(view))
    return {condition.dedup_key: condition for condition in found}


def alerts(before: View, after: View, at: int) -> list[Event]:
    """List what was raised, what grew worse and what was resolved between two views.

    Args:
        before: what was believed.
        after: what is believed now, of the same part of the room.
        at: when that was noticed: the Timestamp of the callback between the two.
    """
    were, are = conditions(before), conditions(after)
    return [
        *(_event("resolved", gone, after, at) for key, gone in were.items() if key not in are),
        *_raised(were, are, after, at),
    ]


def _raised(
    were: dict[str, Condition], are: dict[str, Condition], after: View, at: int
) -> Iterator[Event]:
    for key, condition in are.items():
        was = were.get(key)
        if was is None:
            yield _event("raised", condition, after, at)
        elif condition.is_worse_than(was):
            yield _event("changed", condition, after, at)


def _duplicate_identity(view: View, identity: str, evicted: list[Eviction]) -> Condition:
    last = evicted[-1]
    often = "once" if len(evicted) == 1 else f"{len(evicted)} times"
    return Condition(
        alert="duplicate-identity",
        dedup_key=_key("duplicate-identity", view.room_sid, identity),
        subject=last.evicted_sid,
        severity=_severity([eviction.at for eviction in evicted]),
        times=len(evicted),
        summary=(
            f"{identity!r} was thrown out of room {_called(view)} {often}"
            " because somebody joined under the same identity."
        ),
        since=evicted[0].at,
        concerned={
            "identity": identity,
            "evicted_sid": last.evicted_sid,
            "survivor_sid": last.survivor_sid,
        },
        evidence=last.evidence,
    )


def _severity(times: list[int]) -> str:
    storm = zip(times, times[STORM_EVICTIONS - 1 :], strict=False)
    if any(last - first <= STORM_WITHIN for first, last in storm):
        return "critical"
    if any(second - first <= AGAIN_WITHIN for first, second in pairwise(times)):
        return "warning"
    return "info"


def _callback_set_aside(view: View) -> Condition:
    times = view.set_aside
    return Condition(
        alert="callback-set-aside",
        dedup_key=f"callback-set-aside:{view.room_sid}",
        subject=view.room_sid,
        severity="warning",
        times=times,
        summary=(
            f"{times} callback{'s' * (times > 1)} of room {_called(view)} could not be digested;"
            " they are kept in the stream of the dead, with the reason."
        ),
        since=None,
        concerned={},
        evidence=(),
    )


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
        "since": at if condition.since is None else condition.since,
        "evidence": list(condition.evidence),
    }
    return Event(f"alert.{change}", condition.subject, at, data)


def _called(view: View) -> str:
    return view.room_sid if view.room_name is None else repr(view.room_name)


def _key(alert: str, room_sid: str, identity: str) -> str:
    # Keys travel to pagers and chat rooms: short, of a known length, and without anybody's name.
    return f"{alert}:{room_sid}:{sha256(identity.encode()).hexdigest()[:16]}"


def _when(eviction: Eviction) -> tuple[int, str]:
    return eviction.at, eviction.evicted_sid
