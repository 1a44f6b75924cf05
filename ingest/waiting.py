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

# As many as ever work at once but in a storm; each keeps a stack of 16 KiB.
_MOST_AT_REST = 64


class _OnLoop(greenlet):  # type: ignore[misc]  # it carries no types
    """Synchronous code that is under way on the thread of an event loop."""

    loop: asyncio.AbstractEventLoop


class _Done:
    """What a greenlet switches with when its work is done, and no future to wait for."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome


class _AtRest(threading.local):
    """The greenlets of a thread that wait for work, the last one to have worked at the end."""

    def __init__(self) -> None:
        self.greenlets: list[_OnLoop] = []


_at_rest = _AtRest()


async def on_loop(work: Callable[..., Any], *args: Any) -> Any:
    """Do the work on the loop's own thread, and let others have it while the work waits."""
    running = _at_rest.greenlets.pop() if _at_rest.greenlets else _new_at_rest()
    running.parent = getcurrent()
    running.loop = asyncio.get_running_loop()
    switched = running.switch(work, args)
    while not isinstance(switched, _Done):
        try:
            await switched
        except BaseException:
            # Cancelled: what the work has begun is cleared away here and now.
            running.throw()
            raise
        switched = running.switch()
    _rest(running)
    # The greenlet holds this while it rests, and should hold nothing of the work.
    outcome, switched.outcome = switched.outcome, None
    return outcome


def _new_at_rest() -> _OnLoop:
    """Start one without work: whatever a greenlet is started with, it holds as long as it lives."""
    started = _OnLoop(_work)
    started.switch()
    return started


def _work() -> None:
    """Do one work after another. A greenlet whose work fails or is broken off ends with it."""
    done = None
    while True:
        work, args = getcurrent().parent.switch(done)
        done = _Done(work(*args))
        # What it was given to work on, it does not hold while it rests.
        del work, args


def _rest(running: _OnLoop) -> None:
    """Keep it for the next work: a new one takes fresh memory from the system for its frames."""
    if len(_at_rest.greenlets) < _MOST_AT_REST:
        # What the work has left in context variables is not for the next one.
        running.gr_context = None
        _at_rest.greenlets.append(running)


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
