"""The heart's one door: a room's facts and a callback in, new facts and what follows from them out.

facts' = merge(facts, callback)    view = view(facts)    events = diff(view, view')
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from workers.room.announcements import KNOWN_EVENTS
from workers.room.bounds import LATE_AFTER, Bounds
from workers.room.callback import Callback
from workers.room.conditions import alerts
from workers.room.diff import Event, diff
from workers.room.facts import Facts
from workers.room.merge import merge
from workers.room.view import NOBODY, scope_of, view

Verdict = Literal["applied", "duplicate", "unrecognised", "set-aside"]

# Nobody is looked at, so nothing is bounded.
_NO_BOUNDS = Bounds(0, 0)


class Outcome(NamedTuple):
    """What one callback led to."""

    facts: Facts
    verdict: Verdict
    # It came after callbacks that happened more than 5 s later.
    late: bool
    events: list[Event]
    alerts: list[Event]


def set_aside(facts: Facts, key: str, at: int) -> Outcome:
    """Take note that a callback of a room could not be digested.

    Args:
        facts: the room's, with the SIDs that the callback tells should it be the first.
        key: names the callback, the same for a repetition.
        at: its arrival, since it may have no Timestamp; microseconds since 1970.
    """
    noted = facts._replace(set_aside=facts.set_aside | {key})
    before, after = view(facts, _NO_BOUNDS, NOBODY), view(noted, _NO_BOUNDS, NOBODY)
    return Outcome(noted, "set-aside", late=False, events=[], alerts=alerts(before, after, at))


def conclude(facts: Facts, callback: Callback, bounds: Bounds) -> Outcome:
    """Take one callback into the facts and work out what changed in what is to be believed."""
    late = callback.dated and callback.at < facts.latest - LATE_AFTER
    merged = merge(facts, callback)
    if merged is facts:
        return Outcome(facts, "duplicate", late, [], [])
    scope = scope_of(facts, merged, callback)
    before, after = view(facts, bounds, scope), view(merged, bounds, scope)
    return Outcome(
        facts=merged,
        verdict="applied" if callback.event in KNOWN_EVENTS else "unrecognised",
        late=late,
        events=diff(before, after, callback),
        alerts=alerts(before, after, callback.at),
    )
