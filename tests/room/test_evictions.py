"""Evictions: the fine points of the wire contract, each with its bound from both sides."""

from __future__ import annotations

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
