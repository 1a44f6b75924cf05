"""Mishaps: what goes wrong with what runs for long, drawn by lot. Waits for no recovery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from faults.stage import Stage
from faults.supervisor import stopped
from redis import RedisError
from servers import RedisServer

# Where all processes pass all the time; those of the spool and of alerts are passed now and then.
_STEPS = {
    "deposit": ("before", "unread", "after"),
    "wake-up": ("before", "unread", "after"),
    "lease": ("before", "unread", "after"),
    "read": ("before", "unread", "after"),
    "load": ("before", "unread", "after"),
    "commit": ("before", "unread", "after"),
    "audit": ("before", "half", "after"),
    "release": ("before", "unread", "after"),
}
_PASSED_SECONDS = 5.0


class Mishaps:
    """Breaks something, one thing at a time; each kind comes before any comes again."""

    def __init__(self, stage: Stage, redis: RedisServer) -> None:
        self._stage = stage
        self._redis = redis
        self._random = stage.random
        self._deck: list[tuple[str, Callable[[], None]]] = []
        self.times: Counter[str] = Counter()
        self.last = ""

    def happen(self) -> None:
        """Let the next one happen; it is over when this returns, but for what follows from it."""
        self._deck = self._deck or self._shuffled()
        self.last, mishap = self._deck.pop()
        # What is to be broken may just be broken still, by the one before.
        with suppress(RedisError, ProcessLookupError):
            mishap()
        self.times[self.last] += 1

    def _shuffled(self) -> list[tuple[str, Callable[[], None]]]:
        deck = [
            ("kill -9 of any process", self._kill),
            ("kill -9 at a named step", self._kill_at_a_step),
            ("worker stopped for 1 to 5 s", self._stop_worker),
            ("wake-ups deleted for 2 s", self._delete_wake_ups),
            # One of the two: after each, the door tells Redis again what it took of late.
            self._random.choice(
                [("Redis restarted", self._restart_redis), ("Redis killed -9", self._kill_redis)]
            ),
            ("CLIENT PAUSE for 1 to 4 s", self._pause_clients),
            ("CLIENT KILL TYPE normal", self._kill_clients),
            ("SCRIPT FLUSH", self._flush_scripts),
        ]
        self._random.shuffle(deck)
        return deck

    def _kill(self) -> None:
        self._stage.supervisor.kill_one(self._random)

    def _kill_at_a_step(self) -> None:
        step = self._random.choice(list(_STEPS))
        armed = self._stage.crash_points / f"{step}.{self._random.choice(_STEPS[step])}"
        armed.touch()
        with suppress(AssertionError):
            self._stage.wait_until(lambda: not armed.exists(), _PASSED_SECONDS)
        # Where nobody passed, nobody shall later on.
        armed.unlink(missing_ok=True)

    def _stop_worker(self) -> None:
        """Stop the worker's main process and its children, for less than a lease or for more."""
        with stopped(self._stage.supervisor.family("worker")):
            self._stage.play(self._random.uniform(1.0, 5.0))

    def _delete_wake_ups(self) -> None:
        """Delete what is in the queue, and what promises that a wake-up is on its way."""
        stage = self._stage
        wakes = [stage.keyspace.shard(number).wake for number in range(stage.settings.shards)]
        with self._redis.client() as client:
            for _ in range(20):
                client.delete(f"{stage.settings.prefix}:wakeups", *wakes)
                stage.play(0.1)

    def _restart_redis(self) -> None:
        self._redis.stop()
        self._stage.play(self._random.choice((0.0, 0.5, 2.0)))
        self._redis.start()

    def _kill_redis(self) -> None:
        """Kill it with all that it has answered for written: the system has it then.

        Under `everysec` it may put off writing for as long as the disk is busy, and what it lost
        then it would have answered for. That loss is a scenario of the suite, and not one of these.
        """
        with self._redis.client() as client:
            client.config_set("appendfsync", "always")
        self._redis.kill()
        self._redis.start()

    def _pause_clients(self) -> None:
        with self._redis.client() as client:
            seconds = self._random.uniform(1.0, 4.0)
            client.client_pause(int(seconds * 1000))
        self._stage.play(seconds)

    def _kill_clients(self) -> None:
        with self._redis.client() as client:
            for _ in range(5):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                self._stage.play(0.1)

    def _flush_scripts(self) -> None:
        with self._redis.client() as client:
            client.script_flush()
