"""An outage of Redis while callbacks keep coming: paused, then killed, then back.

Every callback must be answered 204 within a second, and applied exactly once afterwards, also when
the web process is killed in the middle. `make outage` plays the long form and prints what it saw.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from procfile import PUBLIC_URL, healthy, post, processes, wait_for
from redis import Redis

from console.embedded import EmbeddedRedis, free_port
from schemas.keys import Keyspace, shard_of
from workers import records

TOKEN = "a-token-of-the-tests"
ROOMS = 20
SENDERS = 8


class Plan(NamedTuple):
    """How long each part lasts, in seconds, and how many callbacks a second are sent."""

    paused: float
    killed: float
    after: float
    rate: int


class Seen(NamedTuple):
    """What came of it."""

    sent: int
    answers: Counter[int]
    slowest: float
    applied: int
    doubled: int


def callback(number: int) -> dict[str, str]:
    room, track = number % ROOMS, number // ROOMS
    return {
        "AccountSid": "AC" + "0" * 32,
        "RoomSid": f"RM{room:032x}",
        "StatusCallbackEvent": "track-added",
        "Timestamp": "2023-08-14T20:00:00.000Z",
        "SequenceNumber": str(track),
        "ParticipantSid": f"PA{room:032x}",
        "ParticipantIdentity": "Dana",
        "TrackSid": f"MT{number:032x}",
        "TrackKind": "audio",
    }


class Traffic:
    """Sends callbacks at a steady rate from several threads, and notes every answer.

    A callback that gets no answer, since the web process was just killed, was not acknowledged: it
    is sent again, as a caller would who needs it.
    """

    def __init__(self, port: int, rate: int) -> None:
        self._port = port
        self._gap = SENDERS / rate
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    @property
    def sent(self) -> int:
        return self._next

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            params = callback(number)
            while not self._answered(params):
                self._stopping.wait(0.05)
            due += self._gap
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def _answered(self, params: dict[str, str]) -> bool:
        began = time.monotonic()
        try:
            status = post(self._port, urlencode(params, quote_via=quote), TOKEN, params)
        except OSError:
            return False
        with self._lock:
            self.answers[status] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join(30)


def play(folder: Path, plan: Plan, *, kill_web: bool) -> Seen:
    """Play the outage with the Procfile's processes; all of them are ended with it."""
    server = EmbeddedRedis(folder / "redis")
    server.start()
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(port),
        "ROLLCALL_SPOOL_DIR": str(folder / "spool"),
    }
    try:
        with processes(environment, folder) as start:
            web = start("web")
            start("worker")
            wait_for(lambda: healthy(port))
            traffic = Traffic(port, plan.rate)
            with traffic.running():
                _pass(1.0)
                with Redis.from_url(server.url) as redis:
                    redis.client_pause(int(plan.paused * 1000))
                _pass(plan.paused)
                _pass(1.0)
                os.kill(server.pid, signal.SIGKILL)
                server.stop()
                _pass(plan.killed / 2)
                if kill_web:
                    web.kill()
                    start("web")
                    wait_for(lambda: healthy(port))
                _pass(plan.killed / 2)
                server.start()
                _pass(plan.after)
            return _seen(server.url, traffic)
    finally:
        server.stop()


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)


def _seen(url: str, traffic: Traffic) -> Seen:
    with Redis.from_url(url) as redis:
        # Whatever is missing after a minute is lost.
        deadline = time.monotonic() + 60
        while _applied(redis) < traffic.sent and time.monotonic() < deadline:
            _pass(0.1)
        applied = _applied(redis)
        # Each room is opened, its participant joins and its person arrives once; each track is
        # published once.
        doubled = redis.xlen(Keyspace("rollcall").events) - applied - 3 * ROOMS
    return Seen(traffic.sent, traffic.answers, traffic.slowest, applied, doubled)


def _applied(redis: Redis) -> int:
    """How many callbacks the rooms know of, each by its sequence number."""
    keyspace, sids = Keyspace("rollcall"), [f"RM{room:032x}" for room in range(ROOMS)]
    stored = redis.mget([keyspace.shard(shard_of(sid, 8)).room(sid) for sid in sids])
    heard = (one for record in stored for one in records.decode(record).facts.sequences)
    return sum(one.most - one.least + 1 for one in heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paused", type=float, default=30)
    parser.add_argument("--killed", type=float, default=60)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--kill-web", action="store_true")
    asked = parser.parse_args()
    plan = Plan(asked.paused, asked.killed, after=10, rate=asked.rate)
    with tempfile.TemporaryDirectory() as folder:
        seen = play(Path(folder), plan, kill_web=asked.kill_web)
    print(f"plan      {plan}, web killed: {asked.kill_web}")  # noqa: T201  # a report is printed
    print(f"sent      {seen.sent}, answered {dict(seen.answers)}")  # noqa: T201  # as above
    print(f"slowest   {seen.slowest:.3f} s")  # noqa: T201  # as above
    print(f"applied   {seen.applied}, doubled {seen.doubled}")  # noqa: T201  # as above


if __name__ == "__main__":
    main()
