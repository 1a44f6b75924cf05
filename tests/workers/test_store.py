"""The store: who holds a shard, and that a commit is all or nothing, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from asked import asked, waiting_in
from proxy import proxy_to
from redis import Redis, RedisError
from rooms import PHONE, connected, created
from strategies import ROOM

from console.embedded import EmbeddedRedis
from schemas.connection import claim_shards, connect
from schemas.errors import LeaseLostError, StartError
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings
from workers.batch import Batch, Hold, Stored
from workers.store import LEASE_MS, Store

SHARD = shard_of(ROOM, 8)
Deposit = Callable[..., Any]


def take(store: Store, nonce: str = "mine") -> Hold:
    taken = asked(store, store.take(SHARD, nonce))
    assert taken
    return taken.hold


def batch(*taken: bytes, record: bytes = b"facts") -> Batch:
    return Batch(
        taken=taken,
        rooms={ROOM: Stored(record)},
        audit_lines=b"lines",
        verdicts={"applied": 1},
        events=[["id", "e1"], ["id", "e2"]],
        alerts=[["id", "a1"]],
        dead=[["id", "d1"]],
    )


def contents(redis: Redis, keyspace: Keyspace) -> tuple[int, ...]:
    streams = (keyspace.shard(SHARD).inbox, keyspace.events, keyspace.alerts, keyspace.dead)
    return tuple(redis.xlen(stream) for stream in streams)


def test_only_one_worker_holds_a_shard(store: Store) -> None:
    assert asked(store, store.take(SHARD, "mine"))
    assert asked(store, store.take(SHARD, "another")) is None


def test_taking_reads_the_first_batch_and_answers_the_wake_up(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    keys = keyspace.shard(SHARD)
    assert redis.exists(keys.wake)
    taken = asked(store, store.take(SHARD, "mine"))
    assert taken
    assert [set(fields) for _, fields in taken.entries] == [{b"params", b"token"}]
    assert not redis.exists(keys.wake)
    assert 0 < redis.pttl(keys.lease) <= LEASE_MS


def test_a_commit_writes_everything_and_removes_the_batch(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created(), connected(PHONE, 1), connected(PHONE, 2))
    hold = take(store)
    entries = waiting_in(store, SHARD)
    after = asked(store, store.commit(hold, batch(*(entry for entry, _ in entries[:2]))))
    assert contents(redis, keyspace) == (1, 2, 1, 1)
    assert asked(store, store.load(after, [ROOM, "RM?"])) == {ROOM: b"facts", "RM?": None}
    assert [entry for entry, _ in waiting_in(store, SHARD)] == [entries[2][0]]
    assert after.token == "1:mine"


def test_a_commit_renews_the_lease(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    lease = keyspace.shard(SHARD).lease
    redis.pexpire(lease, 200)
    asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
    assert redis.pttl(lease) > 200


def test_a_stale_nonce_commits_nothing(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    stale = take(store, "stale")
    last_id = waiting_in(store, SHARD)[0][0]
    redis.delete(keyspace.shard(SHARD).lease)
    take(store, "newer")
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(stale, batch(last_id)))
    assert contents(redis, keyspace) == (1, 0, 0, 0)
    assert asked(store, store.load(stale, [ROOM])) == {ROOM: None}


def test_an_expired_lease_commits_nothing_even_when_nobody_took_it(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    last_id = waiting_in(store, SHARD)[0][0]
    redis.delete(keyspace.shard(SHARD).lease)
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(hold, batch(last_id)))
    assert contents(redis, keyspace) == (1, 0, 0, 0)


def test_the_same_commit_does_not_take_effect_twice(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    same = batch(waiting_in(store, SHARD)[0][0])
    asked(store, store.commit(hold, same))
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(hold, same))
    assert contents(redis, keyspace) == (0, 2, 1, 1)


def test_a_commit_that_removes_nothing_does_not_take_effect_twice_either(
    store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    # Of what time led to while callbacks wait. Only the number of the commit tells the two apart.
    hold = take(store)
    asked(store, store.commit(hold, batch()))
    once = contents(redis, keyspace)
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(hold, batch()))
    assert contents(redis, keyspace) == once


def test_a_commit_that_cannot_be_written_whole_writes_nothing(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    redis.set(keyspace.alerts, "somebody else's")
    hold = take(store)
    with pytest.raises(Exception, match="WRONGTYPE"):
        asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
    assert redis.xlen(keyspace.shard(SHARD).inbox) == 1
    assert redis.xlen(keyspace.events) == 0
    assert asked(store, store.load(hold, [ROOM])) == {ROOM: None}


def test_a_commit_whose_reply_was_lost_has_taken_effect_once(
    redis: Redis,
    redis_server: EmbeddedRedis,
    settings: Settings,
    keyspace: Keyspace,
    deposit: Deposit,
) -> None:
    deposit(created())
    with proxy_to(redis_server.url) as proxy, _client(settings, proxy.url) as client:
        store = Store(client, keyspace, shards=8, maxlen=1000)
        hold = take(store)
        last_id = waiting_in(store, SHARD)[0][0]
        _warm_up(store, hold)
        proxy.lose_reply_to(b"1:mine")
        with pytest.raises(RedisError):
            asked(store, store.commit(hold, batch(last_id)))
        assert proxy.cuts == 1
    assert contents(redis, keyspace) == (0, 2, 1, 1)


def test_audit_lines_stay_until_they_are_known_to_be_written(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    hold = asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
    assert asked(store, store.release(hold, hand_on=True, audited=False)) == "released"
    # The inbox is empty, and still somebody has to come for the lines.
    assert store.waiting() == [SHARD]
    taken = asked(store, store.take(SHARD, "next"))
    assert taken
    assert (taken.audit_lines, taken.entries) == (b"lines", [])
    assert asked(store, store.release(taken.hold, hand_on=False, audited=True)) == "released"
    assert store.waiting() == []
    assert not redis.exists(keyspace.shard(SHARD).audit)


def test_one_shards_trouble_does_not_hide_the_others_from_the_sweep(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    redis.set(keyspace.shard((SHARD + 1) % 8).inbox, "somebody else's")
    assert store.waiting() == [SHARD]


def _client(settings: Settings, url: str) -> Redis:
    return connect(replace(settings, redis_url=url), timeout=5.0)


def _warm_up(store: Store, hold: Hold) -> None:
    """Have Redis know the commit script, so that the next call is the commit itself."""
    stranger = hold._replace(nonce="stranger")
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(stranger, batch()))


def test_commits_work_when_redis_has_forgotten_the_scripts(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    hold = take(store)
    redis.script_flush()
    asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
    assert contents(redis, keyspace) == (0, 2, 1, 1)


def test_release_gives_back_only_an_empty_shard(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    hold = take(store)
    deposit(created())
    assert asked(store, store.release(hold, hand_on=False, audited=True)) == "waiting"
    assert redis.exists(keyspace.shard(SHARD).lease)
    asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
    assert asked(store, store.release(hold, hand_on=False, audited=True)) == "released"
    assert not redis.exists(keyspace.shard(SHARD).lease)


def test_handing_on_frees_a_full_shard_and_promises_a_wake_up(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    hold = take(store)
    deposit(created())
    assert asked(store, store.release(hold, hand_on=True, audited=True)) == "handed-on"
    keys = keyspace.shard(SHARD)
    assert not redis.exists(keys.lease)
    assert redis.exists(keys.wake)


def test_a_stale_worker_releases_nothing(store: Store, redis: Redis, keyspace: Keyspace) -> None:
    stale = take(store, "stale")
    redis.delete(keyspace.shard(SHARD).lease)
    take(store, "newer")
    assert asked(store, store.release(stale, hand_on=False, audited=True)) == "lost"
    assert asked(store, store.release(stale, hand_on=True, audited=True)) == "lost"
    assert redis.get(keyspace.shard(SHARD).lease) == b"newer"


def test_waiting_shards_are_those_with_callbacks_and_nobody_at_work(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    assert store.waiting() == []
    deposit(created())
    # A wake-up that is promised but lost must not hide the shard from the sweep.
    assert redis.exists(keyspace.shard(SHARD).wake)
    assert store.waiting() == [SHARD]
    take(store)
    assert store.waiting() == []


def test_streams_are_bounded(redis: Redis, keyspace: Keyspace, deposit: Deposit) -> None:
    store = Store(redis, keyspace, shards=8, maxlen=10)
    deposit(created())
    hold = take(store)
    last_id = waiting_in(store, SHARD)[0][0]
    # Redis trims whole nodes of a stream, of 100 entries each.
    many = batch(last_id)._replace(events=[["id", str(number)] for number in range(1000)])
    asked(store, store.commit(hold, many))
    assert redis.xlen(keyspace.events) <= 110


def test_out_of_memory_draining_goes_on(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", used // 2)
    try:
        hold = take(store)
        asked(store, store.commit(hold, batch(waiting_in(store, SHARD)[0][0])))
        assert asked(store, store.release(hold, hand_on=False, audited=True)) == "released"
    finally:
        redis.config_set("maxmemory", 0)
    assert contents(redis, keyspace) == (0, 2, 1, 1)


def test_processes_that_count_shards_differently_refuse_to_start(
    redis: Redis, keyspace: Keyspace
) -> None:
    claim_shards(redis, keyspace, 8)
    claim_shards(redis, keyspace, 8)
    with pytest.raises(StartError, match=r"ROLLCALL_SHARDS: is 4 here, but .* kept with 8"):
        claim_shards(redis, keyspace, 4)


@pytest.mark.parametrize("strange", ["before", "between", "instead"])
def test_an_inbox_that_is_not_the_one_that_was_read_is_left_as_it_is(
    store: Store, redis: Redis, keyspace: Keyspace, strange: str
) -> None:
    # A replica that lagged has become the master, with a clock that does: it gives ids that lie
    # before those that were read.
    inbox = keyspace.shard(SHARD).inbox
    hold = take(store)
    read = [b"1000-0", b"2000-0", b"3000-0"]
    found = {
        "before": [b"999-0", *read],
        "between": [b"1000-0", b"1500-0", b"2000-0", b"3000-0"],
        "instead": [b"1000-1", b"2000-0", b"3000-0"],
    }[strange]
    for entry in found:
        redis.xadd(inbox, {"params": "{}"}, id=entry)
    with pytest.raises(LeaseLostError):
        asked(store, store.commit(hold, batch(*read)))
    assert contents(redis, keyspace)[1:] == (0, 0, 0)
    assert redis.xlen(inbox) == len(found)
    assert asked(store, store.load(hold, [ROOM])) == {ROOM: None}
