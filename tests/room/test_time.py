"""What time does, told in small stories: persons, ghosts, gaps, storms, rosters, and the end."""

from __future__ import annotations

from typing import Any

import pytest
from rooms import (
    CAMERA,
    LAPTOP,
    PHONE,
    TABLET,
    Params,
    callback,
    connected,
    created,
    disconnected,
    ended,
    track,
)
from strategies import sid
from timed import ARRIVED, BOUNDS, HOUR, MINUTE, SECOND, Told, tell

from workers.intake import callback_from
from workers.room.bounds import CALM_AFTER, QUIET_FOR
from workers.room.conditions import conditions
from workers.room.diff import Event
from workers.room.view import view

FOREVER = 100 * HOUR


def play(*told: tuple[float, Params], until: int = 0) -> Told:
    """Tell callbacks, each so many seconds after the first has arrived."""
    callbacks = [callback_from(params, ARRIVED + round(at * SECOND)) for at, params in told]
    return tell(callbacks, until=until)


def kinds(events: list[Event], noun: str) -> list[str]:
    return [event.kind for event in events if event.kind.startswith(noun)]


def alerts(told: Told, name: str) -> list[tuple[str, float, Any]]:
    """The changes of one alert: what, when it was noticed after the start, and how often."""
    return [
        (one.kind.removeprefix("alert."), one.data["severity"], one.data["count"])
        for one in told.alerts
        if one.data["alert"] == name
    ]


# -- persons --------------------------------------------------------------------------------------


def test_somebody_departs_five_seconds_after_the_end_was_heard() -> None:
    told = play((0, created()), (1, connected(PHONE, 0)), (61, disconnected(PHONE, 1)), until=HOUR)
    *_, arrived, _left, departed = told.events
    assert (arrived.kind, arrived.subject) == ("identity.arrived", PHONE)
    assert (departed.kind, departed.subject) == ("identity.departed", PHONE)
    assert departed.at == ARRIVED + 66 * SECOND
    assert departed.data["left_at"] == callback_from(disconnected(PHONE, 1), 0).at


@pytest.mark.parametrize(("away", "departed"), [(4.999, False), (5.0, True)])
def test_who_is_back_within_the_linger_has_not_departed(away: float, departed: bool) -> None:
    told = play(
        (0, connected(PHONE, 0)), (9, disconnected(PHONE, 9)), (9 + away, connected(TABLET, 9))
    )
    expected = ["identity.arrived", *["identity.departed", "identity.arrived"] * departed]
    assert kinds(told.events, "identity.") == expected


def test_an_eviction_never_looks_like_the_person_leaving() -> None:
    for order in ((1, 2), (2, 1)):
        told = (
            play(
                (0, connected(PHONE, 0)),
                (60 + order[0], connected(LAPTOP, 60_000)),
                (60 + order[1], disconnected(PHONE, 60_100)),
                until=HOUR,
            )
            if order == (1, 2)
            else play(
                (0, connected(PHONE, 0)),
                (61, disconnected(PHONE, 60_100)),
                (62, connected(LAPTOP, 60_000)),
                until=HOUR,
            )
        )
        assert kinds(told.events, "identity.") == ["identity.arrived"]
        assert kinds(told.events, "participant.e") == ["participant.evicted"]


def test_a_late_disconnect_does_not_remove_a_rejoined_participant() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (60, connected(LAPTOP, 60_000)),
        (60 + 3600, disconnected(PHONE, 59_000)),
        until=MINUTE,
    )
    seen = view(told.facts, BOUNDS)
    assert seen.sessions[PHONE].left
    assert not seen.sessions[LAPTOP].left
    assert seen.identities["Dana"].here
    assert "identity.departed" not in kinds(told.events, "identity.")


def test_a_session_of_which_only_the_end_was_heard_brings_nobody_back() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (60, disconnected(PHONE, 60_000)),
        (100, disconnected(LAPTOP, 30_000)),
        until=HOUR,
    )
    assert kinds(told.events, "identity.") == ["identity.arrived", "identity.departed"]


def test_two_sessions_at_once_are_contested_after_two_seconds_until_one_ends() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (60, connected(LAPTOP, 60_000)),
        (80, disconnected(PHONE, 80_000)),
        until=HOUR,
    )
    contested, uncontested = [one for one in told.events if "contested" in one.kind]
    assert contested.data["participant_sids"] == [PHONE, LAPTOP]
    assert (contested.subject, contested.at) == (LAPTOP, ARRIVED + 62 * SECOND)
    assert (uncontested.kind, uncontested.data["participant_sids"]) == (
        "identity.uncontested",
        [PHONE, LAPTOP],
    )


# -- evictions, storms, ghosts --------------------------------------------------------------------


def thrown_out(*starts: float) -> list[tuple[float, Params]]:
    """Sessions of one person that begin so many seconds in, each thrown out by the next."""
    told: list[tuple[float, Params]] = [(0, connected(sid("PA", 10), 0))]
    for number, start in enumerate(starts, start=11):
        at = round(start * 1000)
        told += [
            (start, connected(sid("PA", number), at)),
            (start, disconnected(sid("PA", number - 1), at)),
        ]
    return told


def test_a_duplicate_identity_is_resolved_five_minutes_after_the_last_eviction() -> None:
    told = play(*thrown_out(60, 300), until=HOUR)
    assert alerts(told, "duplicate-identity") == [
        ("raised", "info", 1),
        ("changed", "warning", 2),
        ("resolved", "warning", 2),
    ]
    assert told.alerts[-1].at == ARRIVED + 300 * SECOND + CALM_AFTER


def test_a_storm_is_one_alert_that_is_told_anew_at_most_once_a_second() -> None:
    starts = [10 + 0.25 * number for number in range(40)]
    told = play(*thrown_out(*starts), until=HOUR)
    storm = [one for one in told.alerts if one.data["alert"] == "eviction-storm"]
    assert [one.kind for one in storm][:1] == ["alert.raised"]
    assert [one.kind for one in storm][-1:] == ["alert.resolved"]
    changes = [one for one in storm if one.kind == "alert.changed"]
    assert len(changes) == 10
    assert {one.data["severity"] for one in storm} == {"critical"}
    assert changes[-1].data["count"] == 40
    assert changes[-1].data["evicted_sid"] == sid("PA", 49)
    assert changes[-1].data["survivor_sid"] == sid("PA", 50)
    assert changes[-1].data["since"] == callback_from(connected(PHONE, 10_000), 0).at


def test_a_session_whose_person_came_anew_is_a_ghost_after_90_seconds() -> None:
    told = play((0, connected(PHONE, 0)), (10, connected(LAPTOP, 10_000)), until=HOUR)
    assert alerts(told, "ghost-participant") == [("raised", "warning", 1)]
    ghost = next(one for one in told.alerts if one.data["alert"] == "ghost-participant")
    assert (ghost.subject, ghost.at) == (PHONE, ARRIVED + 100 * SECOND)
    assert ghost.data["participant_sids"] == [PHONE]


def test_a_ghost_stays_one_when_the_newer_session_is_let_go() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (10, connected(LAPTOP, 10_000)),
        (20, disconnected(LAPTOP, 20_000)),
        until=HOUR,
    )
    assert LAPTOP not in told.facts.sessions
    assert alerts(told, "ghost-participant") == [("raised", "warning", 1)]


# -- gaps -----------------------------------------------------------------------------------------


def numbered(number: int, at: int = 0) -> Params:
    params = track("added", PHONE, at, sid("MT", number))
    return params | {"SequenceNumber": str(number)}


def test_a_hole_is_told_after_ten_seconds_and_again_when_it_closes_by_parts() -> None:
    told = play(
        (0, numbered(2)), (1, numbered(9)), (30, numbered(5)), (31, numbered(3)), until=HOUR
    )
    gaps = [one for one in told.events if one.kind.startswith("room.gap")]
    assert [(one.kind, one.data["missing"]) for one in gaps] == [
        ("room.gap-found", [[3, 8]]),
        ("room.gap-closed", [[5, 5]]),
        ("room.gap-closed", [[3, 3]]),
    ]
    assert gaps[0].at == ARRIVED + 11 * SECOND
    assert view(told.facts, BOUNDS).missing == ((4, 4), (6, 8))
    assert alerts(told, "missed-callbacks") == [("raised", "warning", 6)]


def test_without_numbers_nothing_is_missing() -> None:
    told = play((0, created()), (1, connected(PHONE, 0)), until=HOUR)
    assert kinds(told.events, "room.gap") == []


# -- rooms ----------------------------------------------------------------------------------------


def test_the_roster_is_exact_and_told_again_only_when_it_has_changed() -> None:
    meeting = [
        (0, created()),
        (1, connected(PHONE, 0)),
        (2, track("added", PHONE, 100)),
        (60, connected(LAPTOP, 60_000)),
        (61, disconnected(PHONE, 60_300, duration=60)),
        (90, ended(90_000, duration=90)),
        # Nothing new in it for the roster.
        (200, callback("recording-completed", 95_000, RecordingSid=sid("RT", 1))),
        (400, disconnected(LAPTOP, 80_000)),
    ]
    told = play(*meeting, until=HOUR)
    first, second = [one for one in told.events if one.kind == "room.settled"]
    assert (first.at, second.at) == (
        ARRIVED + 90 * SECOND + QUIET_FOR,
        ARRIVED + 400 * SECOND + QUIET_FOR,
    )
    start = callback_from(created(), 0).at
    phone, laptop = first.data["sessions"]
    assert phone == {
        "participant_sid": PHONE,
        "identity": "Dana",
        "start": start,
        "end": start + 60_300_000,
        "seconds": 60,
        "evicted_by": LAPTOP,
        "tracks": [
            {
                "track_sid": CAMERA,
                "kind": "video",
                "name": "camera",
                "start": start + 100_000,
                "end": start + 60_300_000,
            }
        ],
    }
    assert (laptop["end"], laptop["evicted_by"]) == (start + 90_000_000, None)
    assert second.data["sessions"][1]["end"] == start + 80_000_000
    assert [one.data["edition"] for one in (first, second)] == [1, 2]
    assert (first.data["duration_seconds"], first.data["missing"]) == (90, [])


def test_who_was_let_go_is_on_the_roster() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (10, disconnected(PHONE, 10_000)),
        (2000, connected(LAPTOP, 2_000_000)),
        (2001, ended(2_100_000)),
        until=HOUR,
    )
    assert PHONE not in told.facts.sessions
    (settled,) = [one for one in told.events if one.kind == "room.settled"]
    assert [one["participant_sid"] for one in settled.data["sessions"]] == [PHONE, LAPTOP]


def test_a_room_of_which_nothing_more_is_heard_is_presumed_to_have_ended() -> None:
    told = play((0, created()), (1, connected(PHONE, 1_000)), until=26 * HOUR)
    (closed,) = [one for one in told.events if one.kind == "room.closed"]
    assert (closed.data["end"], closed.at) == ("presumed", ARRIVED + SECOND + 25 * HOUR)
    assert conditions(view(told.facts, BOUNDS), BOUNDS) == {}


def test_what_comes_after_that_opens_nothing_again() -> None:
    told = play((0, created()), (1, connected(PHONE, 1_000)), (26 * 3600, connected(LAPTOP, 2_000)))
    assert kinds(told.events, "room.")[:2] == ["room.opened", "room.closed"]
    assert view(told.facts, BOUNDS).sessions[LAPTOP].left


def test_what_is_too_late_changes_nothing() -> None:
    before = play((0, connected(PHONE, 0)), (10, disconnected(PHONE, 10_000)), until=30 * MINUTE)
    after = play(
        (0, connected(PHONE, 0)),
        (10, disconnected(PHONE, 10_000)),
        (1810, track("added", PHONE, 9_000)),
    )
    assert after == before


def test_nearly_full_is_a_warning_and_full_is_critical() -> None:
    people = [connected(sid("PA", number), number, f"person {number}") for number in range(10)]
    bounds = BOUNDS._replace(capacity=10)
    for count, severity in ((8, None), (9, "warning"), (10, "critical")):
        facts = tell([callback_from(one, ARRIVED) for one in people[:count]]).facts
        found = conditions(view(facts, bounds), bounds)
        assert [one.severity for one in found.values()] == ([severity] if severity else [])


def test_a_recording_that_failed_is_wrong_even_after_the_end_of_its_room() -> None:
    failed = callback("recording-failed", 95_000, RecordingSid=sid("RT", 1))
    told = play((0, created()), (90, ended(90_000)), (100, failed), until=FOREVER)
    assert alerts(told, "recording-failed") == [
        ("raised", "critical", 1),
        ("resolved", "critical", 1),
    ]
    assert told.alerts[-1].at == ARRIVED + 90 * SECOND + 24 * HOUR


# -- found by a review ----------------------------------------------------------------------------


def test_who_comes_back_arrives_with_the_new_session_at_its_time() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (60, disconnected(PHONE, 60_000)),
        (120, connected(LAPTOP, 120_000)),
    )
    *_, again = [one for one in told.events if one.kind == "identity.arrived"]
    assert (again.subject, again.data["inferred"]) == (LAPTOP, False)
    assert again.at == callback_from(connected(LAPTOP, 120_000), 0).at


def test_an_end_heard_before_its_connect_keeps_a_person_who_is_coming_back() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (61, disconnected(PHONE, 60_000)),
        (64, disconnected(LAPTOP, 63_500)),
        (64.1, connected(LAPTOP, 62_000)),
        (67, connected(TABLET, 66_900)),
    )
    assert kinds(told.events, "identity.") == ["identity.arrived"]


def test_a_storm_counts_all_of_itself_however_long_it_lasts() -> None:
    starts = [20 * number for number in range(1, 91)]
    told = play(*thrown_out(*starts), until=HOUR)
    storm = [one for one in told.alerts if one.data["alert"] == "eviction-storm"]
    counts = [one.data["count"] for one in storm if one.kind != "alert.resolved"]
    assert counts == list(range(3, 91))
    assert {one.data["since"] for one in storm} == {callback_from(connected(PHONE, 20_000), 0).at}
    # One page for one storm: what it grows by is not told twice.
    assert alerts(told, "duplicate-identity") == [
        ("raised", "info", 1),
        ("changed", "warning", 2),
        ("changed", "critical", 3),
        ("resolved", "critical", 3),
    ]


def test_what_has_calmed_down_is_not_held_against_anybody() -> None:
    told = play(*thrown_out(10, 20, 30, 500, 4000), until=HOUR)
    raised = [one.data for one in told.alerts if one.kind == "alert.raised"]
    assert [(one["alert"], one["severity"], one["count"]) for one in raised] == [
        ("duplicate-identity", "info", 1),
        ("eviction-storm", "critical", 3),
        # Within ten minutes of the one before, but the storm is over.
        ("duplicate-identity", "warning", 1),
        ("duplicate-identity", "info", 1),
    ]


@pytest.mark.parametrize("late", [track("removed", PHONE, 10_001), disconnected(PHONE, 10_500)])
def test_what_trails_behind_a_session_that_was_let_go_is_too_late(late: Params) -> None:
    history = [(0, connected(PHONE, 0)), (10, disconnected(PHONE, 10_000))]
    history += [(700, connected(LAPTOP, 700_000))]
    assert play(*history, (1900, late)) == play(*history, until=0)


def test_an_expired_room_takes_recordings_and_nothing_else() -> None:
    history = [(0, created()), (90, ended(90_000))]
    unknown = callback("participant-painted", 0, SequenceNumber="9", RoomStatus="failed")
    recording = callback("recording-completed", 95_000, RecordingSid=sid("RT", 1))
    later = 30 * 3600
    told = play(*history, (later, unknown), (later + 1, unknown), (later + 60, recording))
    assert [one.kind for one in told.events][-2:] == ["room.settled", "recording.completed"]
    assert told.alerts == []


def test_a_straggler_just_before_the_room_is_forgotten_is_still_on_the_roster() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (90, ended(90_000)),
        (90 + 24 * 3600 - 20, disconnected(PHONE, 50_000)),
        until=HOUR,
    )
    rosters = [one.data for one in told.events if one.kind == "room.settled"]
    assert [one["sessions"][0]["seconds"] for one in rosters] == [90, 50]
    assert told.facts.expired


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    told = play(
        (0, connected(PHONE, 0)),
        (30 * 3600, connected(LAPTOP, 10_000)),
        (10, disconnected(LAPTOP, 20_000)),
        (20, ended(90_000)),
        until=100 * HOUR,
    )
    assert told.facts.expired


def test_a_number_that_no_room_can_have_makes_no_hole() -> None:
    told = play((0, numbered(1)), (1, numbered(10**15)), until=HOUR)
    assert kinds(told.events, "room.gap") == []


def test_holes_are_told_together_once_a_second() -> None:
    history = [
        (0, numbered(0)),
        *((number / 1000, numbered(2 * number)) for number in range(1, 200)),
    ]
    told = play(*history, until=HOUR)
    assert len(kinds(told.events, "room.gap")) == 1
    (raised,) = told.alerts[:1]
    assert (raised.data["count"], len(raised.data["missing"])) == (199, 20)


def test_a_page_refresh_in_a_nearly_full_room_changes_nothing() -> None:
    people = [(0.0, connected(sid("PA", number), 0, f"person {number}")) for number in range(2)]
    refresh = [
        (60.0, connected(LAPTOP, 60_000, "person 0")),
        (60.1, disconnected(sid("PA", 0), 60_000)),
    ]
    told = play(*people, *refresh, until=MINUTE)
    assert alerts(told, "room-capacity") == []


def test_sessions_without_an_identity_are_let_go_of_as_well() -> None:
    def nameless(params: Params) -> Params:
        return {name: value for name, value in params.items() if name != "ParticipantIdentity"}

    told = play(
        (0, created()),
        (1, nameless(connected(PHONE, 0))),
        (60, nameless(disconnected(PHONE, 60_000))),
        until=HOUR,
    )
    assert told.facts.sessions == told.facts.people == told.facts.waits == {}
    assert [row.identity for row in told.facts.rows] == [None]
    assert kinds(told.events, "identity.") == []
