"""`rollcall up`: everything on this machine, for trying Rollcall out and for developing.

Starts Redis (unless REDIS_URL names one), worker, beat and web, and the console where there is a
token for it; says how to register the callback URL; shows derived events as they come; stops all of
it on Ctrl-C. A deployment runs the Procfile's processes instead.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import click
from platformdirs import user_state_path

from console import demo as demonstration
from console.embedded import EmbeddedRedis
from console.processes import Children
from console.readiness import WorkerProbe, answers, check_broker, check_redis, wait_until
from console.tail import Tail
from console.welcome import EMBEDDED, INVENTED, READY, STOPPED, STOPPING, welcome
from ingest.port import claimed_port
from schemas.connection import connect
from schemas.settings import Settings

_READY_SECONDS = 30.0
_REDIS_SECONDS = 5.0
# How long a look at the streams lasts, and so how long Ctrl-C may wait to be seen.
_LOOK_SECONDS = 0.25


def up(*, demo: bool) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Args:
        demo: whether to play the demo when all is ready.

    Raises:
        RollcallError: something could not start, or ended by itself; all the rest is stopped.
    """
    stop = _stop_on_signals()
    settings = Settings.from_environment(redis_url=EMBEDDED)
    with ExitStack() as stack:
        stack.enter_context(claimed_port(settings.port, "up"))
        _run(settings, stop, stack, demo=demo)
        _say(STOPPING)
    _say(STOPPED)


def _run(settings: Settings, stop: threading.Event, stack: ExitStack, *, demo: bool) -> None:
    """Start everything and show events until told to stop; the stack stops what was started."""
    state = user_state_path("rollcall").absolute()
    redis = None
    if settings.redis_url == EMBEDDED:
        redis = EmbeddedRedis(state / "redis")
        stack.callback(redis.stop)
        if not redis.start(lambda: not stop.is_set()):
            return
        settings = Settings.from_environment(redis_url=redis.url)
    check_redis(settings)
    check_broker(settings)
    made_token = not (settings.auth_tokens or settings.account_tokens)
    if made_token:
        settings = replace(settings, auth_tokens=(secrets.token_hex(16),))
    if demo:
        # Its recorded room is of 2023.
        settings = replace(settings, max_age_seconds=0)
    children = Children(state / "logs", _environment(settings))
    stack.callback(children.stop)
    click.echo(welcome(settings, state, embedded=redis, made_token=made_token))

    def going_on() -> bool:
        children.check()
        if redis is not None:
            redis.check()
        return not stop.is_set()

    client = stack.enter_context(connect(settings, timeout=_REDIS_SECONDS))
    # Its place is taken before anything can happen.
    tail = Tail(client, settings)
    # Without a token it would refuse to start.
    asked_for = ("console",) if settings.api_tokens else ()
    # Stopped in the reverse order: the door closes first and the worker finishes what it has.
    for name in (*asked_for, "worker", "beat", "web"):
        children.start(name, _command(name))
    if _ready(settings, children, going_on):
        click.echo(READY)
        if demo and redis is None:
            click.echo(INVENTED)
        _show(tail, demonstration.play(settings) if demo else iter(()), going_on)


def _stop_on_signals() -> threading.Event:
    """Turn the signals that mean the end into a flag, so that they interrupt nothing half-way."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _environment(settings: Settings) -> dict[str, str]:
    bound = [f"{sid}={one}" for sid, own in settings.account_tokens.items() for one in own]
    return os.environ | {
        "REDIS_URL": settings.redis_url,
        "TWILIO_AUTH_TOKEN": ",".join([*settings.auth_tokens, *bound]),
        "ROLLCALL_MAX_AGE": str(settings.max_age_seconds),
        "PYTHONUNBUFFERED": "1",
    }


def _command(name: str) -> list[str]:
    # -P: a folder called `schemas` where the operator stands is not ours.
    return [sys.executable, "-P", "-m", "console.main", name]


def _ready(settings: Settings, children: Children, going_on: Callable[[], bool]) -> bool:
    """Wait until callbacks are accepted and worked on; false where the wait was broken off."""
    deadline = time.monotonic() + _READY_SECONDS
    web, worker = children.log_of("web"), children.log_of("worker")
    with ExitStack() as stack:
        probe = WorkerProbe(settings)
        stack.callback(probe.close)
        steps = [
            (lambda: answers(settings.port, "/healthz"), "web did not start", web),
            (lambda: answers(settings.port, "/readyz"), "web did not become ready", web),
            (probe.taken, "worker took no wake-up", worker),
        ]
        if settings.api_tokens:
            console = children.log_of("console")
            port = settings.console_port
            steps.append((lambda: answers(port, "/readyz"), "console did not start", console))
        return all(wait_until(step, what, log, deadline, going_on) for step, what, log in steps)


def _show(tail: Tail, steps: Iterator[float], going_on: Callable[[], bool]) -> None:
    """Show events as they come, and take the demo's steps when they are due."""
    due = time.monotonic()
    while going_on():
        if time.monotonic() >= due:
            due = time.monotonic() + next(steps, math.inf)
        tail.show(min(_LOOK_SECONDS, max(0.0, due - time.monotonic())))


def _say(text: str) -> None:
    # Where the terminal is gone there is still everything to stop.
    with suppress(OSError):
        click.echo(text)
