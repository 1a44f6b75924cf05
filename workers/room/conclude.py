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
from workers.room.view import scope_of, view

Verdict = Literal["applied", "duplicate", "unrecognised"]


class Outcome(NamedTuple):
    """What one callback led to."""

    facts: Facts
    verdict: Verdict
    # It came after callbacks that happened more than 5 s later.
    late: bool
    events: list[Event]
    alerts: list[Event]


def conclude(facts: Facts, callback: Callback, bounds: Bounds) -> Outcome:
    """Take one callback into the facts and work out what changed in what is to be believed."""
    late = callback.at < facts.latest - LATE_AFTER
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
