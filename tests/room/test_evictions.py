"""Evictions: the fine points of the wire contract, each with its bound from both sides."""

from __future__ import annotations

from hashlib import sha256
from itertools import permutations

import pytest
from rooms import (
    BOUNDS,
    LAPTOP,
    PHONE,
    TABLET,
    Params,
    concluded,
    connected,
    created,
    disconnected,
    ended,
    facts_of,
    track,
)
from strategies import ROOM, sid

from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.view import view

TEN_MINUTES = 600_000


def survivors(history: list[Params]) -> dict[str, str]:
    found = view(facts_of(history), BOUNDS).evictions
    return {sid: eviction.survivor_sid for sid, eviction in found.items()}


@pytest.mark.parametrize(
    ("end", "evicted"),
    [
        (59_749, False),  # left 251 ms before: an ordinary rejoin
        (59_750, True),  # left 250 ms before: cannot be told from an eviction
        (60_000, True),  # touched
        (60_300, True),  # overlapped
        (75_000, True),  # noticed after 15 s
        (75_001, False),  # too long together: two devices, and one of them left
    ],
)
def test_an_end_evicts_only_within_the_bounds_around_the_newcomers_start(
    end: int, *, evicted: bool
) -> None:
    history = [connected(PHONE, 0), disconnected(PHONE, end), connected(LAPTOP, 60_000)]
    assert survivors(history) == ({PHONE: LAPTOP} if evicted else {})


def test_leaving_two_seconds_before_coming_back_is_no_eviction() -> None:
    history = [connected(PHONE, 0), disconnected(PHONE, 58_000), connected(LAPTOP, 60_000)]
    assert survivors(history) == {}


@pytest.mark.parametrize(("end", "evicted"), [(60_550, False), (60_551, True)])
def test_a_newcomer_that_was_gone_itself_by_then_evicts_nobody(end: int, *, evicted: bool) -> None:
    history = [
        connected(PHONE, 0),
        disconnected(PHONE, 60_300),
        connected(LAPTOP, 60_000),
        disconnected(LAPTOP, end),
    ]
    assert survivors(history) == ({PHONE: LAPTOP} if evicted else {})


@pytest.mark.parametrize(
    ("room_end", "evicted"),
    [(59_299, True), (59_300, False), (60_300, False), (61_300, False), (61_301, True)],
)
def test_an_end_within_a_second_of_the_rooms_end_is_the_rooms_doing(
    room_end: int, *, evicted: bool
) -> None:
    history = [
        connected(PHONE, 0),
        disconnected(PHONE, 60_300),
        connected(LAPTOP, 60_000),
        ended(room_end),
    ]
    assert survivors(history) == ({PHONE: LAPTOP} if evicted else {})


def test_another_identity_evicts_nobody_even_when_it_differs_by_a_space() -> None:
    history = [
        connected(PHONE, 0, "Dana"),
        disconnected(PHONE, 60_000, "Dana"),
        connected(LAPTOP, 60_000, "Dana "),
    ]
    assert survivors(history) == {}


def test_without_a_disconnect_callback_nobody_was_evicted() -> None:
    assert survivors([connected(PHONE, 0), connected(LAPTOP, 60_000), ended(90_000)]) == {}


def test_of_several_newcomers_the_one_that_started_first_is_the_survivor() -> None:
    history = [
        connected(PHONE, 0),
        connected(LAPTOP, 60_000),
        connected(TABLET, 60_100),
        disconnected(PHONE, 60_200),
    ]
    assert survivors(history) == {PHONE: LAPTOP}


def test_a_chain_names_the_right_survivor_each_time() -> None:
    history = [
        connected(PHONE, 0),
        connected(LAPTOP, 60_000),
        disconnected(PHONE, 60_100),
        connected(TABLET, 120_000),
        disconnected(LAPTOP, 120_100),
    ]
    for order in permutations(history):
        assert survivors(list(order)) == {PHONE: LAPTOP, LAPTOP: TABLET}


def test_equal_starts_are_settled_by_sid() -> None:
    assert PHONE < LAPTOP
    both = [connected(PHONE, 0), connected(LAPTOP, 0)]
    assert survivors([*both, disconnected(PHONE, 100)]) == {PHONE: LAPTOP}
    assert survivors([*both, disconnected(LAPTOP, 100)]) == {}


def test_a_start_without_its_connect_callback_is_the_earliest_callback() -> None:
    history = [connected(PHONE, 0), disconnected(PHONE, 60_100), track("added", LAPTOP, 60_000)]
    assert survivors(history) == {PHONE: LAPTOP}


def test_a_start_without_its_connect_callback_is_worked_out_from_the_duration() -> None:
    # The laptop stayed 30 s, rounded down: it came between 59,001 and 60,000 ms.
    history = [
        connected(PHONE, 0),
        disconnected(PHONE, 58_751),
        disconnected(LAPTOP, 90_000, duration=30),
    ]
    assert survivors(history) == {PHONE: LAPTOP}
    history[1] = disconnected(PHONE, 58_750)
    assert survivors(history) == {}


TAKEOVER = [
    created(),
    connected(PHONE, 1_000),
    track("added", PHONE, 1_000),
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
]


def test_a_takeover_is_told_once_and_raised_once_in_any_order_and_twice_over() -> None:
    for order in permutations(TAKEOVER):
        for history in (order, (*order, *order), tuple(one for one in order for _ in "12")):
            events, alerts = concluded(history)
            told = [event for event in events if "evict" in event.kind]
            assert [(event.kind, event.subject) for event in told] == [
                ("participant.evicted", PHONE)
            ]
            assert told[0].data["evicted_sid"] == PHONE
            assert told[0].data["survivor_sid"] == LAPTOP
            assert told[0].data["gap_ms"] == 300
            assert [(alert.kind, alert.data["severity"]) for alert in alerts] == [
                ("alert.raised", "info")
            ]


def test_the_evidence_is_the_end_of_the_one_and_the_start_of_the_other() -> None:
    for order in permutations(TAKEOVER):
        (told,) = [event for event in concluded(order)[0] if "evict" in event.kind]
        sessions = facts_of(order).sessions
        end, start = sessions[PHONE].ended, sessions[LAPTOP].connected
        assert end
        assert start
        assert told.data["evidence"] == [end.id.hex(), start.id.hex()]


def test_a_middle_session_learned_late_takes_the_conclusion_back_and_gives_another() -> None:
    events, alerts = concluded(
        [
            created(),
            connected(PHONE, 0),
            connected(TABLET, 65_000),
            disconnected(PHONE, 65_100),
            connected(LAPTOP, 60_000),
        ]
    )
    told = [(e.kind, e.data["survivor_sid"]) for e in events if "evict" in e.kind]
    assert told == [
        ("participant.evicted", TABLET),
        ("participant.eviction-retracted", TABLET),
        ("participant.evicted", LAPTOP),
    ]
    assert [alert.kind for alert in alerts] == ["alert.raised"]


def test_the_rooms_end_learned_late_takes_an_eviction_and_its_alert_back() -> None:
    events, alerts = concluded([*TAKEOVER, ended(60_900)])
    told = [event for event in events if "evict" in event.kind]
    assert [event.kind for event in told] == [
        "participant.evicted",
        "participant.eviction-retracted",
    ]
    assert told[0].data == told[1].data
    assert [alert.kind for alert in alerts] == ["alert.raised", "alert.resolved"]


@pytest.mark.parametrize(
    ("later", "severity"), [(TEN_MINUTES, "warning"), (TEN_MINUTES + 1, "info")]
)
def test_a_second_eviction_within_ten_minutes_makes_the_alert_a_warning(
    later: int, severity: str
) -> None:
    again = 60_300 + later
    _, alerts = concluded(
        [*TAKEOVER, connected(TABLET, again), disconnected(LAPTOP, again)],
    )
    assert [(one.kind, one.data["severity"], one.data["count"]) for one in alerts] == [
        ("alert.raised", "info", 1),
        ("alert.changed", severity, 2),
    ]
    assert alerts[0].data["dedup_key"] == alerts[1].data["dedup_key"]
    assert alerts[0].data["since"] == alerts[1].data["since"]


def test_closing_the_room_resolves_its_alerts() -> None:
    _, alerts = concluded([*TAKEOVER, ended(TEN_MINUTES)])
    assert [alert.kind for alert in alerts] == ["alert.raised", "alert.resolved"]


def test_what_is_learned_after_the_end_raises_nothing() -> None:
    events, alerts = concluded([ended(TEN_MINUTES), *TAKEOVER])
    assert alerts == []
    assert ("participant.evicted", PHONE) in [(event.kind, event.subject) for event in events]


@pytest.mark.parametrize(
    ("end", "evicted"),
    [("58.999999", True), ("59.000000", False), ("61.000000", False), ("61.000001", True)],
)
def test_the_rooms_end_is_the_cause_within_exactly_a_second(end: str, *, evicted: bool) -> None:
    room_end = ended(0) | {"Timestamp": f"2023-08-14T20:0{int(end[:2]) // 60}:{_second(end)}Z"}
    history = [connected(PHONE, 0), connected(LAPTOP, 60_000), disconnected(PHONE, 60_000)]
    assert survivors([*history, room_end]) == ({PHONE: LAPTOP} if evicted else {})


def _second(text: str) -> str:
    return f"{float(text) % 60:09.6f}"


@pytest.mark.parametrize(("second", "severity"), [("00.300000", "warning"), ("00.300001", "info")])
def test_ten_minutes_between_two_evictions_are_exact(second: str, severity: str) -> None:
    end = disconnected(LAPTOP, 0) | {"Timestamp": f"2023-08-14T20:11:{second}Z"}
    _, alerts = concluded([*TAKEOVER, connected(TABLET, 660_300), end])
    assert alerts[-1].data["severity"] == severity


def test_an_alert_that_is_raised_already_is_raised_no_more_when_its_count_falls() -> None:
    # The laptop was evicted by the tablet, until it turns out to have left long before it.
    history = [*TAKEOVER, connected(TABLET, 90_000), disconnected(LAPTOP, 90_100)]
    _, alerts = concluded([*history, disconnected(LAPTOP, 80_000)])
    assert [(one.kind, one.data["count"]) for one in alerts] == [
        ("alert.raised", 1),
        ("alert.changed", 2),
    ]


def _storm(*seconds: float) -> list[Params]:
    """Each session is thrown out by the next, at these seconds of 20:01 and after."""
    history = [created(), connected(sid("PA", 0), 0)]
    for number, second in enumerate(seconds, start=1):
        minute, rest = divmod(second, 60)
        at = {"Timestamp": f"2023-08-14T20:{1 + int(minute):02d}:{rest:09.6f}Z"}
        history.append(connected(sid("PA", number), 0) | at)
        history.append(disconnected(sid("PA", number - 1), 0) | at)
    return history


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [
        ((0, 59.999999), "warning"),
        ((0, 1, 60), "critical"),
        ((0, 1, 60.000001), "warning"),
        ((0, 300, 350, 360), "critical"),
        ((0, 59, 118, 177), "warning"),
        ((0, 601, 1202), "info"),
    ],
)
def test_three_evictions_within_a_minute_are_a_storm(
    seconds: tuple[float, ...], severity: str
) -> None:
    _, alerts = concluded(_storm(*seconds))
    *_, last = (one.data for one in alerts if one.data["alert"] == "duplicate-identity")
    assert (last["severity"], last["count"]) == (severity, len(seconds))
    storms = [one.kind for one in alerts if one.data["alert"] == "eviction-storm"]
    assert storms == (["alert.raised"] if severity == "critical" else [])


@pytest.mark.parametrize(("end", "evicted"), [("00.550000", False), ("00.550001", True)])
def test_a_newcomer_outlives_by_a_quarter_of_a_second_whatever_the_settings_are(
    end: str, *, evicted: bool
) -> None:
    history = [
        connected(PHONE, 0),
        connected(LAPTOP, 60_000),
        disconnected(PHONE, 60_300),
        disconnected(LAPTOP, 0) | {"Timestamp": f"2023-08-14T20:01:{end}Z"},
    ]
    for bounds in (BOUNDS, Bounds(before=0, after=15_000_000), Bounds(1_000_000, 15_000_000)):
        assert (PHONE in view(facts_of(history), bounds).evictions) == evicted


def test_an_alert_is_a_sentence_that_a_person_understands() -> None:
    (alert,) = concluded(TAKEOVER)[1]
    assert alert.data["summary"] == (
        "'Dana' was thrown out of room 'Room 1' once"
        " because somebody joined under the same identity."
    )
    nameless = [{k: v for k, v in one.items() if k != "RoomName"} for one in _storm(0, 1)]
    alerts = concluded(nameless)[1]
    assert alerts[-1].data["summary"] == (
        f"'Dana' was thrown out of room {ROOM} 2 times"
        " because somebody joined under the same identity."
    )


def test_a_dedup_key_is_short_and_the_same_for_an_identity_and_room_and_names_nobody() -> None:
    keys = {}
    for identity in ("Dana", "Dana ", "D" * 128):
        history = [one | {"ParticipantIdentity": identity} for one in TAKEOVER]
        (alert,) = concluded(history)[1]
        keys[identity] = alert.data["dedup_key"]
    assert len(set(keys.values())) == 3
    digest = sha256(b"Dana").hexdigest()[:16]
    assert keys["Dana"] == f"duplicate-identity:{ROOM}:{digest}"
    assert all(len(key) == len(keys["Dana"]) for key in keys.values())


def test_the_evidence_of_a_start_that_was_worked_out_is_what_it_was_worked_out_from() -> None:
    by_duration = disconnected(LAPTOP, 90_000, duration=30)
    by_track = track("added", LAPTOP, 60_000)
    for start, others in (
        (by_duration, [track("added", LAPTOP, 60_500)]),
        (by_track, [disconnected(LAPTOP, 90_000, duration=29)]),
    ):
        history = [connected(PHONE, 0), disconnected(PHONE, 60_000), start, *others]
        (eviction,) = view(facts_of(history), BOUNDS).evictions.values()
        assert eviction.evidence[1] == callback_from(start, 0).id.hex()


def test_of_an_eviction_only_the_survivor_is_a_belief() -> None:
    # The end and the start turn out to be earlier, the evidence another: nothing is said again.
    history = [
        *TAKEOVER,
        disconnected(PHONE, 60_200),
        connected(LAPTOP, 59_990),
    ]
    told = [event.kind for event in concluded(history)[0] if "evict" in event.kind]
    assert told == ["participant.evicted"]


@pytest.mark.parametrize(("end", "gap"), [(59_750, -250), (60_000, 0), (75_000, 15_000)])
def test_the_gap_is_the_end_of_the_one_minus_the_start_of_the_other(end: int, gap: int) -> None:
    history = [connected(PHONE, 0), disconnected(PHONE, end), connected(LAPTOP, 60_000)]
    (eviction,) = view(facts_of(history), BOUNDS).evictions.values()
    assert (eviction.gap_ms, eviction.identity) == (gap, "Dana")


def test_an_alert_is_about_the_last_eviction_and_counts_since_the_first() -> None:
    _, alerts = concluded(_storm(0, 30, 59))
    told = alerts[-1]
    assert (told.subject, told.data["evicted_sid"]) == (sid("PA", 2), sid("PA", 2))
    assert told.data["survivor_sid"] == sid("PA", 3)
    assert told.data["since"] == alerts[0].data["since"] == alerts[0].at
    assert len(told.data["evidence"]) == 2


def test_an_earlier_end_of_the_room_learned_after_a_later_one_takes_an_eviction_back() -> None:
    events, _ = concluded([*TAKEOVER, ended(90_000), ended(60_900)])
    told = [event.kind for event in events if "evict" in event.kind]
    assert told == ["participant.evicted", "participant.eviction-retracted"]
