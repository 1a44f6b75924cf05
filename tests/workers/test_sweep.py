"""Wake-ups that nobody takes, beat that sweeps by itself, and the sweeper of a worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from redis import Redis
from rooms import created
from structlog.testing import capture_logs

from console.embedded import free_port
from schemas.keys import shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from schemas.wakeups import DRAIN, WakeUps, celery_config
from workers.app import create_app
from workers.store import Store
from workers.sweep import Sweeper, SweepingBeat, sweep

QUEUE = "rollcall:wakeups"
ENOUGH = 64
SHARD = shard_of(created()["RoomSid"], 8)
Deposit = Callable[..., Any]


def sender(settings: Settings) -> WakeUps:
    app = Celery("of-the-test", set_as_current=False)
    app.conf.update(celery_config(settings))
    return WakeUps(app, settings)


def test_wake_ups_that_nobody_takes_stay_bounded(settings: Settings, redis: Redis) -> None:
    wake_ups = sender(settings)
    with capture_logs() as log:
        assert sum(wake_ups.send(DRAIN, number % 8) for number in range(500)) == ENOUGH
    assert redis.llen(QUEUE) == ENOUGH
    assert [(line["event"], line["waiting"]) for line in log] == [("wake_ups_untaken", ENOUGH)]


def test_a_process_that_starts_anew_again_and_again_adds_nothing(
    settings: Settings, redis: Redis
) -> None:
    for _ in range(10):
        wake_ups = sender(settings)
        for _ in range(ENOUGH // 2):
            wake_ups.send(DRAIN, 0)
    assert redis.llen(QUEUE) == ENOUGH


def test_wake_ups_go_on_once_they_are_taken(settings: Settings, redis: Redis) -> None:
    wake_ups = sender(settings)
    for _ in range(2 * ENOUGH):
        wake_ups.send(DRAIN, 0)
    redis.ltrim(QUEUE, 0, 9)
    with capture_logs() as log:
        assert sum(wake_ups.send(DRAIN, 1) for _ in range(2 * ENOUGH)) == ENOUGH - 10
    assert [line["event"] for line in log] == ["wake_ups_taken", "wake_ups_untaken"]


def test_many_shards_may_have_some_each(settings: Settings, redis: Redis) -> None:
    wake_ups = sender(replace(settings, shards=100))
    assert sum(wake_ups.send(DRAIN, number % 100) for number in range(500)) == 400


def test_asking_how_many_wait_is_rare(settings: Settings, redis: Redis) -> None:
    wake_ups = sender(settings)
    wake_ups.send(DRAIN, 0)
    redis.delete(QUEUE)
    redis.config_resetstat()
    for _ in range(ENOUGH - 1):
        wake_ups.send(DRAIN, 0)
    assert "cmdstat_llen" not in redis.info("commandstats")


def test_a_sweep_ends_with_the_first_wake_up_that_cannot_be_sent(
    store: Store, deposit: Deposit
) -> None:
    deposit(*[created() | {"RoomSid": f"RM{number:032x}"} for number in range(40)])
    tried: list[int] = []

    def refuse(shard: int) -> bool:
        tried.append(shard)
        return False

    for _ in range(100):
        sweep(store, refuse)
    assert len(tried) == 100
    # Not always the same one.
    assert len(set(tried)) > 1


@pytest.fixture
def beat(settings: Settings, redis: Redis) -> SweepingBeat:
    app = create_app(settings, redis, Lines(2))
    return SweepingBeat(app=app)


def tick(beat: SweepingBeat) -> None:
    """Let beat do once what is due every second."""
    (entry,) = beat.schedule.values()
    beat.apply_entry(entry, producer=beat.producer)


def test_beat_sends_nothing_while_there_is_nothing_to_do(beat: SweepingBeat, redis: Redis) -> None:
    tick(beat)
    assert not redis.exists(QUEUE)


def test_beat_wakes_a_shard_that_waits_by_itself(
    beat: SweepingBeat, redis: Redis, deposit: Deposit
) -> None:
    deposit(created())
    tick(beat)
    assert redis.llen(QUEUE) == 1


def test_beat_goes_on_while_the_broker_is_away(
    settings: Settings, redis: Redis, deposit: Deposit
) -> None:
    away = replace(settings, celery_broker_url=f"amqp://127.0.0.1:{free_port()}//")
    beat = SweepingBeat(app=create_app(away, redis, Lines(2)))
    deposit(created())
    began = time.monotonic()
    with capture_logs() as log:
        tick(beat)
    assert [line["event"] for line in log] == ["wake_up_failed"]
    assert time.monotonic() - began < 1.0


class Hands:
    """What a sweeper has done: wakes, which may fail, and drains."""

    def __init__(self) -> None:
        self.woken: list[int] = []
        self.drained = threading.Event()

    def wake(self, shard: int) -> bool:
        self.woken.append(shard)
        return False

    def drain(self, shard: int) -> None:
        assert shard == SHARD
        self.drained.set()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def sweeper(store: Store, hands: Hands) -> Iterator[Sweeper]:
    sweeper = Sweeper(store, hands.wake, hands.drain, lambda: None)
    sweeper.start()
    yield sweeper
    sweeper.end()


def test_a_shard_that_still_waits_at_the_next_sweep_is_drained_by_the_worker_itself(
    sweeper: Sweeper, hands: Hands, deposit: Deposit
) -> None:
    deposit(created())
    assert hands.drained.wait(10.0)
    assert hands.woken[0] == SHARD


def test_a_worker_that_leaves_drains_nothing_more_and_wakes_the_others_often(
    sweeper: Sweeper, hands: Hands, deposit: Deposit, eventually: Callable[..., None]
) -> None:
    sweeper.leave()
    began = time.monotonic()
    deposit(created())
    eventually(lambda: len(hands.woken) >= 5)
    # At the usual pace these would take five seconds.
    assert time.monotonic() - began < 3.0
    assert not hands.drained.is_set()


def test_the_end_of_a_sweeper_that_was_never_started_waits_for_nothing(
    store: Store, hands: Hands
) -> None:
    Sweeper(store, hands.wake, hands.drain, lambda: None).end()
