"""What people are told, and when: a room once in 30 s at most, what comes meanwhile together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from alerting import NOON, OTHER_ROOM, ROOM, alert
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.notify.alert import Alert, order
from workers.notify.people import QUIET_MS, message, next_for_people
from workers.notify.state import State
from workers.notify.steps import Rest, Situation, Step

NEW = State(cursor="0-0", seen="0-0")


def step(state: State, waiting: Sequence[Alert], now: int) -> Step:
    found = next_for_people(Situation(state, waiting, {}, now))
    assert isinstance(found, Step)
    return found


def after(state: State, waiting: Sequence[Alert]) -> list[Alert]:
    return [one for one in waiting if order(one.entry_id) > order(state.cursor)]


def test_the_first_alert_of_a_room_is_told_at_once() -> None:
    one = alert(number=1)
    told = step(NEW, [one], NOON)
    assert told.alerts == [one]
    assert told.after.cursor == one.entry_id


def test_what_comes_within_30_seconds_goes_together_into_the_next() -> None:
    alerts = [alert(number=number) for number in range(1, 5)]
    state = step(NEW, alerts[:1], NOON).after
    waiting = alerts[1:]
    rest = next_for_people(Situation(state, waiting, {}, NOON + QUIET_MS - 1))
    assert rest == Rest(look_at=NOON + QUIET_MS)
    assert step(state, waiting, NOON + QUIET_MS).alerts == waiting


def test_a_room_that_is_quiet_for_now_holds_up_no_other() -> None:
    first, held = alert(number=1), alert(number=2)
    other = alert(number=3, room=OTHER_ROOM)
    state = step(NEW, [first], NOON).after
    told = step(state, [held, other], NOON + 1)
    assert told.alerts == [other]
    # The one that is held is still to be told, and the one beyond it is not told again.
    assert told.after.cursor == first.entry_id
    rest = next_for_people(Situation(told.after, [held, other], {}, NOON + 2))
    assert rest == Rest(look_at=NOON + QUIET_MS)
    last = step(told.after, [held, other], NOON + QUIET_MS)
    assert last.alerts == [held]
    assert last.after.cursor == other.entry_id


def test_rooms_are_forgotten_once_they_may_be_told_about_again() -> None:
    state = step(NEW, [alert(number=1)], NOON).after
    later = step(state, [alert(number=2, room=OTHER_ROOM)], NOON + QUIET_MS)
    assert later.after.rooms.keys() == {OTHER_ROOM}


@given(
    st.lists(st.tuples(st.sampled_from([ROOM, OTHER_ROOM]), st.integers(0, 40_000)), max_size=30),
    st.integers(500, 20_000),
)
@settings(deadline=None)
def test_each_alert_is_told_once_in_order_and_no_room_twice_in_30_seconds(
    published: list[tuple[str, int]], beat: int
) -> None:
    at = 0
    alerts: list[tuple[int, Alert]] = []
    for number, (room, gap) in enumerate(published):
        at += gap
        alerts.append((NOON + at, alert(number=number + 1, room=room)))
    state, now = NEW, NOON
    told: dict[str, list[Alert]] = {ROOM: [], OTHER_ROOM: []}
    when: dict[str, list[int]] = {ROOM: [], OTHER_ROOM: []}
    while now <= NOON + at + 2 * QUIET_MS + beat:
        waiting = after(state, [one for published_at, one in alerts if published_at <= now])
        found = next_for_people(Situation(state, waiting, {}, now))
        if isinstance(found, Rest):
            now += beat
            continue
        room = found.alerts[0].data["room_sid"]
        told[room] += found.alerts
        when[room].append(now)
        state = found.after
    for room in (ROOM, OTHER_ROOM):
        assert told[room] == [one for _, one in alerts if one.data["room_sid"] == room]
        gaps = zip(when[room], when[room][1:], strict=False)
        assert all(second - first >= QUIET_MS for first, second in gaps)


def test_a_message_says_each_alert_in_a_sentence_and_what_became_of_it() -> None:
    told = message(
        [
            alert(number=1, summary="One.", severity="info"),
            alert("changed", number=2, summary="Two.", severity="critical"),
            alert("resolved", number=3, summary="Three.", dedup_key="other"),
        ]
    )
    assert told.title == "Rollcall, critical: room 'Standup'"
    assert told.body == "One.\nWorse: Two.\nResolved: Three."
    assert told.type == "failure"


@pytest.mark.parametrize(
    ("severity", "change", "type_"),
    [
        ("info", "raised", "info"),
        ("warning", "raised", "warning"),
        ("critical", "raised", "failure"),
        ("critical", "resolved", "success"),
    ],
)
def test_the_kind_of_message_follows_from_what_is_still_wrong(
    severity: str, change: str, type_: str
) -> None:
    assert message([alert(change, number=1, severity=severity)]).type == type_


def test_a_long_message_is_counted_instead_of_told() -> None:
    told = message([alert(number=number, room_name=None) for number in range(100)])
    assert told.body.splitlines()[-1] == "And 80 more."
    assert ROOM in told.title
