"""Histories with a clock: callbacks with the times at which they arrive, and somebody who looks.

Arrivals cluster around the waits of the heart, and have nothing to do with the Timestamps: a
recording may be played today, and a callback may be late by days.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any, NamedTuple

from hypothesis import strategies as st
from strategies import histories

from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import conclude
from workers.room.diff import Event
from workers.room.facts import NOTHING, Facts
from workers.room.fold import fold
from workers.room.patience import elapse
from workers.room.view import View

Params = dict[str, str]

# A small room, so that it is full now and then.
BOUNDS = Bounds(before=250_000, after=15_000_000, capacity=3)
ARRIVED = 1_700_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
# Around the waits: 1 s between two words of a storm, 2 s contested, 5 s linger, 10 s gap, 60 s
# quiet, 90 s ghost, 5 min calm, 10 min fold, 24 h and 25 h.
_WAITS = (SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, MINUTE, 90 * SECOND, 5 * MINUTE, 10 * MINUTE)
SHORT = (0, 1000, *(wait + by for wait in _WAITS[:4] for by in (-1000, 0, 1000)))
LONG = (*(wait + by for wait in _WAITS for by in (-1000, 0, 1000)), HOUR, 24 * HOUR, 25 * HOUR)


class Told(NamedTuple):
    """What the heart made of a history."""

    facts: Facts
    # (what led to it, the event), in order.
    events: list[Event]
    alerts: list[Event]


class Timed(NamedTuple):
    """A history, and how long after the one before each callback arrives."""

    history: list[Params]
    gaps: list[int]

    def callbacks(self) -> list[Callback]:
        at, read = ARRIVED, []
        for params, gap in zip(self.history, self.gaps, strict=True):
            at += gap
            read.append(callback_from(params, at))
        return read


@st.composite
def timed(draw: st.DrawFn, *waits: int) -> Timed:
    history = draw(histories)
    size = len(history)
    waits = waits or (0, 0, *SHORT, *LONG)
    return Timed(history, draw(st.lists(st.sampled_from(waits), min_size=size, max_size=size)))


def looks() -> st.SearchStrategy[list[int]]:
    """When somebody looks at the room though nothing came: so long after the first callback."""
    return st.lists(st.integers(0, 60 * HOUR) | st.sampled_from(LONG), max_size=6)


def tell(
    callbacks: Iterable[Callback], *, looks: Iterable[int] = (), until: int | None = None
) -> Told:
    """Tell a history to the heart.

    Args:
        callbacks: in the order in which they arrive.
        looks: when time is let run without a callback, as long as none that arrived waits.
        until: how long after the last callback the room is looked at once more.
    """
    facts, events, alerts = NOTHING, [], []
    moments = sorted(ARRIVED + look for look in looks)
    last = ARRIVED

    def run(now: int) -> None:
        nonlocal facts
        for one in elapse(facts, now, BOUNDS):
            facts = one.facts
            events.extend(one.events)
            alerts.extend(one.alerts)

    for callback in callbacks:
        while moments and moments[0] < callback.arrived:
            run(moments.pop(0))
        outcome = conclude(facts, callback, BOUNDS)
        facts, last = outcome.facts, callback.arrived
        for one in (*outcome.elapsed, outcome):
            events += one.events
            alerts += one.alerts
    if until is not None:
        run(last + until)
    return Told(facts, events, alerts)


def folded(events: Iterable[Event]) -> View:
    return reduce(fold, events, View())


def agree(believed: View, seen: View) -> bool:
    """Whether a consumer believes what the view says, and of what was let go only what is over."""
    if seen.room is None and believed.room is not None and believed.room.closed:
        # The room has expired.
        return _over(believed, View())
    return (
        believed.room == seen.room
        and believed.missing == seen.missing
        and believed.told >= seen.told
        and _over(believed, seen)
    )


def _over(believed: View, seen: View) -> bool:
    def rest(of: str) -> list[Any]:
        all_of, known = getattr(believed, of), getattr(seen, of)
        assert {key: all_of.get(key) for key in known} == known
        return [one for key, one in all_of.items() if key not in known]

    return (
        all(session.left for session in rest("sessions"))
        and all(track.unpublished for track in rest("tracks"))
        and not any(person.here or person.contested for person in rest("identities"))
        and rest("evictions") is not None
    )
