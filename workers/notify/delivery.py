"""The delivery to one target: take its lease, send step by step, store each, give the lease back.

At least once, whatever dies when: the place in the stream moves only after a target has taken what
lies before it. What died between the two is sent again.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from redis import RedisError

from schemas.keys import target_of
from workers.notify.alert import Alert
from workers.notify.outbox import STATE_MS, Hold, Outbox
from workers.notify.retry import MOST_MS, backoff, judge
from workers.notify.state import State
from workers.notify.steps import Channel, Failure, Rest, Situation, Step

# A delivery gives way after this long, so that no target has a worker's process for itself.
SLICE_SECONDS = 5.0
# A worker has a process for each, and its others are for draining.
AT_ONCE = 8
# An id has some 50 bytes.
_IDS = 20

log = structlog.get_logger()


def _clock() -> int:
    return time.time_ns() // 1_000_000


class Delivery:
    """Delivers to targets, one slice at a time."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        *,
        now: Callable[[], int] = _clock,
        draw: Callable[[], float] = random.random,
        slice_seconds: float = SLICE_SECONDS,
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._now = now
        self._draw = draw
        self._slice_seconds = slice_seconds
        # One for each target, by whatever names it goes.
        self._at_once = min(AT_ONCE, len({target_of(lane) for lane in channels}))

    def due_targets(self) -> list[str]:
        """List the targets that have something to be sent and nobody at it; begin with new ones.

        Raises:
            RedisError: Redis did not answer.
        """
        glances = self._outbox.glance(list(self._channels))
        now = self._now()
        due = []
        for target, glance in glances.items():
            if glance.state is None:
                # What was published before anybody wished to know it is history.
                self._outbox.begin(target, glance.last_id)
                continue
            if glance.expires_in_ms < STATE_MS // 2:
                self._outbox.keep(target)
            if not glance.held and glance.state.is_due(glance.last_id, now):
                due.append(target)
        held = sum(glance.held for glance in glances.values())
        # Those that hang must not be preferred for ever.
        random.shuffle(due)
        return due[: max(0, self._at_once - held)]

    def deliver(self, target: str) -> None:
        """Deliver to a target for one slice; nothing is done where another worker is at it.

        Raises:
            RedisError: Redis did not answer.
            LeaseLostError: the target is another worker's by now.
            UnreadableRecordError: what is stored of the target is damaged.
        """
        hold = Hold(target, secrets.token_hex(8))
        try:
            state = self._outbox.take(hold)
            if state is not None and state.may_try(self._now()):
                self._slice(hold, state)
        finally:
            self._give_back(hold)

    def _slice(self, hold: Hold, state: State) -> None:
        channel = self._channels[hold.target]
        deadline = time.monotonic() + self._slice_seconds
        while True:
            state, waiting = self._waiting(hold.target, state)
            firing = self._outbox.firing(hold.target)
            try:
                step = channel.next(Situation(state, waiting, firing, self._now()))
            except Exception:
                # Something stored is damaged, in whatever way: not again at once, and for ever.
                self._outbox.commit(hold, state.failed(self._now() + MOST_MS), {})
                log.exception("target_stuck", target=hold.target)
                return
            if isinstance(step, Rest):
                seen = waiting[-1].entry_id if waiting else state.cursor
                rested = state._replace(seen=seen, look_at=step.look_at)
                self._outbox.commit(hold, rested, {})
                return
            # Stored before, too: whoever has lost the lease must not send any more, and one that
            # dies with the process counts as a try.
            again_at = self._now() + backoff(state.attempts, self._draw)
            self._outbox.commit(hold, state.failed(again_at), {})
            failure = _sent(channel, step)
            state = self._stored(hold, state, step, failure)
            if failure or time.monotonic() > deadline:
                return

    def _waiting(self, target: str, state: State) -> tuple[State, list[Alert]]:
        """Read what comes after the cursor, and move it over what nobody can read."""
        lost = self._outbox.lost_after(target, state.cursor)
        if lost:
            # The stream keeps ROLLCALL_EVENTS_MAXLEN entries, and the target was away for longer.
            log.error("alerts_trimmed", after=state.cursor, first=lost)
            state = state._replace(cursor=_before(lost))
        entries = self._outbox.read(target, state.cursor)
        while entries and entries[0][1] is None:
            state = state._replace(cursor=entries.pop(0)[0])
        return state, [alert for _, alert in entries if alert is not None]

    def _stored(self, hold: Hold, state: State, step: Step, failure: Failure | None) -> State:
        """Store what a step has come to."""
        now, told = self._now(), _told(hold.target, step.alerts)
        if failure is None:
            after = step.after.delivered(now)
            self._outbox.commit(hold, after, step.firing)
            if step.alerts:
                log.info("alerts_delivered", **told)
            return after
        why = {"reason": failure.reason, "detail": failure.detail, "attempt": state.attempts + 1}
        verdict = judge(state, step, failure, now, backoff(state.attempts, self._draw))
        self._outbox.commit(hold, verdict.state, verdict.firing)
        if verdict.set_aside:
            log.error("alerts_set_aside", **told, **why)
        else:
            wait = round((verdict.state.retry_at - now) / 1000, 3)
            log.warning("alerts_not_delivered", **told, **why, retry_in_seconds=wait)
        return verdict.state

    def _give_back(self, hold: Hold) -> None:
        try:
            self._outbox.release(hold)
        except RedisError as error:
            # The lease runs out by itself.
            log.warning("target_not_given_back", target=hold.target, error=type(error).__name__)


def _sent(channel: Channel, step: Step) -> Failure | None:
    try:
        return channel.send(step)
    except Exception as error:  # noqa: BLE001  # a library's, of any kind; its text may hold the URL
        # Unless it is counted as a failure, it comes again at once and for ever.
        return Failure("error", detail=type(error).__name__)


def _told(target: str, alerts: Sequence[Alert]) -> dict[str, object]:
    """Which alerts; a line for the log stays below what a pipe takes in one piece."""
    ids = [alert.id for alert in alerts[:_IDS]]
    return {"target": target, "alerts": ids, "count": len(alerts)}


def _before(entry_id: str) -> str:
    """The greatest id that is less than this one."""
    milliseconds, _, sequence = entry_id.partition("-")
    return f"{milliseconds}-{int(sequence) - 1}" if int(sequence) else f"{int(milliseconds) - 1}-0"
