"""The laws of snapshots over random histories: whoever goes on from one believes the view."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from readers import believed
from rooms import connected
from strategies import sid
from timed import BOUNDS, HOUR, Timed, Told, agree, looks, tell, timed

from console.snapshot import snapshot
from workers.records import Ledger, Record
from workers.room.fold import fold
from workers.room.view import View, view


def taken(told: Told) -> dict[str, Any] | None:
    """The snapshot of a room, as it reaches whoever asks for it."""
    record = Record(facts=told.facts, ledger=Ledger(revision=len(told.events)))
    made = snapshot(record, BOUNDS)
    return None if made is None else json.loads(json.dumps(made))


def test_what_was_missed_is_told_in_ranges_as_the_events_have_it() -> None:
    numbers = (0, 1, 4, 5, 7)
    heard = [connected(sid("PA", n), n, f"P{n}") | {"SequenceNumber": str(n)} for n in numbers]
    told = tell(Timed(heard, [0] * len(heard)).callbacks(), until=HOUR)
    (gap,) = [event.data["missing"] for event in told.events if event.kind == "room.gap-found"]
    made = taken(told)
    assert made is not None
    assert made["missing"] == [[2, 3], [6, 6]] == [list(one) for one in gap]
    assert "missed-callbacks" in [one["alert"] for one in made["alerts"]]
    assert believed(made).missing == ((2, 3), (6, 6))


@given(timed(), looks(), st.data())
def test_a_snapshot_at_any_time_and_the_events_after_it_give_the_view(
    history: Timed, looks: list[int], data: st.DataObject
) -> None:
    callbacks = history.callbacks()
    until = data.draw(st.sampled_from((None, 0, HOUR, 60 * HOUR)))
    at = data.draw(st.integers(0, len(callbacks)))
    all_told = tell(callbacks, looks=looks, until=until)
    begin = taken(tell(callbacks[:at], looks=looks))
    # Where no room is known yet, all that will be known of it is still to come.
    known = View() if begin is None else believed(begin)
    revision = 0 if begin is None else begin["revision"]
    seen = view(all_told.facts, BOUNDS)
    found = reduce(fold, all_told.events[revision:], known)
    # What is told once is not in a snapshot.
    assert agree(replace(found, told=seen.told), seen)


@given(timed(), looks())
def test_what_is_wrong_in_a_snapshot_is_what_was_raised_and_not_resolved(
    history: Timed, looks: list[int]
) -> None:
    told = tell(history.callbacks(), looks=looks)
    raised: set[str] = set()
    for one in told.alerts:
        key = one.data["dedup_key"]
        (raised.discard if one.kind == "alert.resolved" else raised.add)(key)
    made = taken(told)
    if made is not None:
        assert {one["dedup_key"] for one in made["alerts"]} == raised
