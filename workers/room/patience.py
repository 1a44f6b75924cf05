"""Patience: what changes in a room by time alone, and when to look again.

The clock is an argument. Whoever has a callback to apply first lets time run up to its arrival, one
due moment after the other, so that it makes no difference when somebody looked. All waits count
from arrival: a recording played today concludes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workers.room.alerts import alerts
from workers.room.bounds import PRESUMED_AFTER, QUIET_FOR, Bounds
from workers.room.conditions import by_identity
from workers.room.diff import Event, diff, located
from workers.room.episodes import episode_waits
from workers.room.evictions import Eviction
from workers.room.facts import Facts
from workers.room.identities import identity_waits
from workers.room.roster import settled
from workers.room.sequences import holes, missed_at
from workers.room.tallies import old_at, remainder, without_the_old
from workers.room.value import Value, replace
from workers.room.view import NOBODY, Scope, View, view


class Elapsed(Value):
    """What one due moment led to."""

    facts: Facts
    at: int
    events: list[Event]
    alerts: list[Event]


def next_due(facts: Facts) -> int | None:
    """When to look at a room again, in arrival time; None where nothing is waited for."""
    # Every callback asks, so this goes over the people of a large room in one sweep.
    soonest = min(facts.waits.values(), default=0)
    return min(facts.due, soonest) if facts.due and soonest else facts.due or soonest or None


def elapse(facts: Facts, until: int, bounds: Bounds) -> Iterator[Elapsed]:
    """Let time run, one due moment after the other; one goes on with the facts of the last."""
    while (due := next_due(facts)) is not None and due <= until:
        elapsed = _at(facts, due, bounds)
        yield elapsed
        facts = elapsed.facts


def waiting(facts: Facts, seen: View, scope: Scope | None, bounds: Bounds) -> Facts:
    """Work out anew when to look again, at the room and at the people that a scope names.

    Args:
        facts: of the room.
        seen: the view of them within the scope.
        scope: None for the whole room.
        bounds: what verdicts are made with.
    """
    people = facts.people if scope is None else scope.identities
    due = _room_due(facts, bounds)
    if scope is not None and not people:
        return facts if due == facts.due else replace(facts, due=due)
    waits = {} if scope is None else {**facts.waits}
    evicted = by_identity(seen)
    for identity in people:
        at = 0
        if identity in facts.people:
            at = _identity_due(facts, identity, evicted.get(identity, []), bounds)
        if at:
            waits[identity] = at
        else:
            waits.pop(identity, None)
    return replace(facts, waits=waits, due=due)


def _at(facts: Facts, due: int, bounds: Bounds) -> Elapsed:
    """Look at everything that is due at one moment."""
    people = frozenset(identity for identity, at in facts.waits.items() if at == due)
    closing = facts.due == due and due == _presumed_at(facts)
    scope = None if closing else Scope(frozenset(), frozenset(), people)
    before = view(facts, bounds, scope, now=due - 1)
    after_facts = replace(facts, looked=due)
    if closing:
        after_facts = replace(after_facts, presumed=due)
    if facts.stall and due >= facts.stall.until:
        after_facts = replace(after_facts, stall=None)
    after = view(after_facts, bounds, scope)
    events = diff(before, after, None, due)
    if facts.due == due and due == _settled_at(facts):
        whole = view(after_facts, bounds)
        after_facts, roster = settled(after_facts, whole, due)
        events += located(roster, whole)
        # Said or the same as before: there is nothing to wait for until more is heard.
        after_facts = replace(after_facts, quiet=True)
    for identity in _in_order(people, facts) if after_facts.end is None else ():
        after_facts = without_the_old(after_facts, identity, due, bounds)
    raised = []
    if facts.due == due and due == _expires_at(facts, bounds):
        raised = alerts(before, after, bounds, due)
        after_facts, before, scope = remainder(after_facts), after, NOBODY
    # From what is left: should less be known of somebody's past than it takes, that is told too.
    seen = view(after_facts, bounds, scope)
    raised += alerts(before, seen, bounds, due)
    if after_facts.expired:
        scope = None
    return Elapsed(waiting(after_facts, seen, scope, bounds), due, events, raised)


def _in_order(people: frozenset[str], facts: Facts) -> list[str]:
    """The same order in every process, which a set does not have: what is listed, is so in turn."""
    return sorted(people & facts.people.keys(), key=facts.people.__getitem__)


def _identity_due(facts: Facts, identity: str, evicted: list[Eviction], bounds: Bounds) -> int:
    if facts.end is not None:
        # Nobody can come back, and the roster wants all who are still known.
        return 0
    moments = [
        *identity_waits(facts, identity, bounds),
        *episode_waits(evicted, facts.carried.get(identity)),
        *old_at(facts, identity, bounds),
    ]
    return _next(moments, facts)


def _room_due(facts: Facts, bounds: Bounds) -> int:
    gaps = [missed_at(seen, bounds.gap) for _, _, seen in holes(facts.sequences)]
    stalled = facts.stall.until if facts.stall else None
    moments = [*gaps, _settled_at(facts), _presumed_at(facts), _expires_at(facts, bounds), stalled]
    return _next(moments, facts)


def _next(moments: Iterable[int | None], facts: Facts) -> int:
    looked = facts.looked
    return min([one for one in moments if one is not None and one > looked], default=0)


def _settled_at(facts: Facts) -> int | None:
    if facts.end is None or facts.quiet:
        return None
    return max(facts.heard, facts.presumed or 0) + QUIET_FOR


def _presumed_at(facts: Facts) -> int | None:
    return None if facts.end is not None or facts.first is None else facts.heard + PRESUMED_AFTER


def _expires_at(facts: Facts, bounds: Bounds) -> int | None:
    if facts.expired:
        # What came later, of recordings and compositions, is let go as well.
        return facts.heard + bounds.keep if facts.told else None
    if facts.end is not None:
        closed = facts.presumed if facts.end_heard is None else facts.end_heard
        # What came just before is still to be on the roster.
        return max((closed or 0) + bounds.keep, _settled_at(facts) or 0)
    # No room was ever heard of here, only of what is not known or bound to none.
    return facts.heard + PRESUMED_AFTER if facts.first is None and facts.heard else None
