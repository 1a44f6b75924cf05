"""The laws of the heart over random histories: order, repetition and batches do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import count

from hypothesis import given
from strategies import histories, retellings

from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import Outcome, conclude
from workers.room.diff import diff
from workers.room.facts import NOTHING
from workers.room.merge import merge
from workers.room.view import view

BOUNDS = Bounds(before=250_000, after=15_000_000)
ARRIVED = 1_700_000_000_000_000
Params = dict[str, str]


def read(history: Iterable[Params], arrived: int = ARRIVED) -> list[Callback]:
    # No two arrive at the same time, and a repetition never when the first did.
    arrivals = count(arrived, 7_000_000)
    return [callback_from(params, next(arrivals)) for params in history]


def shuffled(history: list[Params], again: list[Params]) -> list[Callback]:
    """The same callbacks with their arrivals in another order, and some of them once more later."""
    known = {repr(one): [] for one in history}
    for params, callback in zip(history, read(history), strict=True):
        known[repr(params)].append(callback)
    later = count(ARRIVED + 3_600_000_000, 7_000_000)
    return [
        known[repr(params)].pop(0) if known[repr(params)] else callback_from(params, next(later))
        for params in again
    ]


def told(history: Iterable[Params]) -> list[Outcome]:
    facts, outcomes = NOTHING, []
    for callback in read(history):
        outcomes.append(conclude(facts, callback, BOUNDS))
        facts = outcomes[-1].facts
    return outcomes


@given(retellings())
def test_any_order_and_any_repetition_gives_the_same_facts_and_view(
    retelling: tuple[list[Params], list[Params]],
) -> None:
    one = reduce(merge, read(retelling[0]), NOTHING)
    other = reduce(merge, shuffled(*retelling), NOTHING)
    assert one == other
    assert view(one, BOUNDS) == view(other, BOUNDS)


@given(histories)
def test_merging_a_callback_again_gives_back_the_very_same_facts(history: list[Params]) -> None:
    facts = reduce(merge, read(history), NOTHING)
    for callback in read(reversed(history), ARRIVED + 3_600_000_000):
        assert merge(facts, callback) is facts


@given(histories)
def test_merging_leaves_the_facts_it_was_given_as_they_were(history: list[Params]) -> None:
    facts = NOTHING
    for callback in read(history):
        copy = repr(facts)
        after = merge(facts, callback)
        assert repr(facts) == copy
        facts = after


@given(histories)
def test_looking_only_at_what_was_touched_misses_nothing(history: list[Params]) -> None:
    facts = NOTHING
    for callback in read(history):
        outcome = conclude(facts, callback, BOUNDS)
        facts = outcome.elapsed[-1].facts if outcome.elapsed else facts
        before = view(facts, BOUNDS, now=outcome.facts.looked)
        whole = diff(before, view(outcome.facts, BOUNDS), callback, callback.at)
        assert sorted(outcome.events, key=repr) == sorted(whole, key=repr)
        facts = outcome.facts


@given(histories)
def test_no_belief_is_published_twice(history: list[Params]) -> None:
    events = [event for outcome in told(history) for event in outcome.events]
    once = ("room.opened", "room.closed", "participant.joined", "participant.left", "recording.")
    heard = [(event.kind, event.subject) for event in events if event.kind.startswith(once)]
    assert len(heard) == len(set(heard))


@given(histories)
def test_what_is_implied_is_published_before_what_implies_it(history: list[Params]) -> None:
    heard: list[tuple[str, str]] = []
    for event in (event for outcome in told(history) for event in outcome.events):
        needs = {
            "room.closed": "room.opened",
            "participant.left": "participant.joined",
            "participant.evicted": "participant.left",
            "track.unpublished": "track.published",
            "track.disabled": "track.published",
        }.get(event.kind)
        if needs:
            assert (needs, event.subject) in heard
        heard.append((event.kind, event.subject))
