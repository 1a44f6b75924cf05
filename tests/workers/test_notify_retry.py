"""When a failed delivery is tried again, and when it is given up."""

from __future__ import annotations

import pytest
from alerting import NOON, alert
from hypothesis import given
from hypothesis import strategies as st

from workers.notify.retry import FIRST_MS, MOST_MS, TRIES, backoff, judge
from workers.notify.state import State
from workers.notify.steps import Failure, Step

DAY_MS = 24 * 3_600_000
BEFORE = State(cursor="1-0", seen="5-0")
AFTER = BEFORE._replace(cursor=f"{NOON}-1")
STEP = Step([alert(number=1)], None, AFTER, {}, NOON + DAY_MS)
DOWN, WRONG = Failure("connection"), Failure("status-422", about_alert=True)


@given(st.integers(0, 100_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_anything_up_to_a_bound_that_doubles_up_to_five_minutes(
    attempts: int, drawn: float
) -> None:
    assert 0 <= backoff(attempts, lambda: drawn) <= MOST_MS
    bounds = [backoff(number, lambda: 1.0) for number in range(4)]
    assert bounds == [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS, 8 * FIRST_MS]
    assert backoff(attempts, lambda: 0.0) == 0


def test_a_target_that_is_down_is_tried_again_for_as_long_as_the_alert_is_young() -> None:
    state = BEFORE
    for attempt in range(1, 100):
        verdict = judge(state, STEP, DOWN, NOON + DAY_MS, 7)
        assert not verdict.set_aside
        state = verdict.state
        assert (state.cursor, state.attempts) == ("1-0", attempt)
        assert state.retry_at == NOON + DAY_MS + 7
    verdict = judge(state, STEP, DOWN, NOON + DAY_MS + 1, 7)
    assert verdict.set_aside
    assert (verdict.state.cursor, verdict.state.attempts) == (AFTER.cursor, 0)


def test_an_alert_that_is_refused_as_such_is_set_aside_after_ten_tries() -> None:
    state = BEFORE
    for _ in range(TRIES - 1):
        verdict = judge(state, STEP, WRONG, NOON, 0)
        assert not verdict.set_aside
        state = verdict.state
    assert judge(state, STEP, WRONG, NOON, 0).set_aside


def test_what_fires_is_remembered_for_a_target_that_comes_back_unless_it_refuses_it() -> None:
    fires = STEP._replace(firing={"a": b"fires", "b": None})
    assert judge(BEFORE, fires, DOWN, NOON + DAY_MS + 1, 0).firing == fires.firing
    assert judge(BEFORE, fires, DOWN, NOON, 0).firing == {}
    worn_out = BEFORE._replace(attempts=TRIES)
    assert judge(worn_out, fires, WRONG, NOON, 0).firing == {"a": None, "b": None}


def test_what_is_only_said_again_is_never_set_aside() -> None:
    again = Step([], None, AFTER, {}, None)
    worn_out = BEFORE._replace(attempts=1_000)
    assert not judge(worn_out, again, WRONG, NOON + 100 * DAY_MS, 0).set_aside


@pytest.mark.parametrize(("wished", "waits"), [(0, 7), (3, 7), (60_000, 60_000)])
def test_a_target_that_wishes_to_be_left_alone_is(wished: int, waits: int) -> None:
    state = judge(BEFORE, STEP, Failure("status-503", wait_ms=wished), NOON, 7).state
    assert state.retry_at == NOON + waits
    assert not state.is_due("9-0", NOON + waits - 1)
    assert state.is_due("2-0", NOON + waits)


def test_its_wish_holds_for_the_next_alert_as_well() -> None:
    late = NOON + 2 * DAY_MS
    verdict = judge(BEFORE, STEP, Failure("status-410", wait_ms=60_000), late, 7)
    assert verdict.set_aside
    assert verdict.state.retry_at == late + 60_000


def test_a_target_is_due_for_what_is_new_and_at_the_time_that_it_waits_for() -> None:
    assert BEFORE.is_due("5-1", NOON)
    assert BEFORE.is_due("10-0", NOON)
    assert not BEFORE.is_due("5-0", NOON)
    waiting = BEFORE._replace(look_at=NOON)
    assert not waiting.is_due("5-0", NOON - 1)
    assert waiting.is_due("5-0", NOON)
