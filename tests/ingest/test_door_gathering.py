"""What gathers: many callbacks share a round trip or an fsync, and nobody's fate is another's."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from proxy import proxy_to
from redis import Redis
from rsgi import Request
from twilio.request_validator import RequestValidator

from console.embedded import EmbeddedRedis
from ingest.app import create_app
from ingest.callbacks import MAX_BODY_BYTES, PATH
from ingest.form import read_form
from ingest.gateway import Gateway
from ingest.gathering import Gathering
from ingest.inbox import Inbox, open_inbox
from ingest.receipts import Limits, Receipt
from ingest.waiting import Wait, end_all, new_wait, on_loop
from schemas.errors import InboxFullError, UnavailableError
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings

URL = "https://rollcall.example/callbacks"
SOON = 5.0
ROOMS = ["RM" + f"{number:032x}" for number in range(50)]


def callback(room: str) -> dict[str, str]:
    return {
        "AccountSid": "AC" + "0" * 32,
        "RoomSid": room,
        "StatusCallbackEvent": "room-created",
        "Timestamp": "2023-08-14T20:00:00.000Z",
    }


def request(settings: Settings, room: str, path: str = PATH) -> Request:
    """A callback about a room, signed."""
    body = "&".join(f"{name}={value}" for name, value in callback(room).items()).encode()
    signature = RequestValidator(settings.auth_tokens[0]).compute_signature(
        URL, dict(read_form(body).pairs)
    )
    made = Request(
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", str(len(body))),
        ("x-twilio-signature", signature),
        chunks=(body,),
    )
    made.scope.path, made.scope.query_string = path, ""
    return made


def ask_at_once(app: Any, *requests: Request) -> None:
    """Have them answered on one event loop, as the web process does."""
    gateway = Gateway(app, MAX_BODY_BYTES + 1, on_loop=(PATH,))

    async def ask() -> None:
        answers: list[Awaitable[None]] = [gateway.__rsgi__(one.scope, one) for one in requests]  # type: ignore[arg-type]
        async with asyncio.timeout(SOON):
            await asyncio.gather(*answers)

    asyncio.run(ask())


@pytest.fixture
def make_app(settings: Settings, bell: Any) -> Iterator[Callable[..., Flask]]:
    made: list[Flask] = []

    def make(inbox: Inbox, **changes: Any) -> Flask:
        made.append(create_app(replace(settings, **changes), inbox=inbox, doorbell=bell))
        return made[-1]

    yield make
    for app in made:
        app.extensions["deposits"].stop()


# -- the round trip to Redis ----------------------------------------------------------------------


def test_callbacks_that_come_while_one_is_deposited_share_the_next_round_trip(
    make_app: Callable[..., Flask], settings: Settings, redis: Redis, bell: Any
) -> None:
    with proxy_to(settings.redis_url) as proxy:
        inbox = open_inbox(replace(settings, redis_url=proxy.url))
        inbox.deposit(callback(ROOMS[0]), "")
        redis.config_resetstat()
        proxy.delay = 0.1
        requests = [request(settings, room) for room in ROOMS]
        ask_at_once(make_app(inbox), *requests)
        inbox.close()
    assert [one.status for one in requests] == [204] * len(ROOMS)
    # The first batch is whatever came before the thread was there; a call for each shard of it.
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2 * settings.shards
    keys = [Keyspace(settings.prefix).shard(number).inbox for number in range(settings.shards)]
    assert sum(redis.xlen(key) for key in keys) == 1 + len(ROOMS)
    # A wake-up for each shard, but for the one that was promised one already.
    promised = shard_of(ROOMS[0], settings.shards)
    assert sorted(bell.rung) == [n for n in range(settings.shards) if n != promised]


def test_a_shard_that_is_full_or_fails_does_no_harm_to_the_others_of_its_batch(
    settings: Settings, redis: Redis
) -> None:
    keyspace = Keyspace(settings.prefix)
    inbox = Inbox(redis, keyspace, settings.shards, Limits(maxlen=2))
    of_shards = {shard_of(room, settings.shards): room for room in ROOMS}
    full, broken, well = (of_shards[number] for number in (1, 2, 3))
    redis.set(keyspace.shard(2).inbox, "not a stream")
    placed = [inbox.place(callback(room), "") for room in (full, well, full, broken, full, well)]
    answers = inbox.deposit_all(placed)
    assert [type(one) for one in answers] == [
        *(Receipt, Receipt, Receipt, UnavailableError, InboxFullError, Receipt)
    ]
    entries = [one.entry for one in answers if isinstance(one, Receipt) and one.shard == 3]
    stored = redis.xrange(keyspace.shard(3).inbox)
    assert entries == [entry.decode() for entry, _ in stored]
    # One wake-up a shard.
    assert [one.wake for one in answers if isinstance(one, Receipt)] == [True, True, False, False]
    assert {one.shard for one in inbox.recent.take()} == {1, 3}


def test_a_shard_that_fails_sends_its_own_callbacks_to_the_disk_and_no_others(
    make_app: Callable[..., Flask], inbox: Inbox, settings: Settings, redis: Redis, log: list[Any]
) -> None:
    of_shards = {shard_of(room, settings.shards): room for room in ROOMS}
    redis.set(Keyspace(settings.prefix).shard(2).inbox, "not a stream")
    deposits = make_app(inbox).extensions["deposits"]
    for _ in range(5):
        assert deposits.deposit(callback(of_shards[2]), "").spooled
        assert not deposits.deposit(callback(of_shards[3]), "").spooled
        deposits.look()
    assert deposits.state() == "ready"
    assert "spooling_began" not in [one["event"] for one in log]


def test_a_script_that_redis_forgot_takes_the_whole_batch(inbox: Inbox, redis: Redis) -> None:
    redis.script_flush()
    answers = inbox.deposit_all([inbox.place(callback(room), "") for room in ROOMS])
    assert all(isinstance(one, Receipt) for one in answers)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "dies"])
def test_a_redis_that_fails_in_the_middle_of_a_batch_has_all_of_it_spooled_in_time(
    make_app: Callable[..., Flask],
    private_inbox: Inbox,
    private_redis: EmbeddedRedis,
    settings: Settings,
    log: list[Any],
    how: signal.Signals,
) -> None:
    app = make_app(private_inbox)
    private_inbox.check()
    os.kill(private_redis.pid, how)
    requests = [request(settings, room) for room in ROOMS]
    began = time.monotonic()
    ask_at_once(app, *requests)
    # One time-out of half a second for all of them, and an fsync.
    assert time.monotonic() - began < 1.0
    assert [one.status for one in requests] == [204] * len(ROOMS)
    events = [one["event"] for one in log]
    assert events.count("spooling_began") == 1
    told = [one for one in log if one["event"] == "callback_accepted"]
    assert [one["spooled"] for one in told] == [True] * len(ROOMS)


def test_a_web_process_that_is_told_to_end_answers_what_waits_for_redis(
    start_web: Callable[..., Any],
    private_redis: EmbeddedRedis,
    private_client: Redis,
    recorded: list[dict[str, Any]],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    with proxy_to(private_redis.url) as proxy, ThreadPoolExecutor(8) as threads:
        web = start_web(REDIS_URL=proxy.url, ROLLCALL_DEPOSIT_TIMEOUT_MS="5000")
        assert web.post(recorded[0]) == 204
        proxy.delay = 0.5
        answers = [threads.submit(web.post, recorded[0]) for _ in range(8)]
        # Redis has them all, and has told of some of them at the most.
        eventually(lambda: _waiting(private_client) == 1 + len(answers))
        web.process.send_signal(signal.SIGTERM)
        assert [one.result() for one in answers] == [204] * 8
        assert web.process.wait(10) == 0


def _waiting(redis: Redis) -> int:
    return sum(redis.xlen(key) for key in redis.keys("*inbox*"))


# -- the loop -------------------------------------------------------------------------------------


def test_a_view_that_takes_long_elsewhere_does_not_hold_up_a_callback() -> None:
    answered = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == PATH:
            answered.set()
        else:
            assert answered.wait(SOON)
        start_response("204 NO CONTENT", [])
        return []

    slow, quick = Request(), Request()
    slow.scope.path = "/readyz"
    ask_at_once(app, slow, quick)
    assert (slow.status, quick.status) == (204, 204)


def test_a_request_as_large_as_may_be_does_not_have_the_loop_to_itself() -> None:
    answered = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["CONTENT_LENGTH"] == "1":
            answered.set()
        else:
            assert answered.wait(SOON)
        start_response("204 NO CONTENT", [])
        return []

    large = [
        Request(("content-length", "9000"), chunks=(b"x" * 9000,)),
        Request(("content-length", "2"), chunks=(b"xx",)),
    ]
    large[1].scope.query_string = "y" * 9000
    small = Request(("content-length", "1"), chunks=(b"x",))
    ask_at_once(app, *large, small)
    assert [one.status for one in (*large, small)] == [204] * 3


def test_an_error_in_the_view_is_a_problem_and_the_loop_goes_on(
    make_app: Callable[..., Flask],
    inbox: Inbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Inbox.place

    def broken(self: Inbox, params: Any, token: str) -> Any:
        if params["RoomSid"] == ROOMS[1]:
            raise ZeroDivisionError
        return place(self, params, token)

    monkeypatch.setattr(Inbox, "place", broken)
    requests = [request(settings, room) for room in ROOMS[:3]]
    ask_at_once(make_app(inbox), *requests)
    assert [one.status for one in requests] == [204, 500, 204]
    assert b'"reason": "error"' in requests[1].body


def test_what_waits_on_the_loop_lets_others_have_it() -> None:
    waits: list[Wait] = []
    done: list[str] = []

    def first() -> None:
        waits.append(new_wait())
        waits[0].wait(SOON)
        done.append("first")

    def second() -> None:
        end_all(waits)
        done.append("second")

    async def both() -> None:
        await asyncio.gather(on_loop(first), on_loop(second))

    asyncio.run(both())
    assert done == ["second", "first"]


def test_what_is_cancelled_while_it_waits_is_cleared_away_at_once() -> None:
    waits: list[Wait] = []
    cleared: list[bool] = []

    def work() -> None:
        waits.append(new_wait())
        try:
            waits[0].wait(SOON)
        finally:
            cleared.append(True)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await on_loop(work)
        assert cleared == [True]

    asyncio.run(cancelled())
    # The loop is gone by now: this is for nobody.
    end_all(waits)


# -- the queue ------------------------------------------------------------------------------------


def in_a_thread(work: Callable[[], Any]) -> Any:
    return work()


def on_a_loop(work: Callable[[], Any]) -> Any:
    return asyncio.run(on_loop(work))


@pytest.mark.parametrize("run", [in_a_thread, on_a_loop])
def test_who_is_not_carried_in_time_goes_away_and_takes_no_room(
    run: Callable[[Callable[[], Any]], Any],
) -> None:
    may_go_on = threading.Event()
    gathering: Gathering[str, None] = Gathering("test", lambda items: _after(may_go_on, items))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            run(lambda: gathering.put("x", size=1, seconds=0.01))
    # The first is on its way.
    assert gathering.size == 1
    may_go_on.set()
    gathering.stop(SOON)
    assert gathering.size == 0


def _after(event: threading.Event, items: list[str]) -> list[None]:
    event.wait(SOON)
    return [None] * len(items)


@pytest.mark.parametrize("run", [in_a_thread, on_a_loop])
def test_each_is_told_what_became_of_it(run: Callable[[Callable[[], Any]], Any]) -> None:
    def carry(items: list[str]) -> list[str | Exception]:
        if "poison" in items:
            raise ZeroDivisionError
        return [KeyError(one) if one == "bad" else one.upper() for one in items]

    gathering: Gathering[str, str] = Gathering("test", carry)
    assert run(lambda: gathering.put("good", size=1, seconds=SOON)) == "GOOD"
    with pytest.raises(KeyError, match="bad"):
        run(lambda: gathering.put("bad", size=1, seconds=SOON))
    with pytest.raises(ZeroDivisionError):
        run(lambda: gathering.put("poison", size=1, seconds=SOON))
    gathering.stop(SOON)
    with pytest.raises(UnavailableError):
        run(lambda: gathering.put("late", size=1, seconds=SOON))


def test_no_more_is_carried_at_once_than_redis_takes_in_good_time() -> None:
    may_go_on, seen = threading.Event(), []

    def carry(items: list[int]) -> list[None]:
        may_go_on.wait(SOON)
        seen.append(len(items))
        return [None] * len(items)

    gathering: Gathering[int, None] = Gathering("test", carry)

    async def put_all(sizes: list[int]) -> None:
        puts = [
            on_loop(lambda size=size: gathering.put(0, size=size, seconds=SOON)) for size in sizes
        ]
        asyncio.get_running_loop().call_later(0.05, may_go_on.set)
        await asyncio.gather(*puts)

    asyncio.run(put_all([1] * 600 + [1 << 19] * 3))
    gathering.stop(SOON)
    assert sum(seen) == 603
    assert max(seen) == 256
    # Of half a mebibyte each, two at the most.
    assert seen[-1] <= 2
