"""Waiting for another thread, in plain synchronous code: also on an event loop, without holding it.

What runs in a thread of its own just blocks. What runs on the thread of an event loop runs in a
greenlet there: to wait it switches to the loop, which switches back in its time, as SQLAlchemy does
it (https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html). So one view serves both. Knows
nothing of what is waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from greenlet import getcurrent, greenlet


class _OnLoop(greenlet):  # type: ignore[misc]  # it carries no types
    """Synchronous code that is under way on the thread of an event loop."""

    loop: asyncio.AbstractEventLoop


async def on_loop(work: Callable[..., Any], *args: Any) -> Any:
    """Do the work on the loop's own thread, and let others have it while the work waits."""
    running = _OnLoop(work)
    running.loop = asyncio.get_running_loop()
    switched = running.switch(*args)
    while not running.dead:
        try:
            await switched
        except BaseException:
            # Cancelled: what the work has begun is cleared away here and now.
            running.throw()
            raise
        switched = running.switch()
    return switched


class _Blocked:
    """A thread that waits."""

    loop = None

    def __init__(self) -> None:
        self._event = threading.Event()

    def end(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)


class _Suspended:
    """A greenlet that waits. Whatever is done with it is done on its loop's thread."""

    def __init__(self, running: _OnLoop) -> None:
        self.loop = running.loop
        self._running = running
        self._ended: asyncio.Future[None] = running.loop.create_future()

    def end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def wait(self, seconds: float) -> None:
        timer = self.loop.call_later(seconds, self.end)
        self._running.parent.switch(self._ended)
        timer.cancel()


Wait = _Blocked | _Suspended


def new_wait() -> Wait:
    """Make what the caller can wait with, for so many seconds at most, and another thread end."""
    current = getcurrent()
    return _Suspended(current) if isinstance(current, _OnLoop) else _Blocked()


def end_all(waits: Iterable[Wait]) -> None:
    """End what others wait for; a loop is called once for all of its own."""
    of_loops: dict[asyncio.AbstractEventLoop, list[_Suspended]] = {}
    for one in waits:
        if one.loop is None:
            one.end()
        else:
            of_loops.setdefault(one.loop, []).append(one)
    for loop, suspended in of_loops.items():
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_end, suspended)


def _end(suspended: Iterable[_Suspended]) -> None:
    for one in suspended:
        one.end()
