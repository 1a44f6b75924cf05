"""What Rollcall is measured beside: on callbacks that come in order, it comes to the same."""

from __future__ import annotations

from itertools import islice, pairwise
from random import Random

import pytest
from rooms import concluded

from benchmarks.meetings import DUPLICATES, SHUFFLED, Meeting, Params, disturbed, traffic
from benchmarks.plain.room import apply, new_room


def of_plain(meeting: list[Params]) -> list[tuple[str, str, str]]:
    room = new_room()
    changes = [one for params in meeting for one in apply(room, params)]
    return [(one.type, one.subject, one.time) for one in changes]


@pytest.mark.parametrize("seed", range(20))
def test_the_plain_receiver_says_of_a_meeting_in_order_what_rollcall_says(seed: int) -> None:
    meeting = [*Meeting(Random(seed)).callbacks()]
    times = {params["Timestamp"] for params in meeting}
    said = of_plain(meeting)
    events, _ = concluded(meeting)
    assert [one[:2] for one in said] == [(one.kind, one.subject) for one in events]
    assert {time for _, _, time in said} <= times
    assert {kind for kind, _, _ in said} >= {"room.opened", "participant.joined", "room.closed"}


def test_the_meetings_hold_everything_that_is_compared() -> None:
    meetings = [[*Meeting(Random(seed)).callbacks()] for seed in range(20)]
    assert {kind for meeting in meetings for kind, _, _ in of_plain(meeting)} == {
        "room.opened",
        "room.closed",
        "participant.joined",
        "participant.left",
        "participant.evicted",
        "track.published",
        "track.unpublished",
        "track.enabled",
        "track.disabled",
    }


def test_the_plain_receiver_says_nothing_twice_when_a_callback_comes_twice() -> None:
    meeting = [*Meeting(Random(1)).callbacks()]
    assert of_plain([one for params in meeting for one in (params, params)]) == of_plain(meeting)


def test_one_in_a_hundred_callbacks_comes_twice_and_five_are_overtaken() -> None:
    random = Random(1)
    told = [{"n": str(number)} for number in range(20_000)]
    heard = [int(one["n"]) for one in disturbed(told, random)]
    assert sorted({*heard}) == [*range(20_000)]
    assert (len(heard) - 20_000) / 20_000 == pytest.approx(DUPLICATES, rel=0.2)
    overtaken = sum(one > after for one, after in pairwise(heard))
    assert overtaken / 20_000 == pytest.approx(SHUFFLED, rel=0.2)


def test_the_same_seed_tells_the_same_of_as_many_rooms_as_are_asked_for() -> None:
    first, second = ([*islice(traffic(3, rooms=50), 4_000)] for _ in range(2))
    assert first == second
    early = {params["RoomSid"] for params in first[:1_000]}
    assert len(early) == pytest.approx(50, abs=15)
    assert [*islice(traffic(4, rooms=50), 10)] != first[:10]
