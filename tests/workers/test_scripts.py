"""The scripts' fine print: what is written where, and what expires by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asked import asked, waiting_in
from redis import Redis
from rooms import PHONE, connected, created
from strategies import ROOM, sid

from schemas.keys import WAKE_MS, Keyspace, shard_of
from workers import store as store_module
from workers.batch import Batch, Hold, Stored
from workers.drain import Drain
from workers.store import Store

SHARD = shard_of(ROOM, 8)
EMPTY = Batch(taken=(), rooms={}, audit_lines=b"", verdicts={}, events=[], alerts=[], dead=[])
Deposit = Callable[..., Any]


def take(store: Store) -> Hold:
    taken = asked(store, store.take(SHARD, "mine"))
    assert taken
    return taken.hold


def test_each_room_of_a_batch_gets_its_own_record(store: Store) -> None:
    hold = take(store)
    rooms = {sid("RM", number): b"record %d" % number for number in range(5)}
    stored = {room: Stored(record) for room, record in rooms.items()}
    hold = asked(store, store.commit(hold, EMPTY._replace(rooms=stored)))
    assert asked(store, store.load(hold, rooms)) == rooms


def test_each_entry_of_a_batch_goes_to_its_stream_in_order(
    store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    def entries(of: str, count: int) -> list[list[str | bytes]]:
        return [["n", f"{of}{number}", "more", b"x" * number] for number in range(count)]

    batch = EMPTY._replace(events=entries("e", 3), alerts=entries("a", 1), dead=entries("d", 2))
    asked(store, store.commit(take(store), batch))
    streams = (keyspace.events, keyspace.alerts, keyspace.dead)
    told = [[fields[b"n"] for _, fields in redis.xrange(stream)] for stream in streams]
    assert told == [[b"e0", b"e1", b"e2"], [b"a0"], [b"d0", b"d1"]]


@pytest.mark.parametrize("stream", ["events", "alerts", "dead"])
def test_each_stream_is_bounded_by_its_own_length(
    redis: Redis, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(store_module, "DEAD_MAXLEN", 10 if stream == "dead" else 10_000)
    store = Store(redis, keyspace, shards=8, maxlen=10_000 if stream == "dead" else 10)
    many: list[list[str | bytes]] = [["id", str(number)] for number in range(500)]
    asked(store, store.commit(take(store), EMPTY._replace(events=many, alerts=many, dead=many)))
    # Redis trims whole nodes of a stream, of 100 entries each.
    lengths = {name: redis.xlen(f"rollcall:{name}") for name in ("events", "alerts", "dead")}
    assert lengths[stream] <= 110
    assert (lengths["dead"] == 500) == (stream != "dead")
    assert (lengths["events"] == 500) == (stream == "dead")


def test_a_wake_up_that_is_promised_and_lost_is_promised_again_after_a_while(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    wake = keyspace.shard(SHARD).wake
    deposit(created())
    assert 0 < redis.pttl(wake) <= WAKE_MS
    hold = take(store)
    assert not redis.exists(wake)
    assert asked(store, store.release(hold, hand_on=True, audited=True)) == "handed-on"
    assert 0 < redis.pttl(wake) <= WAKE_MS


def test_one_callback_that_waits_keeps_the_shard_from_being_given_back(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    assert asked(store, store.release(hold, hand_on=False, audited=True)) == "waiting"
    assert redis.get(keyspace.shard(SHARD).lease) == b"mine"


def test_a_commit_leaves_what_came_after_its_last_callback(store: Store, deposit: Deposit) -> None:
    deposit(*(connected(PHONE, at) for at in range(5)))
    hold = take(store)
    ids = [entry_id for entry_id, _ in waiting_in(store, SHARD)]
    hold = asked(store, store.commit(hold, EMPTY._replace(taken=ids[:3])))
    assert [entry_id for entry_id, _ in waiting_in(store, SHARD)] == ids[3:]


@pytest.mark.parametrize("of", ["inbox", "events", "alerts", "dead"])
def test_a_key_that_is_no_stream_stops_a_commit_before_its_first_write(
    store: Store, redis: Redis, keyspace: Keyspace, of: str
) -> None:
    hold = take(store)
    key = keyspace.shard(SHARD).inbox if of == "inbox" else f"rollcall:{of}"
    redis.set(key, "somebody else's")
    one: list[list[str | bytes]] = [["id", "1"]]
    batch = EMPTY._replace(taken=[b"1-0"], rooms={ROOM: Stored(b"record")}, events=one)
    batch = batch._replace(alerts=one, dead=one)
    with pytest.raises(Exception, match="WRONGTYPE"):
        asked(store, store.commit(hold, batch))
    assert redis.get(keyspace.shard(SHARD).room(ROOM)) is None
    assert redis.get(keyspace.shard(SHARD).commit) is None
    written = {"events", "alerts", "dead"} - {of}
    assert [redis.exists(f"rollcall:{stream}") for stream in written] == [0] * len(written)


def test_no_two_drains_hold_a_shard_under_the_same_name(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    names = set()
    for number in range(1, 4):
        deposit(connected(PHONE, number))
        drain.drain(SHARD, {})
        commit, _, name = redis.get(keyspace.shard(SHARD).commit).decode().partition(":")
        assert int(commit) == number
        names.add(name)
    assert len(names) == 3


def test_a_dead_workers_shard_is_free_again_after_three_seconds(
    store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    hold = take(store)
    lease = keyspace.shard(SHARD).lease
    assert 2_000 < redis.pttl(lease) <= 3_000
    asked(store, store.commit(hold, EMPTY))
    assert 2_000 < redis.pttl(lease) <= 3_000
