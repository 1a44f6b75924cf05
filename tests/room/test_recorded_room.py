"""The recorded room: a real meeting, played in every order that matters."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from rooms import BOUNDS, concluded, facts_of

from workers.room.view import view

Params = dict[str, str]

FRONT_DESK = "PA5d55d8e77faffa08afe722257cfbce0d"
VISITOR = "PA938d2782cc97b8ddab78ddf3da228d0b"
VISITOR_AGAIN = "PAd4b786d0da9bb973270e31ab080e4850"
MICROPHONE = "MT5c31d6ba58256bf90d0a637015708b90"


def test_the_recorded_room_gives_exactly_these_events(recorded_room: list[Params]) -> None:
    events, alerts = concluded(recorded_room)
    assert Counter(event.kind for event in events) == {
        "room.opened": 1,
        "participant.joined": 3,
        "participant.left": 1,
        "track.published": 8,
        "track.unpublished": 4,
        "track.disabled": 2,
        "track.enabled": 1,
    }
    assert alerts == []


def test_the_third_session_is_known_from_its_tracks_alone(recorded_room: list[Params]) -> None:
    events, _ = concluded(recorded_room)
    joined = [(e.subject, e.data["inferred"]) for e in events if e.kind == "participant.joined"]
    assert joined == [(FRONT_DESK, False), (VISITOR, False), (VISITOR_AGAIN, True)]


def test_the_visitor_left_after_184_seconds_and_the_microphone_went_along(
    recorded_room: list[Params],
) -> None:
    events, _ = concluded(recorded_room)
    (left,) = [event for event in events if event.kind == "participant.left"]
    assert (left.subject, left.data["duration_seconds"], left.data["cause"]) == (
        VISITOR,
        184,
        "disconnected",
    )
    (unpublished,) = [
        event
        for event in events
        if event.kind == "track.unpublished" and event.subject == MICROPHONE
    ]
    assert unpublished.data["cause"] == "participant-left"
    assert unpublished.at == left.at


def test_the_visitors_identity_keeps_its_trailing_space(recorded_room: list[Params]) -> None:
    events, _ = concluded(recorded_room)
    identities = {e.data["identity"] for e in events if e.kind == "participant.joined"}
    assert identities == {"Front Desk", "Visitor's Phone "}


def test_coming_back_ten_seconds_later_is_no_eviction(recorded_room: list[Params]) -> None:
    assert view(facts_of(recorded_room), BOUNDS).evictions == {}


@pytest.mark.parametrize("seed", range(20))
def test_recorded_reversed_and_shuffled_give_the_same_view(
    recorded_room: list[Params], seed: int
) -> None:
    shuffled = random.Random(seed).sample(recorded_room, len(recorded_room))
    expected = view(facts_of(recorded_room), BOUNDS)
    assert view(facts_of(reversed(recorded_room)), BOUNDS) == expected
    assert view(facts_of(shuffled), BOUNDS) == expected


@pytest.mark.parametrize("seed", range(20))
def test_every_order_tells_each_arrival_and_departure_once(
    recorded_room: list[Params], seed: int
) -> None:
    shuffled = random.Random(seed).sample(recorded_room, len(recorded_room))
    told = Counter((e.kind, e.subject) for e in concluded(shuffled * 2)[0])
    once = {key: count for key, count in told.items() if key[0].startswith(("room", "partic"))}
    assert once == {
        ("room.opened", "RM9736b0f0cda54817278ff40a33878174"): 1,
        ("participant.joined", FRONT_DESK): 1,
        ("participant.joined", VISITOR): 1,
        ("participant.joined", VISITOR_AGAIN): 1,
        ("participant.left", VISITOR): 1,
    }
