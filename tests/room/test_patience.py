"""The laws of the heart with a clock that moves: whoever looks when, it concludes the same."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from timed import (
    BOUNDS,
    HOUR,
    LONG,
    MINUTE,
    SHORT,
    Timed,
    Told,
    agree,
    folded,
    looks,
    tell,
    timed,
)

from workers import records
from workers.room.callback import Callback
from workers.room.conclude import conclude, set_aside
from workers.room.conditions import conditions
from workers.room.diff import Event, diff
from workers.room.facts import NOTHING, Facts
from workers.room.patience import elapse, next_due
from workers.room.value import replace
from workers.room.view import View, view

# All waits but the longest, and before anything is let go.
PATIENT = 9 * MINUTE


def steps(callbacks: Iterable[Callback]) -> Iterable[tuple[Facts, list[Event], list[Event]]]:
    """Everything that happens, one thing after the other, with Redis in between."""
    facts = NOTHING
    for callback in callbacks:
        if callback.said.get("room_name") == "":
            # Somebody's worker could not digest it, but knows which room it is about.
            facts = replace(facts, room_sid=callback.room_sid)
            outcome = set_aside(facts, callback.id.hex(), callback.arrived, BOUNDS)
        else:
            outcome = conclude(facts, callback, BOUNDS)
        for one in (*outcome.elapsed, outcome):
            yield one.facts, one.events, one.alerts
        facts = stored(outcome.facts)
    while (due := next_due(facts)) is not None:
        (elapsed,) = elapse(facts, due, BOUNDS)
        yield elapsed.facts, elapsed.events, elapsed.alerts
        facts = stored(elapsed.facts)


def stored(facts: Facts) -> Facts:
    read = records.decode(records.encode(records.Record(facts=facts))).facts
    assert read == facts
    return read


@given(timed())
def test_at_every_moment_folding_the_events_gives_the_view(history: Timed) -> None:
    heard: list[Event] = []
    for facts, events, _ in steps(history.callbacks()):
        heard += events
        assert agree(folded(heard), view(facts, BOUNDS))


@given(timed())
def test_at_every_moment_the_alerts_raised_are_the_conditions_of_the_view(history: Timed) -> None:
    raised: set[str] = set()
    for facts, _, alerts in steps(history.callbacks()):
        for alert in alerts:
            key = alert.data["dedup_key"]
            assert (key in raised) == (alert.kind != "alert.raised")
            if alert.kind == "alert.resolved":
                raised.remove(key)
            else:
                raised.add(key)
        assert raised == conditions(view(facts, BOUNDS), BOUNDS).keys()


@given(timed(), looks())
def test_it_makes_no_difference_when_somebody_looks(history: Timed, moments: list[int]) -> None:
    callbacks = history.callbacks()
    assert tell(callbacks, looks=moments, until=100 * HOUR) == tell(callbacks, until=100 * HOUR)


@given(timed(*SHORT, *LONG))
def test_looking_only_at_what_is_due_misses_nothing(history: Timed) -> None:
    facts = tell(history.callbacks()).facts
    while (due := next_due(facts)) is not None:
        before, seen = facts, view(facts, BOUNDS)
        # Nothing changes before it is due.
        assert view(before, BOUNDS, now=due - 1) == seen
        (elapsed,) = elapse(facts, due, BOUNDS)
        presumed = elapsed.facts.presumed or before.presumed
        after = view(replace(before, looked=due, presumed=presumed), BOUNDS)
        told = [one for one in elapsed.events if one.kind != "room.settled"]
        assert sorted(told, key=repr) == sorted(diff(seen, after, None, due), key=repr)
        facts = elapsed.facts


@given(timed())
def test_in_the_end_nothing_is_raised_stored_or_waited_for(history: Timed) -> None:
    told = tell(history.callbacks(), until=1000 * HOUR)
    assert next_due(told.facts) is None
    assert conditions(view(told.facts, BOUNDS), BOUNDS) == {}
    assert told.facts.sessions == {}
    assert told.facts.told == {}
    believed = folded(told.events)
    assert believed.room is None or believed.room.closed
    assert not any(person.here for person in believed.identities.values())


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[Timed, Timed]:
    one = draw(timed(0, 1000, 999_000))
    again = draw(st.lists(st.sampled_from(one.history), max_size=3)) if one.history else []
    history = draw(st.permutations([*one.history, *again]))
    return one, Timed(history, [*one.gaps, *(1000 for _ in again)])


@given(shuffled())
def test_in_any_order_the_verdicts_are_the_same_once_all_waits_are_over(
    histories: tuple[Timed, Timed],
) -> None:
    one, other = (tell(history.callbacks(), until=PATIENT) for history in histories)
    seen = [view(told.facts, BOUNDS) for told in (one, other)]
    assert seen[0] == seen[1]
    assert _wrong(seen[0]) == _wrong(seen[1])
    assert _roster(one) == _roster(other)


def _wrong(seen: View) -> set[tuple[str, str, int]]:
    found = conditions(seen, BOUNDS).values()
    return {(one.dedup_key, one.severity, one.times) for one in found}


def _roster(told: Told) -> object:
    rosters = [one.data for one in told.events if one.kind == "room.settled"]
    return {**rosters[-1], "edition": None} if rosters else None
