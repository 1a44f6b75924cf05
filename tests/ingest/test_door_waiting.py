"""Greenlets that work again: as new to the next work, and none of those that were broken off."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from ingest.waiting import end_all, new_wait, on_loop

SOON = 5.0
TOLD: ContextVar[str] = ContextVar("told", default="nothing")


def who() -> Any:
    return getcurrent()


def who_after_waiting() -> Any:
    wait = new_wait()
    asyncio.get_running_loop().call_soon(end_all, [wait])
    wait.wait(SOON)
    return getcurrent()


async def works_again(first: Any) -> bool:
    """Whether what has done the first work does the next."""
    return await on_loop(who) is first


def test_a_greenlet_that_has_finished_does_the_next_work() -> None:
    async def work() -> None:
        first = await on_loop(who_after_waiting)
        assert await works_again(first)
        assert await on_loop(who_after_waiting) is first

    asyncio.run(work())


def test_it_works_on_the_next_loop_of_its_thread_too() -> None:
    first = asyncio.run(on_loop(who_after_waiting))
    assert asyncio.run(on_loop(who_after_waiting)) is first


def test_it_comes_back_to_whoever_gave_it_the_work() -> None:
    first = asyncio.run(on_loop(who))

    def elsewhere() -> tuple[Any, Any]:
        return asyncio.run(on_loop(who_after_waiting)), asyncio.run(on_loop(lambda: who().parent))

    other = greenlet(elsewhere)
    assert other.switch() == (first, other)


def test_one_whose_work_failed_is_not_used_again_and_the_error_is_told() -> None:
    workers = []

    def fail() -> None:
        workers.append(who_after_waiting())
        raise ZeroDivisionError

    async def work() -> None:
        with pytest.raises(ZeroDivisionError):
            await on_loop(fail)
        assert workers[0].dead
        assert not await works_again(workers[0])

    asyncio.run(work())


@pytest.mark.parametrize("swallows", [False, True])
def test_one_whose_work_was_broken_off_is_not_used_again(swallows: bool) -> None:
    workers = []

    def work() -> None:
        workers.append(who())
        try:
            new_wait().wait(SOON)
        except BaseException:
            if not swallows:
                raise

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await on_loop(work)
        assert not await works_again(workers[0])

    asyncio.run(cancelled())


def test_what_a_work_leaves_in_context_variables_is_not_found_by_the_next() -> None:
    async def work() -> None:
        first = await on_loop(lambda: (TOLD.set("a secret"), who())[1])
        assert await on_loop(lambda: (TOLD.get(), who())) == ("nothing", first)

    asyncio.run(work())


def test_what_a_work_was_given_or_made_is_not_held_while_its_greenlet_rests() -> None:
    class Given:
        pass

    async def work() -> list[weakref.ref[Given]]:
        given = Given()
        made = await on_loop(lambda _: Given(), given)
        return [weakref.ref(given), weakref.ref(made)]

    held = []

    def first_and_second() -> None:
        held.append(asyncio.run(work()))
        held.append(asyncio.run(work()))
        gc.collect()
        held.append([one() for both in held for one in both])

    # In a thread where none rests yet, a new greenlet does the first work and again the second.
    thread = threading.Thread(target=first_and_second)
    thread.start()
    thread.join(SOON)
    assert held[2] == [None] * 4


def test_no_more_than_64_rest() -> None:
    async def work() -> list[Any]:
        return await asyncio.gather(*(on_loop(who_after_waiting) for _ in range(100)))

    first = asyncio.run(work())
    second = asyncio.run(work())
    assert len(set(first)) == 100
    assert len(set(first) & set(second)) == 64


def test_a_thread_that_ends_while_greenlets_rest_in_it_ends_in_peace() -> None:
    done = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(on_loop(who_after_waiting))))
    thread.start()
    thread.join(SOON)
    assert len(done) == 1
    assert asyncio.run(on_loop(who)) is not done[0]
