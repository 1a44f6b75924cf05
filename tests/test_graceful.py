"""How the processes end, and who goes on meanwhile: rolling deploys, signals, stuck children."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import billiard.pool
import psutil
import pytest
from outage import TOKEN, Traffic, callback
from pace import clock, longest_pause, unpublished
from procfile import PUBLIC_URL, Process, healthy, lines_of, post, processes, wait_for
from proxy import proxy_to
from redis import Redis
from streams import published

from console.embedded import EmbeddedRedis, free_port
from schemas.keys import Keyspace

pytestmark = pytest.mark.slow

RATE = 100
# A pause is promised to be shorter than this; on two cores with five times their work it was 0.4 s.
# A lease that was not given back makes one of three seconds, a shard that nobody was woken for one
# of two.
_PAUSE_SECONDS = 1.0
# Celery gives its own connections up after 5 s each; Docker and Kubernetes leave a worker 30 s.
_END_SECONDS = 20.0
Start = Callable[[str], Process]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own: worker processes of another test must not drain it."""
    own = EmbeddedRedis(tmp_path / "redis")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def environment(server: EmbeddedRedis, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(free_port()),
        "ROLLCALL_SPOOL_DIR": str(tmp_path / "spool"),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    with processes(environment, tmp_path) as start:
        yield start


@pytest.fixture
def redis(server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


def started(start: Start) -> Process:
    """Start a worker and wait until it takes wake-ups. All workers of a test share one log."""
    worker = start("worker")
    mark = b'"pid":%d' % worker.pid
    wait_for(
        lambda: any(
            b'"worker_ready"' in line and mark in line
            for line in worker.log.read_bytes().splitlines()
        )
    )
    return worker


def end(process: Process, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
    """Send a signal; return the exit code and how many seconds the process took to end."""
    began = time.monotonic()
    os.kill(process.pid, how)
    return process.wait(), time.monotonic() - began


def to_one(worker: Process) -> None:
    os.kill(worker.pid, signal.SIGTERM)


def to_the_whole_group(worker: Process) -> None:
    os.killpg(worker.pid, signal.SIGTERM)


@pytest.mark.parametrize("ask", [to_one, to_the_whole_group])
def test_a_rolling_deploy_makes_no_pause(
    start: Start,
    environment: dict[str, str],
    redis: Redis,
    ask: Callable[[Process], None],
) -> None:
    # Docker and Kubernetes send the signal to the main process, Heroku and foreman to its children
    # as well (https://devcenter.heroku.com/articles/dynos#shutdown).
    start("web")
    old = started(start)
    wait_for(lambda: healthy(int(environment["PORT"])))
    traffic = Traffic(int(environment["PORT"]), RATE)
    with traffic.running():
        wait_for(lambda: redis.xlen("rollcall:events") > 2 * RATE)
        since = clock(redis)
        for _ in range(2):
            new = started(start)
            ask(old)
            assert old.wait() == 0
            old = new
        seen = redis.xlen("rollcall:events")
        wait_for(lambda: redis.xlen("rollcall:events") > seen + RATE)
        until = clock(redis)
    wait_for(lambda: not unpublished(redis, traffic))
    assert dict(traffic.answers) == {204: traffic.sent}
    pause = longest_pause(redis, since, until)
    print(f"longest pause of a shard: {pause:.3f} s")  # noqa: T201  # `pytest -rP` shows it
    assert pause < _PAUSE_SECONDS


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,), (signal.SIGINT, signal.SIGINT)],
    ids=["SIGTERM twice", "SIGQUIT", "SIGINT twice"],
)
def test_a_worker_that_is_asked_to_hurry_ends_and_loses_nothing(
    start: Start, environment: dict[str, str], redis: Redis, signals: tuple[signal.Signals, ...]
) -> None:
    start("web")
    worker = started(start)
    wait_for(lambda: healthy(int(environment["PORT"])))
    traffic = Traffic(int(environment["PORT"]), RATE)
    with traffic.running():
        wait_for(lambda: redis.xlen("rollcall:events") > 2 * RATE)
        began = time.monotonic()
        for one in signals:
            os.kill(worker.pid, one)
        worker.wait()
        assert time.monotonic() - began < _END_SECONDS
    # What came meanwhile waits, and the next worker applies it.
    started(start)
    wait_for(lambda: not unpublished(redis, traffic))
    assert dict(traffic.answers) == {204: traffic.sent}


def test_what_a_worker_shortens_is_what_celerys_children_wait_by() -> None:
    # Should billiard rename it, it would be set to no effect, and an end take 30 s now and then.
    assert billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT
    assert billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL == 0.1


@pytest.mark.parametrize("trouble", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "is away"])
def test_no_process_hangs_at_its_end_while_redis_does(
    start: Start, environment: dict[str, str], server: EmbeddedRedis, trouble: signal.Signals
) -> None:
    web, beat, worker = start("web"), start("beat"), started(start)
    port = int(environment["PORT"])
    wait_for(lambda: healthy(port))
    for number in range(20):
        params = callback(number)
        assert post(port, urlencode(params, quote_via=quote), TOKEN, params) == 204
    os.kill(server.pid, trouble)
    try:
        bounds = {worker: _END_SECONDS, beat: 3.0, web: 8.0}
        for process, bound in bounds.items():
            code, seconds = end(process)
            assert code == 0
            assert seconds < bound
    finally:
        if trouble == signal.SIGSTOP:
            os.kill(server.pid, signal.SIGCONT)


def test_web_answers_what_it_has_taken_before_it_ends(
    environment: dict[str, str], server: EmbeddedRedis, redis: Redis, tmp_path: Path
) -> None:
    port = int(environment["PORT"])
    with proxy_to(server.url) as proxy:
        slow = {"REDIS_URL": proxy.url, "ROLLCALL_DEPOSIT_TIMEOUT_MS": "10000"}
        with processes(environment | slow, tmp_path) as start, ThreadPoolExecutor(8) as callers:
            web = start("web")
            wait_for(lambda: healthy(port))
            proxy.delay = 1.0
            requests = [callback(number) for number in range(8)]
            answers = [
                callers.submit(post, port, urlencode(one, quote_via=quote), TOKEN, one)
                for one in requests
            ]
            # They lie in Redis, and the door does not know it of the last ones yet.
            wait_for(lambda: inboxes(redis) == len(requests))
            assert not all(answer.done() for answer in answers)
            code, seconds = end(web)
            assert [answer.result() for answer in answers] == [204] * len(requests)
            assert code == 0
            assert seconds < 8.0


def test_a_worker_whose_children_are_stuck_drains_by_itself(
    start: Start, environment: dict[str, str], redis: Redis
) -> None:
    start("web")
    worker = started(start)
    wait_for(lambda: healthy(int(environment["PORT"])))
    children = [child.pid for child in psutil.Process(worker.pid).children()]
    assert children
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    traffic = Traffic(int(environment["PORT"]), RATE)
    try:
        with traffic.running():
            wait_for(lambda: redis.xlen("rollcall:events") > 3 * RATE)
        wait_for(lambda: not unpublished(redis, traffic))
    finally:
        for pid in children:
            os.kill(pid, signal.SIGCONT)
    applied = [line for line in lines_of(worker.log) if line["event"] == "callback_applied"]
    assert {line["task_id"] for line in applied} == {None}


def test_a_worker_that_lives_and_does_nothing_is_seen_and_told_of_when_it_goes_on(
    start: Start, environment: dict[str, str], redis: Redis
) -> None:
    environment["ROLLCALL_STALLED_SECONDS"] = "1"
    port = int(environment["PORT"])
    start("web")
    worker = started(start)
    wait_for(lambda: healthy(port))
    wait_for(lambda: readiness(port)["inbox"] == "flowing")
    family = [worker.pid, *(one.pid for one in psutil.Process(worker.pid).children())]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        params = callback(0)
        assert post(port, urlencode(params, quote_via=quote), TOKEN, params) == 204
        wait_for(lambda: readiness(port)["inbox"] == "stalled")
        # It is the worker who is not well: the door takes callbacks as before.
        assert readiness(port)["status"] == "ready"
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: readiness(port)["inbox"] == "flowing")
    wait_for(lambda: stalls(redis) == ["alert.raised", "alert.resolved"])


def readiness(port: int) -> dict[str, str]:
    with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5.0) as answer:
        told: dict[str, str] = json.load(answer)
        return told


def stalls(redis: Redis) -> list[str]:
    alerts = published(redis, "rollcall:alerts")
    return [one.kind for one in alerts if one.data["alert"] == "inbox-stalled"]


def test_two_beats_and_a_queue_emptied_by_hand_do_no_harm(
    start: Start, environment: dict[str, str], redis: Redis
) -> None:
    start("web")
    started(start)
    start("beat")
    start("beat")
    wait_for(lambda: healthy(int(environment["PORT"])))
    traffic = Traffic(int(environment["PORT"]), RATE)

    def emptied() -> bool:
        redis.delete("rollcall:wakeups")
        return redis.xlen("rollcall:events") > 3 * RATE

    with traffic.running():
        wait_for(emptied)
    wait_for(lambda: not unpublished(redis, traffic))
    assert dict(traffic.answers) == {204: traffic.sent}


def inboxes(redis: Redis) -> int:
    return sum(redis.xlen(Keyspace("rollcall").shard(number).inbox) for number in range(8))
