"""The keyspace: which shard a room belongs to, and that a shard's keys share a cluster's slot."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from strategies import ROOM

from schemas.keys import Keyspace, shard_of, target_of


@pytest.mark.parametrize(
    ("room_sid", "shards", "shard"),
    [
        # crc32 of "123456789" is 0xCBF43926, the check value of the algorithm.
        ("123456789", 2**32, 0xCBF43926),
        ("123456789", 8, 6),
        ("RM9736b0f0cda54817278ff40a33878174", 8, 7),
        ("RM9736b0f0cda54817278ff40a33878174", 5, 1),
        ("shard-3", 1, 0),
    ],
)
def test_the_shard_is_the_crc32_of_the_sid_modulo_the_count(
    room_sid: str, shards: int, shard: int
) -> None:
    assert shard_of(room_sid, shards) == shard


@given(st.text(), st.integers(1, 1024))
def test_every_room_has_a_shard(room_sid: str, shards: int) -> None:
    assert 0 <= shard_of(room_sid, shards) < shards


@given(st.integers(0, 1023), st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True), st.text())
def test_all_keys_of_a_shard_are_in_one_slot_of_a_cluster(
    number: int, prefix: str, room_sid: str
) -> None:
    keys = Keyspace(prefix, clustered=True).shard(number)
    slots = {key_slot(key.encode()) for key in (*astuple(keys), keys.room(room_sid))}
    assert slots == {key_slot(str(number).encode())}


def test_no_two_keys_are_the_same() -> None:
    keyspace = Keyspace("rollcall")
    named = [keyspace.events, keyspace.alerts, keyspace.dead, keyspace.shard_count]
    for number in range(3):
        keys = keyspace.shard(number)
        named += [keys.inbox, keys.lease, keys.wake, keys.commit, keys.room(ROOM)]
    assert len(set(named)) == len(named)


def test_all_keys_of_a_target_are_in_one_slot_and_no_two_targets_share_any() -> None:
    keyspace = Keyspace("rollcall")
    first, second = (astuple(keyspace.target(name)) for name in ("slack-01", "slack-02"))
    assert len({key_slot(key.encode()) for key in first}) == 1
    assert len({*first, *second}) == 6


def test_the_streams_of_the_contract_have_the_names_of_the_contract() -> None:
    keyspace = Keyspace("rollcall")
    assert (keyspace.events, keyspace.alerts, keyspace.dead) == (
        "rollcall:events",
        "rollcall:alerts",
        "rollcall:dead",
    )
    keys = keyspace.shard(3)
    assert (keys.events, keys.alerts, keys.dead) == (
        keyspace.events,
        keyspace.alerts,
        keyspace.dead,
    )
    assert Keyspace("other").shard(3).inbox == "other:{3}:inbox"


def test_in_a_cluster_each_shard_has_streams_of_its_own() -> None:
    keyspace = Keyspace("rollcall", clustered=True)
    keys = keyspace.shard(3)
    assert (keys.events, keys.alerts, keys.dead) == (
        "rollcall:{3}:events",
        "rollcall:{3}:alerts",
        "rollcall:{3}:dead",
    )
    assert keyspace.streams(2) == [
        "rollcall:{0}:events",
        "rollcall:{1}:events",
        "rollcall:{0}:alerts",
        "rollcall:{1}:alerts",
    ]
    assert Keyspace("rollcall").streams(8) == ["rollcall:events", "rollcall:alerts"]


def test_a_target_has_a_name_for_each_stream_that_it_reads() -> None:
    keyspace = Keyspace("rollcall", clustered=True)
    lanes = keyspace.lanes("slack-01", 2)
    assert {lane: keyspace.alerts_of(lane) for lane in lanes} == {
        "slack-01@0": "rollcall:{0}:alerts",
        "slack-01@1": "rollcall:{1}:alerts",
    }
    assert {target_of(lane) for lane in lanes} == {"slack-01"}
    alone = Keyspace("rollcall")
    assert alone.lanes("slack-01", 2) == ["slack-01"]
    assert alone.alerts_of("slack-01") == "rollcall:alerts"
