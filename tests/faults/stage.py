"""The stage of one scenario: a Redis, a supervised Rollcall, and a sender that does not stop.

A scenario breaks something, mends it and calls `recover`; nobody else touches what runs.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from faults.evidence import unapplied
from faults.forgotten import Forgotten
from faults.meetings import Params
from faults.sender import TOKEN, Sender
from faults.supervisor import Supervisor
from procfile import PUBLIC_URL, ROOT, healthy
from redis import Redis, RedisError

from console.embedded import free_port
from schemas.connection import connect, keyspace_of
from schemas.settings import Settings

CRASHING = Path(__file__).parent / "crashing"
# Callbacks a second: enough that every moment falls into something, and little enough that two
# cores keep up with the sender, Redis and all processes.
RATE = 100
_READY_SECONDS = 60.0
# Longer than anything may take to come back; what is slower has not come back.
_RECOVERY_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_REPLY_SECONDS = 2.0


class Plan(NamedTuple):
    """What a scenario is played with."""

    folder: Path
    seed: int
    redis_url: str
    broker_url: str = ""
    # Whose output goes through a pipe.
    piped: Collection[str] = ()
    # Settings beside those that all scenarios have.
    settings: Mapping[str, str] = {}


class Stage:
    """What runs, and what was seen of it so far."""

    def __init__(self, plan: Plan) -> None:
        self.folder = plan.folder
        self.random = Random(plan.seed)
        self.settings = Settings(
            redis_url=plan.redis_url,
            celery_broker_url=plan.broker_url or plan.redis_url,
            spool_dir=plan.folder / "spool",
            port=free_port(),
        )
        self.keyspace = keyspace_of(self.settings)
        self.crash_points = plan.folder / "crash"
        self.crash_points.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            # In a copy of the repository, the copy's code is to run.
            "PYTHONPATH": f"{CRASHING}:{ROOT}",
            "ROLLCALL_TEST_CRASH": str(self.crash_points),
            "REDIS_URL": plan.redis_url,
            **({"CELERY_BROKER_URL": plan.broker_url} if plan.broker_url else {}),
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": PUBLIC_URL,
            "PORT": str(self.settings.port),
            "ROLLCALL_SPOOL_DIR": str(self.settings.spool_dir),
            **plan.settings,
        }
        self.supervisor = Supervisor(environment, plan.folder, piped=plan.piped)
        self.sender = Sender(self.settings.port, plan.seed, RATE)
        # How many of those that were acknowledged need not be looked at again.
        self._looked_at = 0
        # How long it took after each fault until all that had been acknowledged was applied.
        self.pauses: list[float] = []
        # What Redis was made to forget, where that can be counted.
        self.forgotten = Forgotten()

    def client(self) -> Redis:
        """Make a client of the data, for looking and for breaking."""
        return connect(self.settings, timeout=_REPLY_SECONDS)

    def play(self, seconds: float) -> None:
        """Let it go on."""
        time.sleep(seconds)

    def recover(self) -> float:
        """Wait until all that was acknowledged by now is applied; return how long that took."""
        began = time.monotonic()
        rest = self.sender.acknowledged[self._looked_at :]
        seen = self._looked_at + len(rest)
        while rest:
            rest = self._unapplied(rest)
            took = time.monotonic() - began
            assert took < _RECOVERY_SECONDS, f"{len(rest)} were not applied within {took:.0f} s."
            time.sleep(_LOOK_SECONDS * bool(rest))
        self._looked_at = seen
        self.pauses.append(time.monotonic() - began)
        return self.pauses[-1]

    def come_back(self) -> None:
        """The same where some may be lost: wait until nothing waits any more."""
        began = time.monotonic()
        self.sender.pause()
        self.wait_until(self.drained)
        self._looked_at = len(self.sender.acknowledged)
        self.pauses.append(time.monotonic() - began)
        self.sender.go_on()

    def _unapplied(self, callbacks: list[Params]) -> list[Params]:
        try:
            with self.client() as client:
                return unapplied(client, self.settings, callbacks)
        except RedisError:
            return callbacks

    def drained(self) -> bool:
        """Whether nothing waits any more, neither in an inbox nor in a spool."""
        shards = [self.keyspace.shard(number) for number in range(self.settings.shards)]
        try:
            with self.client() as client:
                waiting = sum(client.xlen(keys.inbox) for keys in shards)
                waiting += sum(client.exists(key) for of in shards for key in (of.audit, of.lease))
        except RedisError:
            return False
        return not waiting and not any(map(_spooled, self.settings.spool_dir.rglob("*.spool")))

    def wait_until(
        self, so: Callable[[], object], seconds: float = _RECOVERY_SECONDS, *, what: object = None
    ) -> None:
        """Wait until something is so, or fail; where Redis does not answer, it is not so yet.

        Args:
            so: asked again and again.
            seconds: for how long at most.
            what: what is waited for, in words; by default the function itself.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                if so():
                    return
            except (RedisError, OSError):
                pass
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or so}"
            time.sleep(0.01)


def _spooled(path: Path) -> bool:
    """Whether a file of the spool holds something; one that cannot be read now may do."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (count,) = database.execute("select count(*) from callbacks").fetchone()
            return bool(count)
    except sqlite3.Error:
        return path.exists()


@contextmanager
def staged(plan: Plan, *, sending: bool = True) -> Iterator[Stage]:
    """Start everything, have the sender begin, and end all of it with the block.

    Args:
        plan: what the scenario is played with.
        sending: no, where the caller sends by itself.
    """
    stage = Stage(plan)
    try:
        stage.supervisor.start("web", "worker", "beat")
        log = stage.supervisor.log("worker")
        stage.wait_until(lambda: healthy(stage.settings.port), _READY_SECONDS)
        stage.wait_until(lambda: b"worker_ready" in log.read_bytes(), _READY_SECONDS)
        if sending:
            stage.sender.start()
        yield stage
    finally:
        stage.sender.stop()
        stage.supervisor.close()
