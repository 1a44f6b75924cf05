"""RabbitMQ carries the wake-ups: the main job, and what becomes of it when RabbitMQ breaks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from outage import TOKEN, Traffic
from pace import unpublished
from procfile import PUBLIC_URL, Process, healthy, lines_of, post, processes, wait_for
from rabbitmq import MISSING, RABBITMQ, RabbitMQ, rabbitmq
from redis import Redis
from streams import by_room, check_chain, published

from console.embedded import EmbeddedRedis, free_port
from schemas.settings import Settings
from schemas.wakeups import DRAIN, WakeUps, celery_config

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not RABBITMQ, reason=MISSING)]

QUEUE = "rollcall:wakeups"
RATE = 60
Start = Callable[[str], Process]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with rabbitmq(tmp_path_factory.mktemp("broker") / "rabbitmq") as node:
        yield node


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own: worker processes of another test must not drain it."""
    own = EmbeddedRedis(tmp_path / "redis")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def environment(server: EmbeddedRedis, broker: RabbitMQ, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "CELERY_BROKER_URL": broker.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(free_port()),
        "ROLLCALL_SPOOL_DIR": str(tmp_path / "spool"),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    with processes(environment, tmp_path) as start:
        yield start


def all_started(start: Start, environment: dict[str, str]) -> tuple[Process, Process, Process]:
    web, worker, beat = start("web"), start("worker"), start("beat")
    wait_for(lambda: healthy(int(environment["PORT"])))
    wait_for(lambda: b"worker_ready" in worker.log.read_bytes())
    return web, worker, beat


def audited(worker: Process) -> list[dict[str, Any]]:
    return [line for line in lines_of(worker.log) if line["event"] == "callback_applied"]


def woken(worker: Process) -> int:
    """How many callbacks a wake-up had applied, rather than the worker's own sweep."""
    return sum(line["task_id"] is not None for line in audited(worker))


def test_the_recorded_callbacks_come_out_as_events_and_the_wake_ups_through_rabbitmq(
    start: Start,
    server: EmbeddedRedis,
    environment: dict[str, str],
    recorded: list[dict[str, Any]],
) -> None:
    port = int(environment["PORT"])
    web, worker, beat = all_started(start, environment)
    room_sid = recorded[0]["params"]["RoomSid"]
    lines = [one for one in recorded if one["params"]["RoomSid"] == room_sid]
    answers = [post(port, one["body"], TOKEN, one["params"]) for one in lines]
    assert answers == [204] * len(lines)
    with Redis.from_url(server.url) as redis:
        wait_for(lambda: len(published(redis)) == 22)
        assert not redis.exists(QUEUE)
        events = by_room(published(redis))[room_sid]
    check_chain(events)
    assert Counter(event.kind for event in events)["participant.joined"] == 3
    wait_for(lambda: len(audited(worker)) == len(lines))
    assert woken(worker) > 0
    assert [process.terminate() for process in (web, beat, worker)] == [0, 0, 0]
    for process in (web, beat, worker):
        assert broker_password(environment) not in process.log.read_text()


def broker_password(environment: dict[str, str]) -> str:
    return environment["CELERY_BROKER_URL"].split("@")[0].rpartition(":")[2]


@pytest.mark.parametrize("end", [RabbitMQ.stop, RabbitMQ.kill], ids=["stopped", "killed"])
def test_nothing_is_lost_while_rabbitmq_restarts_under_load_and_wake_ups_go_on_by_themselves(
    start: Start,
    server: EmbeddedRedis,
    broker: RabbitMQ,
    environment: dict[str, str],
    end: Callable[[RabbitMQ], None],
) -> None:
    _, worker, _ = all_started(start, environment)
    traffic = Traffic(int(environment["PORT"]), RATE)
    with Redis.from_url(server.url) as redis:
        with traffic.running():
            wait_for(lambda: woken(worker) > RATE)
            end(broker)
            # While it is away the worker's own sweep drains.
            seen = len(published(redis))
            wait_for(lambda: len(published(redis)) > seen + 2 * RATE)
            broker.start()
            before = woken(worker)
            wait_for(lambda: woken(worker) > before + RATE, seconds=60)
        wait_for(lambda: not unpublished(redis, traffic))
    assert dict(traffic.answers) == {204: traffic.sent}


def test_a_rabbitmq_that_hangs_holds_up_neither_the_door_nor_the_callbacks(
    start: Start, server: EmbeddedRedis, broker: RabbitMQ, environment: dict[str, str]
) -> None:
    web, worker, beat = all_started(start, environment)
    traffic = Traffic(int(environment["PORT"]), RATE)
    with Redis.from_url(server.url) as redis:
        broker.pause()
        try:
            with traffic.running():
                wait_for(lambda: len(published(redis)) > 3 * RATE)
            wait_for(lambda: not unpublished(redis, traffic))
            assert dict(traffic.answers) == {204: traffic.sent}
            assert traffic.slowest < 1.0
            assert [process.terminate() for process in (web, beat, worker)] == [0, 0, 0]
        finally:
            broker.go_on()


STARTS = """
import os, signal, sys
from pathlib import Path
from rabbitmq import RabbitMQ
node = RabbitMQ(Path(sys.argv[1]))
node.start()
print(node.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_rabbitmq_ends_with_the_tests_that_started_it_though_they_are_killed(
    tmp_path: Path,
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", STARTS, str(tmp_path / "rabbitmq")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    def is_gone() -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(killed.stdout)), 1.0).close()
        except OSError:
            return True
        return False

    wait_for(is_gone)


def test_wake_ups_that_nobody_takes_stay_bounded(settings: Settings, broker: RabbitMQ) -> None:
    there = replace(settings, celery_broker_url=broker.url, prefix="untaken")
    app = Celery("of-the-test", set_as_current=False)
    app.conf.update(celery_config(there))
    wake_ups = WakeUps(app, there)
    sent = sum(wake_ups.send(DRAIN, number % 8) for number in range(200))
    # RabbitMQ may count when the last few are still on their way to it.
    assert 64 <= sent < 128
    wait_for(lambda: broker.waiting("untaken:wakeups") == sent)
    with broker.connection() as connection:
        connection.channel().queue_purge("untaken:wakeups")
    assert wake_ups.send(DRAIN, 0)
    app.close()


def test_sending_fails_at_once_where_rabbitmq_is_away(settings: Settings) -> None:
    away = replace(settings, celery_broker_url=f"amqp://user:secret@127.0.0.1:{free_port()}//")
    app = Celery("of-the-test", set_as_current=False)
    app.conf.update(celery_config(away))
    sent: list[bool] = []
    thread = threading.Thread(target=lambda: sent.append(WakeUps(app, away).send(DRAIN, 0)))
    thread.start()
    thread.join(1.0)
    assert sent == [False]
    app.close()
