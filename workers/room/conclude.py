"""The heart's one door: a room's facts and a callback in, new facts and what follows from them out.

facts' = merge(facts, callback)    view = view(facts, now)    events = diff(view, view')
"""

from __future__ import annotations

from typing import Literal

from workers.room.alerts import alerts
from workers.room.announcements import KNOWN_EVENTS
from workers.room.bounds import LATE_AFTER, Bounds
from workers.room.callback import Callback
from workers.room.diff import Event, diff
from workers.room.facts import Facts
from workers.room.merge import merge
from workers.room.patience import Elapsed, elapse, waiting
from workers.room.tallies import is_too_late
from workers.room.value import Value, replace
from workers.room.view import NOBODY, scope_of, view

Verdict = Literal["applied", "duplicate", "too-late", "unrecognised", "set-aside"]

# More would make facts grow without bound; each is in the stream of the dead as well.
_MOST_SET_ASIDE = 500


class Outcome(Value):
    """What one callback led to."""

    # What time alone had led to before it came.
    elapsed: list[Elapsed]
    facts: Facts
    verdict: Verdict
    # It came after callbacks that happened more than 5 s later.
    late: bool
    events: list[Event]
    alerts: list[Event]


def set_aside(facts: Facts, key: str, at: int, bounds: Bounds) -> Outcome:
    """Take note that a callback of a room could not be digested.

    Args:
        facts: the room's, with the SIDs that the callback tells should it be the first.
        key: names the callback, the same for a repetition.
        at: its arrival, since it may have no Timestamp; microseconds since 1970.
        bounds: what verdicts are made with.
    """
    elapsed = [*elapse(facts, at, bounds)]
    facts = elapsed[-1].facts if elapsed else facts
    if facts.expired:
        # Nothing is raised of a room that is over. It is kept with the dead all the same.
        return Outcome(elapsed, facts, "set-aside", late=False, events=[], alerts=[])
    noted = facts
    if len(facts.set_aside) < _MOST_SET_ASIDE:
        noted = replace(facts, set_aside=facts.set_aside | {key})
    noted = _heard(noted, max(at, facts.looked))
    before, after = view(facts, bounds, NOBODY, now=noted.looked), view(noted, bounds, NOBODY)
    raised = alerts(before, after, bounds, at)
    noted = waiting(noted, after, NOBODY, bounds)
    return Outcome(elapsed, noted, "set-aside", late=False, events=[], alerts=raised)


def conclude(facts: Facts, callback: Callback, bounds: Bounds) -> Outcome:
    """Take one callback into the facts and work out what changed in what is to be believed."""
    elapsed = [*elapse(facts, callback.arrived, bounds)]
    facts = elapsed[-1].facts if elapsed else facts
    if callback.arrived < facts.looked:
        # Redis's clock may have been set back; time does not run backwards here.
        callback = replace(callback, arrived=facts.looked)
    late = callback.dated and callback.at < facts.latest - LATE_AFTER
    if is_too_late(facts, callback):
        return Outcome(elapsed, facts, "too-late", late, [], [])
    merged = merge(facts, callback)
    if merged is facts:
        return Outcome(elapsed, facts, "duplicate", late, [], [])
    merged = _heard(merged, callback.arrived)
    scope = scope_of(facts, merged, callback)
    before, after = view(facts, bounds, scope, now=merged.looked), view(merged, bounds, scope)
    return Outcome(
        elapsed=elapsed,
        facts=waiting(merged, after, scope, bounds),
        verdict="applied" if callback.event in KNOWN_EVENTS else "unrecognised",
        late=late,
        events=diff(before, after, callback, callback.at),
        alerts=alerts(before, after, bounds, callback.at),
    )


def _heard(facts: Facts, at: int) -> Facts:
    return replace(facts, looked=at, heard=at, quiet=False)
