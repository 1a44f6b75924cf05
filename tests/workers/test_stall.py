"""An inbox that nobody drained in time, and a Redis that forgot commits: both are said aloud."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from audits import AuditOutput
from redis import Redis
from rooms import PHONE, connected, created, disconnected
from strategies import ROOM
from streams import check_chain, published
from structlog.testing import capture_logs

from schemas.audit import digest_of
from schemas.inbox import encode_params
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers import records
from workers.arrivals import pseudo_room
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.room.facts import Stall
from workers.store import Store

SHARD = shard_of(ROOM, 8)
Deposit = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]
MINUTE_MS = 60_000


def alerts(redis: Redis) -> list[tuple[str, Any]]:
    return [
        (one.kind, one.data["since"])
        for one in published(redis, "rollcall:alerts")
        if one.data["alert"] == "inbox-stalled"
    ]


@pytest.fixture
def waited(redis: Redis, keyspace: Keyspace) -> Callable[..., int]:
    """Put callbacks into the inbox that have been there for so many milliseconds."""

    def put(milliseconds: int, *callbacks: dict[str, str]) -> int:
        seconds, microseconds = redis.time()
        at = seconds * 1000 + microseconds // 1000 - milliseconds
        for number, params in enumerate(callbacks):
            fields: Any = {"params": encode_params(params), "token": ""}
            redis.xadd(keyspace.shard(SHARD).inbox, fields, id=f"{at}-{number}")
        return at

    return put


def test_callbacks_that_waited_too_long_raise_an_alert_until_they_are_taken(
    drain: Drain,
    redis: Redis,
    keyspace: Keyspace,
    audit: AuditOutput,
    waited: Callable[..., int],
) -> None:
    waited(MINUTE_MS, created(), connected(PHONE, 0))
    assert drain.drain(SHARD, {}).callbacks == 2
    raised, resolved = alerts(redis)
    assert (raised[0], resolved[0]) == ("alert.raised", "alert.resolved")
    assert raised[1] == resolved[1]
    [alert, *_] = [
        one for one in published(redis, "rollcall:alerts") if one.data["alert"] == "inbox-stalled"
    ]
    assert alert.data["dedup_key"] == f"inbox-stalled:{pseudo_room(SHARD)}"
    assert alert.data["severity"] == "critical"
    stored = redis.get(keyspace.shard(SHARD).room(pseudo_room(SHARD)))
    assert records.decode(stored).facts.stall is None
    # What it was concluded from stands in the audit, in the chain of the pseudo-room.
    lines = [line for line in audit.read() if line.get("room_sid") == pseudo_room(SHARD)]
    assert [line["event"] for line in lines] == ["timer_elapsed", "timer_elapsed"]
    assert lines[1]["prev"] == lines[0]["hash"] == digest_of(lines[0])
    check_chain(published(redis))


def test_callbacks_that_were_taken_in_time_raise_nothing(
    drain: Drain, redis: Redis, waited: Callable[..., int]
) -> None:
    waited(MINUTE_MS // 4, created(), connected(PHONE, 0))
    assert drain.drain(SHARD, {}).callbacks == 2
    assert alerts(redis) == []


def test_a_stall_that_lasts_over_many_slices_is_one_alert(
    store: Store,
    settings: Settings,
    redis: Redis,
    keyspace: Keyspace,
    audit: AuditOutput,
    waited: Callable[..., int],
    deposit: Deposit,
    eventually: Eventually,
) -> None:
    since = waited(MINUTE_MS, created(), *(connected(PHONE, number) for number in range(600)))
    # Each slice ends with its first batch.
    slow = Drain(store, bounds_of(settings), Lines(audit.writing), slice_seconds=0.0)
    assert slow.drain(SHARD, {}).callbacks == 256
    stored = redis.get(keyspace.shard(SHARD).room(pseudo_room(SHARD)))
    stall = records.decode(stored).facts.stall
    assert isinstance(stall, Stall)
    assert stall.since == since * 1000
    deposit(disconnected(PHONE, 1_000))
    assert slow.drain(SHARD, {}).callbacks == 256
    assert slow.drain(SHARD, {}).callbacks == 90
    eventually(lambda: bool(slow.drain(SHARD, {})) and len(alerts(redis)) == 2)
    assert [kind for kind, _ in alerts(redis)] == ["alert.raised", "alert.resolved"]


def test_what_lies_in_the_wrong_shard_is_set_aside_and_begins_no_room_twice(
    drain: Drain, redis: Redis, keyspace: Keyspace
) -> None:
    wrong = (SHARD + 1) % 8
    redis.xadd(keyspace.shard(wrong).inbox, {"params": encode_params(created()), "token": ""})
    assert drain.drain(wrong, {}).callbacks == 1
    assert published(redis) == []
    [(_, dead)] = redis.xrange(keyspace.shard(wrong).dead)
    assert dead[b"detail"] == f"{ROOM}: of another shard than {wrong}".encode()


def test_nobody_leaves_because_the_clock_of_redis_jumped_ahead(
    store: Store, settings: Settings, redis: Redis, audit: AuditOutput, deposit: Deposit
) -> None:
    deposit(created(), connected(PHONE, 0), disconnected(PHONE, 1_000))
    bounds = bounds_of(settings)._replace(linger=1_000)
    hour_ago = time.time_ns() // 1000 - 3_600_000_000
    # Our clock is an hour behind that of Redis, which may be the one that is wrong.
    astray = Drain(store, bounds, Lines(audit.writing), now=lambda: hour_ago)
    with capture_logs() as said:
        astray.drain(SHARD, {})
        assert astray.drain(SHARD, {}).callbacks == 0
    assert "redis_clock_ahead" in [one["event"] for one in said]
    assert "identity.departed" not in [one.kind for one in published(redis)]
    Drain(store, bounds, Lines(audit.writing)).drain(SHARD, {})
    assert published(redis)[-1].kind == "identity.departed"


def test_a_redis_that_forgot_commits_is_reported_and_what_is_left_is_done_again(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    keys = keyspace.shard(SHARD)
    deposit(created())
    drain.drain(SHARD, {})
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    for number in range(3):
        deposit(connected(PHONE, number))
        drain.drain(SHARD, {})
    lost = published(redis)
    # Redis comes back as it was before the last three commits, and with the last callback waiting.
    redis.flushall()
    for key, value in before.items():
        if value is not None and key != keys.lease.encode():
            redis.restore(key, 0, value)
    deposit(connected(PHONE, 0))
    with capture_logs() as said:
        assert drain.drain(SHARD, {}).callbacks == 1
    [report] = [one for one in said if one["event"] == "redis_lost_commits"]
    assert (report["shard"], report["lost"], report["left"]) == (SHARD, 3, 1)
    check_chain(published(redis))
    assert [one.kind for one in published(redis)] == [one.kind for one in lost]
    with capture_logs() as said:
        drain.drain(SHARD, {})
    assert said == []
