"""Leases of the dead, also when Redis's clock was set back; and what is mended in libraries."""

from __future__ import annotations

import billiard.pool
import pytest
from asked import asked
from kombu import Connection
from redis import Redis, ResponseError
from rooms import created
from strategies import ROOM

from schemas.keys import Keyspace, shard_of
from workers.lease import is_held
from workers.mending import mend_libraries
from workers.store import LEASE_MS, Store

SHARD = shard_of(ROOM, 8)
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("pttl", "held"),
    [(-2, False), (-1, True), (0, True), (1, True), (LEASE_MS, True), (LEASE_MS + 1, False)],
)
def test_a_lease_that_outlives_any_is_nobodys(pttl: int, held: bool) -> None:
    assert is_held(pttl, LEASE_MS) is held


def test_a_dead_workers_shard_is_taken_over_though_the_clock_was_set_back_by_an_hour(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: object
) -> None:
    assert callable(deposit)
    deposit(created())
    redis.set(keyspace.shard(SHARD).lease, "of the dead", px=HOUR_MS)
    assert store.waiting() == [SHARD]
    taken = asked(store, store.take(SHARD, "mine"))
    assert taken is not None
    assert len(taken.entries) == 1
    assert store.waiting() == []


def test_a_lease_without_an_end_is_respected(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: object
) -> None:
    assert callable(deposit)
    deposit(created())
    redis.set(keyspace.shard(SHARD).lease, "of whoever moves rooms")
    assert store.waiting() == []
    assert asked(store, store.take(SHARD, "mine")) is None


def test_a_broker_that_refuses_is_connected_to_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)
    with Connection("redis://127.0.0.1:1/0") as broker:
        monkeypatch.setattr(
            type(broker.transport), "connection_errors", broker.transport.connection_errors
        )
        mend_libraries()
        assert ResponseError in broker.connection_errors
    with Connection("sentinel://127.0.0.1:1/0") as broker:
        assert ResponseError in broker.connection_errors
    assert billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT == 10
