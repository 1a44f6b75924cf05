"""The two receivers that are measured side by side: how their processes start, and what they keep.

Both are given the same environment, the same Redis, and the same callbacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from redis import Redis

from benchmarks.backlog import Name, backlog_of
from benchmarks.processes import Process
from benchmarks.signing import PUBLIC_URL, TOKEN
from console.embedded import EmbeddedRedis, free_port
from console.readiness import answers
from ingest.inbox import open_inbox
from ingest.spool_rows import Spooled
from schemas.inbox import encode_params
from schemas.settings import Settings

Params = Mapping[str, str]

# Rows of one round trip, as the replay of a spool has them.
_DEPOSIT_AT_ONCE = 500
# The better of gunicorn's two: sync workers take no second request on a connection, and answered
# half as many. Between 4 and 64 threads there was no difference.
_GUNICORN = ("--worker-class", "gthread", "--threads", "16", "--keep-alive", "75")
_CELERY = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Site:
    """Where something is measured: a Redis, a folder for logs, a port."""

    server: EmbeddedRedis
    redis: Redis
    folder: Path
    port: int

    @classmethod
    def on(cls, server: EmbeddedRedis, folder: Path) -> Site:
        """Choose a port, and make the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(server, Redis.from_url(server.url), folder, free_port())

    def environment(self, **more: str) -> dict[str, str]:
        """What every process is started with: the settings that have no default."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "REDIS_URL": self.server.url,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": PUBLIC_URL,
            "PORT": str(self.port),
            **more,
        }

    def start(self, name: str, *command: str, **more: str) -> Process:
        """Start a module of Python."""
        return Process(name, command, self.environment(**more), self.folder)


# A process that was just started, and the question whether it does what it is for.
Starting = tuple[Process, Callable[[], bool]]


class System(Protocol):
    """A receiver."""

    name: Name
    events: str

    def web(self, site: Site, processes: int) -> Starting:
        """Start so many web processes on one port."""

    def worker(self, site: Site, processes: int | None = None) -> Process:
        """Start a worker with so many processes, or as many as it has by default."""

    def beside(self, site: Site) -> Iterator[Starting]:
        """Start whatever else belongs to it, one after the other."""

    def deposit(self, site: Site, callbacks: Iterable[Params]) -> None:
        """Put callbacks where the door would put them."""


class Rollcall:
    """As shipped: the commands of the Procfile, and no setting but those that must be.

    How many web processes there are is told, for either receiver.
    """

    name: Name = "rollcall"
    events = "rollcall:events"

    def web(self, site: Site, processes: int) -> Starting:
        web = site.start("web", "console.main", "web", WEB_CONCURRENCY=str(processes))
        return web, lambda: answers(site.port, "/readyz")

    def worker(self, site: Site, processes: int | None = None) -> Process:
        if processes is None:
            return site.start("worker", "console.main", "worker")
        return site.start("worker", "benchmarks.worker", str(processes))

    def beside(self, site: Site) -> Iterator[Starting]:
        beat = site.start("beat", "console.main", "beat")
        # What waits and has nobody at it, beat sends a wake-up for.
        yield beat, lambda: bool(site.redis.llen("rollcall:wakeups"))
        port = free_port()
        shown = {"ROLLCALL_API_TOKEN": TOKEN, "ROLLCALL_CONSOLE_PORT": str(port)}
        console = site.start("console", "console.main", "console", **shown)
        yield console, lambda: answers(port, "/healthz")

    def deposit(self, site: Site, callbacks: Iterable[Params]) -> None:
        deposit(Settings(redis_url=site.server.url, celery_broker_url=site.server.url), callbacks)


class Plain:
    """What one would write in an afternoon: `benchmarks/plain/`."""

    name: Name = "plain"
    events = "plain:events"

    def web(self, site: Site, processes: int) -> Starting:
        bind = ("--bind", f"127.0.0.1:{site.port}", "--workers", str(processes))
        web = site.start("web", "gunicorn", *bind, *_GUNICORN, "benchmarks.plain.web:app")
        return web, lambda: answers(site.port, "/healthz")

    def worker(self, site: Site, processes: int | None = None) -> Process:
        many = () if processes is None else ("--concurrency", str(processes))
        app = ("celery", "--quiet", "--app", "benchmarks.plain.tasks")
        return site.start("worker", *app, "worker", *_CELERY, *many)

    def beside(self, site: Site) -> Iterator[Starting]:  # noqa: ARG002  # nothing belongs to it
        yield from ()

    def deposit(self, site: Site, callbacks: Iterable[Params]) -> None:
        # It is made from its environment when it is loaded.
        os.environ["REDIS_URL"] = site.server.url
        from benchmarks.plain.tasks import apply_callback  # noqa: PLC0415  # as said

        for params in callbacks:
            apply_callback.delay(dict(params))


SYSTEMS: tuple[System, System] = (Plain(), Rollcall())


def deposit(settings: Settings, callbacks: Iterable[Params]) -> None:
    """Deposit callbacks in Rollcall's inboxes, as the door does with what it had spooled."""
    inbox = open_inbox(settings)
    rows = [Spooled(number, encode_params(one), "") for number, one in enumerate(callbacks)]
    for first in range(0, len(rows), _DEPOSIT_AT_ONCE):
        inbox.deposit_again(rows[first : first + _DEPOSIT_AT_ONCE])
    inbox.close()


def waiting(system: System, site: Site) -> int:
    """How many callbacks wait for a system's workers."""
    return backlog_of(system.name, site.redis)
