"""When a failed delivery is tried again, and when it is given up. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from workers.notify.state import State
from workers.notify.steps import Failure, FiringChanges, Step

# Full jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: many that
# failed together do not come back together. The first try again is soon, since most failures are a
# restart; five minutes at the most, so that an alert is not late for long once a target is back.
FIRST_MS = 1_000
MOST_MS = 5 * 60_000
# Of an alert that its target refuses as such: some four minutes, in case a proxy only said so.
TRIES = 10


class Verdict(NamedTuple):
    """What follows from a failure."""

    state: State
    set_aside: bool
    firing: FiringChanges


def judge(state: State, step: Step, failure: Failure, now: int, delay_ms: int) -> Verdict:
    """Decide what becomes of a step that failed.

    Args:
        state: what held before it.
        step: what was not delivered.
        failure: why.
        now: in milliseconds since 1970.
        delay_ms: how long to wait, where the target has no wish of its own.
    """
    failed = state.failed(now + max(delay_ms, failure.wait_ms))
    refused = failure.about_alert and failed.attempts >= TRIES
    too_old = step.give_up_at is not None and now > step.give_up_at
    if step.alerts and (refused or too_old):
        # A target that wishes to be left alone is, also for what comes next.
        rested = step.after.delivered(now)
        rested = rested._replace(retry_at=now + failure.wait_ms)
        # What fires is still said to an Alertmanager that comes back, but not what it refuses.
        firing = dict.fromkeys(step.firing) if refused else step.firing
        return Verdict(rested, set_aside=True, firing=firing)
    return Verdict(failed, set_aside=False, firing={})


def backoff(attempts: int, draw: Callable[[], float]) -> int:
    """Return how many milliseconds to wait after so many tries before this one."""
    # The exponent is bounded too, or a target that is down for days would make a long number.
    return round(min(MOST_MS, FIRST_MS << min(attempts, 20)) * draw())
