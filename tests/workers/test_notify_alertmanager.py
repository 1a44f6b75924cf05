"""Alertmanager, the real one: what fires does so there as well, until it is resolved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import receivers
from alerting import NOON, OTHER_ROOM, ROOM, Clock, alert, event, publish
from receivers import Alertmanager, Sink, wait_until
from redis import Redis

from schemas.alert_targets import AlertTarget, read_targets
from schemas.keys import Keyspace
from schemas.logs import iso_milliseconds
from workers.notify.alert import Alert
from workers.notify.alertmanager import (
    FORGOTTEN_MS,
    HOLDS_MS,
    REFRESH_MS,
    AlertmanagerChannel,
)
from workers.notify.delivery import Delivery
from workers.notify.outbox import Outbox
from workers.notify.state import State
from workers.notify.steps import Rest, Situation, Step

NEW = State(cursor="0-0", seen="0-0")
CHANNEL = AlertmanagerChannel(AlertTarget("alertmanager", "x", "http://127.0.0.1:1/"))
real = pytest.mark.skipif(
    receivers.ALERTMANAGER is None,
    reason="needs Alertmanager: apt-get install prometheus-alertmanager",
)


# -- what is said, as a pure function -------------------------------------------------------------


def told(
    *news: Alert, state: State = NEW, firing: Mapping[str, bytes] | None = None, now: int = NOON
) -> tuple[list[dict[str, Any]], dict[str, bytes], State]:
    """Say some alerts; give what was said, what is firing then, and the state."""
    before = dict(firing or {})
    step = CHANNEL.next(Situation(state, news, before, now))
    assert isinstance(step, Step)
    changed = {**before, **step.firing}
    stand = {key: value for key, value in changed.items() if value is not None}
    return step.payload, stand, step.after


def test_what_fires_holds_for_five_minutes_and_is_said_again_every_minute() -> None:
    [said], firing, state = told(alert(number=1))
    assert said["labels"].keys() == {"alertname", "severity", "room_sid", "dedup_key"}
    assert "Dana" not in str(said["labels"])
    assert said["endsAt"] == iso_milliseconds((NOON + HOLDS_MS) * 1000)
    rest = CHANNEL.next(Situation(state, [], firing, NOON + REFRESH_MS - 1))
    assert rest == Rest(look_at=NOON + REFRESH_MS)
    later = NOON + REFRESH_MS
    [again], still, state = told(state=state, firing=firing, now=later)
    assert again == {**said, "endsAt": iso_milliseconds((later + HOLDS_MS) * 1000)}
    assert still == firing
    assert state.refreshed_at == later


def test_where_nothing_fires_nothing_is_said() -> None:
    assert CHANNEL.next(Situation(NEW, [], {}, NOON)) == Rest(look_at=0)


def test_another_severity_is_another_alert_and_the_one_before_ends() -> None:
    [first], firing, _ = told(alert(number=1, severity="info"))
    ended, worse = told(alert("changed", number=2, severity="critical"), firing=firing)[0]
    assert ended["labels"] == first["labels"]
    assert ended["endsAt"] <= iso_milliseconds(NOON * 1000)
    assert worse["labels"] == {**first["labels"], "severity": "critical"}
    assert worse["endsAt"] > iso_milliseconds(NOON * 1000)


def test_what_is_resolved_ends_under_the_labels_that_it_was_said_with() -> None:
    [first], firing, _ = told(alert(number=1, severity="critical"))
    # A severity may fall without a word.
    [last], firing, _ = told(alert("resolved", number=2, severity="info"), firing=firing)
    assert last["labels"] == first["labels"]
    assert firing == {}


def test_an_end_is_neither_in_the_future_nor_before_the_start() -> None:
    start, late = iso_milliseconds(NOON * 1000), iso_milliseconds((NOON + 7) * 1000)
    for at, end in ((NOON - 5, start), (NOON + 5, iso_milliseconds((NOON + 5) * 1000))):
        [said], _, _ = told(alert("resolved", number=1, at=at), now=NOON + 7)
        assert said["endsAt"] == end
    [said], _, _ = told(alert("resolved", number=1, at=NOON + 10**6), now=NOON + 7)
    assert said["endsAt"] == late


def test_a_start_is_never_after_it_was_published() -> None:
    [said], _, _ = told(alert(number=1, since=iso_milliseconds((NOON + 10**9) * 1000)))
    assert said["startsAt"] == iso_milliseconds(NOON * 1000)


def test_of_several_changes_the_last_one_is_said() -> None:
    news = [alert(change, number=n) for n, change in enumerate(["raised", "resolved", "raised"])]
    [said], firing, _ = told(*news)
    assert said["endsAt"] > iso_milliseconds(NOON * 1000)
    assert len(firing) == 1
    [said], firing, _ = told(*news[:2])
    assert said["endsAt"] <= iso_milliseconds(NOON * 1000)
    assert firing == {}


def test_what_has_not_changed_for_a_week_has_lost_its_end() -> None:
    _, firing, state = told(alert(number=1))
    said, firing, _ = told(state=state, firing=firing, now=NOON + FORGOTTEN_MS + 1)
    assert said == []
    assert firing == {}


# -- against the real one -------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time_ns() // 1_000_000)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with receivers.sink() as server:
        yield server


@pytest.fixture
def alertmanager(tmp_path: Path, sink: Sink) -> Iterator[Alertmanager]:
    server = Alertmanager(tmp_path / "first", sink)
    yield server
    server.close()


class Speaker:
    """Publishes alerts as of now, and has them delivered."""

    def __init__(self, redis: Redis, keyspace: Keyspace, url: str, clock: Clock) -> None:
        [target] = read_targets(url)
        self._redis = redis
        self._clock = clock
        channels = {target.name: AlertmanagerChannel(target)}
        self._delivery = Delivery(Outbox(redis, keyspace), channels, now=clock)
        self._delivery.due_targets()
        self._since = iso_milliseconds(clock.now * 1000)

    def says(self, change: str, **data: Any) -> None:
        at = self._clock.now
        publish(self._redis, event(change, at=at, **{"since": self._since, **data}), at)
        self.sweeps()

    def sweeps(self) -> int:
        due = self._delivery.due_targets()
        for target in due:
            self._delivery.deliver(target)
        return len(due)


@pytest.fixture
def rollcall(redis: Redis, keyspace: Keyspace, alertmanager: Alertmanager, clock: Clock) -> Speaker:
    return Speaker(redis, keyspace, alertmanager.url, clock)


def firing(alertmanager: Alertmanager) -> list[tuple[str, str]]:
    return sorted(
        (one["labels"]["severity"], one["status"]["state"]) for one in alertmanager.alerts()
    )


def notified(sink: Sink, status: str) -> bool:
    return any(posted.json["status"] == status for posted in sink.posted)


@real
def test_an_alert_fires_there_grows_worse_and_is_resolved_and_people_hear_of_it(
    rollcall: Speaker, alertmanager: Alertmanager, sink: Sink
) -> None:
    rollcall.says("raised", severity="info", summary="Dana was thrown out.")
    wait_until(lambda: firing(alertmanager) == [("info", "active")], "it fires")
    [one] = alertmanager.alerts()
    assert one["labels"]["alertname"] == "duplicate-identity"
    assert one["labels"]["room_sid"] == ROOM
    assert one["annotations"]["summary"] == "Dana was thrown out."
    assert one["annotations"]["room_name"] == "Standup"
    wait_until(lambda: notified(sink, "firing"), "people hear of it")
    rollcall.says("changed", severity="critical")
    wait_until(lambda: firing(alertmanager) == [("critical", "active")], "it is worse")
    rollcall.says("resolved", severity="critical")
    wait_until(lambda: firing(alertmanager) == [], "it is resolved")
    wait_until(lambda: notified(sink, "resolved"), "people hear of its end")


@real
def test_its_silences_and_inhibition_apply(
    rollcall: Speaker, alertmanager: Alertmanager, clock: Clock
) -> None:
    alertmanager.silence("room_sid", OTHER_ROOM, iso_milliseconds((clock.now + 10**7) * 1000))
    rollcall.says("raised", severity="warning", room=OTHER_ROOM)
    rollcall.says("raised", severity="warning")
    rollcall.says("raised", severity="critical", dedup_key="another", alert="eviction-storm")
    expected = [("critical", "active"), ("warning", "suppressed"), ("warning", "suppressed")]
    wait_until(lambda: firing(alertmanager) == expected, "silenced and inhibited")


@real
def test_what_fires_is_said_again_each_minute_so_that_it_does_not_run_out(
    rollcall: Speaker, alertmanager: Alertmanager, clock: Clock
) -> None:
    def runs_out() -> float:
        [one] = alertmanager.alerts()
        return datetime.fromisoformat(one["endsAt"]).timestamp() * 1000

    rollcall.says("raised")
    # Its own resolve_timeout is a second.
    assert runs_out() == clock.now + HOLDS_MS
    clock.passes(59)
    assert rollcall.sweeps() == 0
    clock.passes(1)
    assert rollcall.sweeps() == 1
    assert runs_out() == clock.now + HOLDS_MS
    assert rollcall.sweeps() == 0


@real
def test_an_alertmanager_that_was_down_and_has_forgotten_everything_knows_it_again(
    rollcall: Speaker, alertmanager: Alertmanager, clock: Clock, sink: Sink, tmp_path: Path
) -> None:
    rollcall.says("raised", severity="info")
    alertmanager.close()
    rollcall.says("raised", severity="warning", room=OTHER_ROOM)
    another = Alertmanager(tmp_path / "second", sink, alertmanager.port)
    try:
        assert firing(another) == []
        clock.passes(60)
        rollcall.sweeps()
        assert firing(another) == [("info", "active"), ("warning", "active")]
    finally:
        another.close()
