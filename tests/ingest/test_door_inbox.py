"""The deposit: one round trip, the wake-up decision, and failing at once."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from proxy import proxy_to
from redis import Redis

from console.embedded import EmbeddedRedis
from ingest.inbox import Inbox, open_inbox
from schemas.errors import UnavailableError
from schemas.inbox import Deposit, decode
from schemas.keys import WAKE_MS, Keyspace, shard_of
from schemas.settings import Settings

ROOM = "RM9736b0f0cda54817278ff40a33878174"
PARAMS = {"RoomSid": ROOM, "AccountSid": "AC" + "0" * 32, "ParticipantIdentity": "Zoë's  Phone "}
SHARD = shard_of(ROOM, 8)


def test_a_deposit_lies_in_the_inbox_of_its_rooms_shard(inbox: Inbox, redis: Redis) -> None:
    receipt = inbox.deposit(PARAMS, "a-token")
    [(entry, fields)] = redis.xrange(Keyspace("rollcall").shard(SHARD).inbox)
    assert decode(fields) == Deposit(PARAMS, "a-token")
    assert receipt == (ROOM, SHARD, entry.decode(), True, False)


def test_a_callback_without_a_room_lies_with_its_account(inbox: Inbox) -> None:
    account = PARAMS["AccountSid"]
    receipt = inbox.deposit({"AccountSid": account}, "")
    assert (receipt.room_sid, receipt.shard) == (account, shard_of(account, 8))


def test_a_deposit_is_one_command(inbox: Inbox, redis: Redis) -> None:
    inbox.deposit(PARAMS, "")
    redis.config_resetstat()
    for _ in range(10):
        inbox.deposit(PARAMS, "")
    calls = {name: stats["calls"] for name, stats in redis.info("commandstats").items()}
    assert calls.pop("cmdstat_evalsha") == 10
    # What the script itself does is counted too.
    for inside in ("xlen", "xadd", "exists", "set"):
        assert calls.pop(f"cmdstat_{inside}") == 10
    assert not {name for name in calls if not name.startswith(("cmdstat_config", "cmdstat_info"))}


def test_a_script_that_redis_forgot_is_sent_again(inbox: Inbox, redis: Redis) -> None:
    inbox.deposit(PARAMS, "")
    redis.script_flush()
    inbox.deposit(PARAMS, "")
    assert redis.xlen(Keyspace("rollcall").shard(SHARD).inbox) == 2


def test_of_many_deposits_one_wants_a_wake_up_until_it_is_answered(
    inbox: Inbox, redis: Redis
) -> None:
    keys = Keyspace("rollcall").shard(SHARD)
    assert [inbox.deposit(PARAMS, "").wake for _ in range(3)] == [True, False, False]
    assert 0 < redis.pttl(keys.wake) <= WAKE_MS
    redis.delete(keys.wake)
    assert [inbox.deposit(PARAMS, "").wake for _ in range(2)] == [True, False]


def test_no_wake_up_is_wanted_while_a_worker_holds_the_lease(inbox: Inbox, redis: Redis) -> None:
    keys = Keyspace("rollcall").shard(SHARD)
    redis.set(keys.lease, "a-nonce")
    assert not inbox.deposit(PARAMS, "").wake
    # Otherwise the first deposit after the release would send for nobody.
    assert not redis.exists(keys.wake)
    redis.delete(keys.lease)
    assert inbox.deposit(PARAMS, "").wake


def test_a_redis_that_is_not_there_is_told_at_once(
    private_inbox: Inbox, private_redis: EmbeddedRedis
) -> None:
    private_inbox.deposit(PARAMS, "")
    private_redis.stop()
    with pytest.raises(UnavailableError):
        private_inbox.deposit(PARAMS, "")


@pytest.mark.parametrize("known", [True, False], ids=["connected before", "never connected"])
def test_a_redis_that_hangs_is_told_within_a_second(
    private_inbox: Inbox, private_redis: EmbeddedRedis, known: bool
) -> None:
    if known:
        private_inbox.check()
    os.kill(private_redis.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        private_inbox.deposit(PARAMS, "")
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("delay", [0.2, 0.3, 0.45])
def test_a_redis_that_is_slow_at_each_reply_is_given_up_within_the_time_of_a_deposit(
    settings: Settings, redis: Redis, delay: float
) -> None:
    # It has forgotten the script as well, and every connection is new.
    redis.script_flush()
    with proxy_to(settings.redis_url) as proxy:
        inbox = open_inbox(replace(settings, redis_url=proxy.url))
        proxy.delay = delay
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            inbox.deposit(PARAMS, "")
        # Half a second is the setting; the rest is for a slow machine.
        assert time.monotonic() - began < 0.8
        proxy.delay = 0.0
        assert inbox.deposit(PARAMS, "").entry
        inbox.close()


def test_an_old_master_is_left_for_the_new_one(
    private_redis: EmbeddedRedis, private_client: Redis, settings: Settings, redis: Redis
) -> None:
    private_client.config_set("requirepass", str(urlsplit(settings.redis_url).password))
    with proxy_to(settings.redis_url) as proxy:
        proxy.lead_to(private_redis.url)
        inbox = open_inbox(replace(settings, redis_url=proxy.url))
        inbox.check()
        # The name leads elsewhere from now on; connections that are open stay where they are.
        proxy.lead_to(settings.redis_url)
        private_client.replicaof("127.0.0.1", 1)
        with pytest.raises(UnavailableError):
            inbox.deposit(PARAMS, "")
        receipt = inbox.deposit(PARAMS, "")
        assert redis.xlen(Keyspace(settings.prefix).shard(receipt.shard).inbox) == 1
        inbox.close()


def test_a_redis_that_was_restarted_costs_no_callback(
    private_inbox: Inbox, private_redis: EmbeddedRedis, private_client: Redis
) -> None:
    private_inbox.deposit(PARAMS, "")
    private_redis.stop()
    private_redis.start()
    private_inbox.deposit(PARAMS, "")
    assert private_client.xlen(Keyspace("rollcall").shard(SHARD).inbox) == 2


def test_a_redis_that_hung_is_used_again_as_soon_as_it_answers(
    private_inbox: Inbox, private_redis: EmbeddedRedis
) -> None:
    private_inbox.check()
    os.kill(private_redis.pid, signal.SIGSTOP)
    with pytest.raises(UnavailableError):
        private_inbox.check()
    os.kill(private_redis.pid, signal.SIGCONT)
    private_inbox.check()
    private_inbox.deposit(PARAMS, "")


def test_out_of_memory_is_unavailable_and_leaves_nothing_half_done(
    private_inbox: Inbox, private_client: Redis
) -> None:
    private_client.config_set("maxmemory", 1)
    with pytest.raises(UnavailableError):
        private_inbox.deposit(PARAMS, "")
    assert private_client.keys() == []


def test_a_read_only_replica_is_unavailable(private_inbox: Inbox, private_client: Redis) -> None:
    private_client.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(UnavailableError):
        private_inbox.deposit(PARAMS, "")


def test_a_key_of_another_type_is_unavailable_and_leaves_nothing_half_done(
    inbox: Inbox, redis: Redis
) -> None:
    keys = Keyspace("rollcall").shard(SHARD)
    redis.set(keys.inbox, "not a stream")
    with pytest.raises(UnavailableError):
        inbox.deposit(PARAMS, "")
    assert redis.keys() == [keys.inbox.encode()]
