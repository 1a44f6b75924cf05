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
from workers.room.conditions import conditions
from workers.room.diff import diff
from workers.room.facts import NOTHING, Facts
from workers.room.fold import fold
from workers.room.merge import merge
from workers.room.view import View, view

BOUNDS = Bounds(before=250_000, after=15_000_000)
ARRIVED = 1_700_000_000_000_000
Params = dict[str, str]


def read(history: Iterable[Params]) -> list[Callback]:
    # No two arrive at the same time, and a repetition never when the first did.
    arrived = count(ARRIVED, 7_000_000)
    return [callback_from(params, next(arrived)) for params in history]


def merged(history: Iterable[Params]) -> Facts:
    return reduce(merge, read(history), NOTHING)


def told(history: Iterable[Params]) -> tuple[Facts, list[Outcome]]:
    facts, outcomes = NOTHING, []
    for callback in read(history):
        outcomes.append(conclude(facts, callback, BOUNDS))
        facts = outcomes[-1].facts
    return facts, outcomes


def folded(outcomes: Iterable[Outcome]) -> View:
    events = (event for outcome in outcomes for event in outcome.events)
    return reduce(fold, events, View())


@given(retellings())
def test_any_order_and_any_repetition_gives_the_same_facts_and_view(
    retelling: tuple[list[Params], list[Params]],
) -> None:
    one, other = merged(retelling[0]), merged(retelling[1])
    assert one == other
    assert view(one, BOUNDS) == view(other, BOUNDS)


@given(histories)
def test_merging_a_callback_again_gives_back_the_very_same_facts(history: list[Params]) -> None:
    facts = merged(history)
    for callback in read(reversed(history)):
        assert merge(facts, callback) is facts


@given(histories)
def test_merging_leaves_the_facts_it_was_given_as_they_were(history: list[Params]) -> None:
    facts = NOTHING
    for callback in read(history):
        copy = repr(facts)
        after = merge(facts, callback)
        assert repr(facts) == copy
        facts = after


@given(retellings())
def test_folding_the_events_gives_the_view_in_any_order(
    retelling: tuple[list[Params], list[Params]],
) -> None:
    for history in retelling:
        facts, outcomes = told(history)
        assert folded(outcomes) == view(facts, BOUNDS)


@given(histories)
def test_looking_only_at_what_was_touched_misses_nothing(history: list[Params]) -> None:
    facts = NOTHING
    for callback in read(history):
        outcome = conclude(facts, callback, BOUNDS)
        whole = diff(view(facts, BOUNDS), view(outcome.facts, BOUNDS), callback)
        assert sorted(outcome.events, key=repr) == sorted(whole, key=repr)
        facts = outcome.facts


@given(histories)
def test_alerts_raised_and_not_resolved_are_the_conditions_of_the_view(
    history: list[Params],
) -> None:
    facts, outcomes = told(history)
    raised: dict[str, str] = {}
    for alert in (alert for outcome in outcomes for alert in outcome.alerts):
        key = alert.data["dedup_key"]
        if alert.kind == "alert.resolved":
            del raised[key]
        else:
            assert (key in raised) == (alert.kind == "alert.changed")
            raised[key] = alert.data["severity"]
    assert raised.keys() == conditions(view(facts, BOUNDS)).keys()


@given(histories)
def test_no_belief_is_published_twice(history: list[Params]) -> None:
    _, outcomes = told(history)
    events = [event for outcome in outcomes for event in outcome.events]
    once = ("room.", "participant.joined", "participant.left", "recording.")
    heard = [(event.kind, event.subject) for event in events if event.kind.startswith(once)]
    assert len(heard) == len(set(heard))


@given(histories)
def test_what_is_implied_is_published_before_what_implies_it(history: list[Params]) -> None:
    _, outcomes = told(history)
    heard: list[tuple[str, str]] = []
    for event in (event for outcome in outcomes for event in outcome.events):
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
