"""The doorbell, with a real broker that is there, is away, or hangs."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from console.embedded import EmbeddedRedis, free_port
from ingest.doorbell import Doorbell, open_doorbell
from schemas.settings import Settings
from schemas.wakeups import DRAIN

QUEUE = "rollcall:wakeups"
Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture
def doorbell(settings: Settings) -> Iterator[Doorbell]:
    doorbell = open_doorbell(settings)
    yield doorbell
    doorbell.stop()


@pytest.fixture
def private_doorbell(private_settings: Settings) -> Iterator[Doorbell]:
    doorbell = open_doorbell(private_settings)
    yield doorbell
    doorbell.stop()


def woken(redis: Redis) -> list[int]:
    """The shards of the messages that wait, the oldest first."""
    messages = [json.loads(message) for message in reversed(redis.lrange(QUEUE, 0, -1))]
    return [json.loads(base64.b64decode(message["body"]))[0][0] for message in messages]


def test_a_ring_becomes_a_message_that_names_the_task_and_the_shard_and_expires(
    doorbell: Doorbell, redis: Redis, eventually: Eventually
) -> None:
    doorbell.ring(3)
    eventually(lambda: redis.llen(QUEUE) == 1)
    message = json.loads(redis.lindex(QUEUE, 0))
    assert message["headers"]["task"] == DRAIN
    assert message["headers"]["expires"]
    assert json.loads(base64.b64decode(message["body"]))[:2] == [[3], {}]


def test_many_rings_for_one_shard_become_one_message(
    private_doorbell: Doorbell,
    private_redis: EmbeddedRedis,
    private_client: Redis,
    eventually: Eventually,
) -> None:
    os.kill(private_redis.pid, signal.SIGSTOP)
    private_doorbell.ring(1)
    # The thread has taken the first ring, and hangs with it.
    eventually(lambda: not private_doorbell._rung)  # noqa: SLF001  # nothing else shows it
    for _ in range(100):
        private_doorbell.ring(2)
        private_doorbell.ring(5)
    os.kill(private_redis.pid, signal.SIGCONT)
    eventually(lambda: private_client.llen(QUEUE) >= 3)
    private_doorbell.stop()
    assert woken(private_client) == [1, 2, 5]


def test_a_ring_does_not_wait_for_a_broker_that_hangs(
    private_doorbell: Doorbell, private_redis: EmbeddedRedis
) -> None:
    os.kill(private_redis.pid, signal.SIGSTOP)
    began = time.monotonic()
    for shard in range(1000):
        private_doorbell.ring(shard % 8)
    assert time.monotonic() - began < 1.0
    os.kill(private_redis.pid, signal.SIGCONT)


def test_a_wake_up_that_fails_is_logged_without_the_password_and_dropped(
    settings: Settings, eventually: Eventually
) -> None:
    url = f"redis://user:broker-password@127.0.0.1:{free_port()}/0"
    doorbell = open_doorbell(replace(settings, celery_broker_url=url))
    with capture_logs() as log:
        doorbell.ring(4)
        eventually(lambda: bool(log))
        doorbell.stop()
    [line] = log
    assert (line["event"], line["of"], line["log_level"]) == ("wake_up_failed", 4, "warning")
    assert line["reason"] == "ConnectionError"
    assert "broker-password" not in str(line)


def test_rings_that_no_worker_answers_do_not_pile_up(
    doorbell: Doorbell, redis: Redis, eventually: Eventually
) -> None:
    def rings(most: int) -> int:
        for _ in range(3 * most):
            doorbell.ring(1)
            eventually(lambda: not doorbell._rung)  # noqa: SLF001  # nothing else shows it
        return redis.llen(QUEUE)

    assert rings(64) == 64
    # Somebody took them, or emptied the queue by hand.
    redis.delete(QUEUE)
    doorbell.ring(2)
    eventually(lambda: woken(redis) == [2])


def test_a_broker_that_was_restarted_gets_wake_ups_again(
    private_doorbell: Doorbell,
    private_redis: EmbeddedRedis,
    private_client: Redis,
    eventually: Eventually,
) -> None:
    private_doorbell.ring(1)
    eventually(lambda: private_client.llen(QUEUE) == 1)
    private_redis.stop()
    private_redis.start()

    def wakes() -> bool:
        # The first may be lost with the old connection; the sweep is there for that.
        private_doorbell.ring(2)
        return 2 in woken(private_client)

    eventually(wakes)


def test_stopping_sends_what_was_rung_and_ends_the_thread(settings: Settings, redis: Redis) -> None:
    doorbell = open_doorbell(settings)
    for shard in range(8):
        doorbell.ring(shard)
    doorbell.stop(20.0)
    assert sorted(woken(redis)) == list(range(8))


def test_stopping_does_not_wait_for_a_broker_that_hangs(
    private_settings: Settings, private_redis: EmbeddedRedis, log: list[Any], eventually: Eventually
) -> None:
    doorbell = open_doorbell(private_settings)
    os.kill(private_redis.pid, signal.SIGSTOP)
    doorbell.ring(1)
    began = time.monotonic()
    doorbell.stop(0.2)
    assert time.monotonic() - began < 2.0
    os.kill(private_redis.pid, signal.SIGCONT)
    thread = doorbell._thread  # noqa: SLF001  # so that no thread outlives the test
    assert thread is not None
    thread.join(20.0)


def test_nothing_is_started_before_the_first_ring(settings: Settings) -> None:
    doorbell = open_doorbell(settings)
    assert doorbell._thread is None  # noqa: SLF001  # a thread would not survive the fork
    doorbell.stop()
