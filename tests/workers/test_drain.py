"""The drain: callbacks from the inbox to events, alerts and the audit, each exactly once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import asked
from audits import AuditOutput
from msgspec import structs
from proxy import proxy_to
from redis import Redis, RedisError
from rooms import LAPTOP, PHONE, Params, connected, created, disconnected, ended, facts_of, track
from strategies import ROOM, sid
from streams import by_room, check_chain, folded, published

from console.embedded import EmbeddedRedis
from schemas.audit import digest_of
from schemas.connection import connect
from schemas.errors import (
    AuditOutputError,
    LeaseLostError,
    UnknownVersionError,
    UnreadableRecordError,
)
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers import records
from workers.app import bounds_of
from workers.asking import Ask
from workers.drain import Drain
from workers.room.view import view
from workers.store import Store

SHARD = shard_of(ROOM, 8)
# Another of the same shard.
OTHER_ROOM = sid("RM", 4)
CONTEXT = {"task_id": "of-the-test"}
Deposit = Callable[..., Any]

SCENE = [
    created(),
    connected(PHONE, 1_000),
    track("added", PHONE, 1_000),
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
]


def record_of(redis: Redis, keyspace: Keyspace, room_sid: str = ROOM) -> records.Record:
    shard = shard_of(room_sid, 8)
    return records.decode(redis.get(keyspace.shard(shard).room(room_sid)))


def test_a_drain_publishes_and_empties_the_inbox(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(*SCENE)
    assert drain.drain(SHARD, CONTEXT).callbacks == 5
    keys = keyspace.shard(SHARD)
    assert redis.xlen(keys.inbox) == 0
    assert not redis.exists(keys.lease)
    assert [event.kind for event in published(redis)] == [
        "room.opened",
        "participant.joined",
        "identity.arrived",
        "track.published",
        "participant.joined",
        "track.unpublished",
        "participant.left",
        "participant.evicted",
    ]
    (alert,) = published(redis, "rollcall:alerts")
    assert alert.kind == "alert.raised"
    assert alert.attributes["subject"] == PHONE
    assert alert.data["since"] == "2023-08-14T20:01:00.300Z"


def test_revisions_have_no_hole_and_each_id_builds_on_the_one_before(
    drain: Drain, redis: Redis, deposit: Deposit
) -> None:
    deposit(*SCENE[:3])
    drain.drain(SHARD, CONTEXT)
    deposit(*SCENE[3:], ended(700_000))
    drain.drain(SHARD, CONTEXT)
    check_chain(published(redis))
    check_chain(published(redis, "rollcall:alerts"), "roomalert", "a")


@pytest.mark.parametrize("seed", range(5))
def test_folding_the_stream_gives_the_view_in_any_order_with_any_duplicates(
    drain: Drain,
    redis: Redis,
    keyspace: Keyspace,
    deposit: Deposit,
    recorded_room: list[Params],
    seed: int,
) -> None:
    chance = random.Random(seed)
    history = [*recorded_room, *chance.choices(recorded_room, k=10)]
    chance.shuffle(history)
    deposit(*history)
    room_sid = recorded_room[0]["RoomSid"]
    drain.drain(shard_of(room_sid, 8), CONTEXT)
    events = published(redis)
    check_chain(events)
    facts = record_of(redis, keyspace, room_sid).facts
    assert folded(events) == view(facts, bounds_of(_settings()))


def test_verdicts_are_counted_with_the_commit_so_that_a_replayed_request_shows(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    for _ in range(2):
        deposit(*SCENE, SCENE[0])
        drain.drain(SHARD, CONTEXT)
    counted = redis.hgetall(keyspace.shard(SHARD).verdicts)
    assert counted == {b"applied": b"5", b"duplicate": b"7"}


def _settings() -> Settings:
    return Settings(redis_url="", celery_broker_url="")


def test_a_shard_that_another_worker_holds_is_left_to_it(
    drain: Drain, store: Store, redis: Redis, deposit: Deposit
) -> None:
    deposit(*SCENE)
    asked(store, store.take(SHARD, "another"))
    assert drain.drain(SHARD, CONTEXT).callbacks == 0
    assert published(redis) == []


def test_a_worker_that_lost_its_lease_leaves_the_work_to_the_next(
    drain: Drain, store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(*SCENE)
    redis.delete(keyspace.shard(SHARD).lease)
    stale_drain = Drain(
        _LosesItsLease(redis, keyspace, shards=8, maxlen=1000), bounds_of(_settings()), Lines(2)
    )
    with pytest.raises(LeaseLostError):
        stale_drain.drain(SHARD, CONTEXT)
    assert published(redis) == []
    redis.delete(keyspace.shard(SHARD).lease)
    assert drain.drain(SHARD, CONTEXT).callbacks == 5
    check_chain(published(redis))


class _LosesItsLease(Store):
    """A store whose worker was stopped for so long that another took the shard."""

    def load(self, hold: Any, room_sids: Any) -> Ask[dict[str, bytes | None]]:
        self._redis.set(self._shards[hold.shard].lease, "another")
        return super().load(hold, room_sids)


def test_a_commit_whose_reply_was_lost_is_not_made_twice(
    redis: Redis,
    redis_server: EmbeddedRedis,
    settings: Settings,
    keyspace: Keyspace,
    audit: AuditOutput,
    deposit: Deposit,
) -> None:
    deposit(created())
    with proxy_to(redis_server.url) as proxy:
        client = connect(replace(settings, redis_url=proxy.url), timeout=5.0)
        store = Store(client, keyspace, shards=8, maxlen=1000)
        drain = Drain(store, bounds_of(settings), Lines(audit.writing))
        drain.drain(SHARD, CONTEXT)
        deposit(*SCENE[1:])
        # What the commit, and nothing else, carries.
        proxy.lose_reply_to(b"rollcall.participant.joined")
        with pytest.raises(RedisError):
            drain.drain(SHARD, CONTEXT)
        assert proxy.cuts == 1
        assert redis.xlen(keyspace.shard(SHARD).inbox) == 0
        assert [line["n"] for line in audit.read() if "n" in line] == [1]
        # The shard was given back, and whoever takes it next writes the lines.
        assert store.waiting() == [SHARD]
        assert drain.drain(SHARD, CONTEXT).callbacks == 0
        client.close()
    check_chain(published(redis))
    assert len(published(redis)) == 8
    assert [line["n"] for line in audit.read() if "n" in line] == [2, 3, 4, 5]
    assert record_of(redis, keyspace).ledger.audit_records == 5


def test_a_storm_of_thousands_of_sessions_with_callbacks_waiting_is_drained_all_the_same(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    # Each callback is about an identity with two thousand sessions: a batch of them must end well
    # before the lease does, or it could never be committed.
    sessions = [(sid("PA", number), number * 2_000) for number in range(2_000)]
    history = [(connected(pa, at), disconnected(pa, at + 2_100)) for pa, at in sessions]
    record = structs.replace(records.NEW, facts=facts_of(one for both in history for one in both))
    keys = keyspace.shard(SHARD)
    redis.set(keys.room(ROOM), records.encode(record))
    deposit(*[connected(sid("PA", 5_000 + n), 4_000_000 + n) for n in range(96)])
    drained = 0
    while redis.xlen(keys.inbox):
        drained += drain.drain(SHARD, CONTEXT).callbacks
    assert drained == 96


def test_a_damaged_record_stops_its_own_room_and_no_other(
    drain: Drain, redis: Redis, keyspace: Keyspace, audit: AuditOutput, deposit: Deposit
) -> None:
    other = next(f"RM{n:032x}" for n in range(2, 99) if shard_of(f"RM{n:032x}", 8) == SHARD)
    redis.set(keyspace.shard(SHARD).room(ROOM), b"damaged")
    deposit(created(), created() | {"RoomSid": other})
    assert drain.drain(SHARD, CONTEXT).callbacks == 2
    assert [event.attributes["roomsid"] for event in published(redis)] == [other]
    ((_, dead),) = redis.xrange(keyspace.dead)
    assert dead[b"reason"] == b"unreadable-record"
    assert ROOM.encode() in dead[b"detail"]
    assert redis.get(keyspace.shard(SHARD).room(ROOM)) == b"damaged"
    assert [line["room_sid"] for line in audit.read()] == [f"shard-{SHARD}", other]


def test_an_entry_that_no_clock_could_have_made_does_not_stop_the_shard(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    deposit(created())
    redis.xadd(keyspace.shard(SHARD).inbox, {"rubbish": "x"}, id="253402300800000-0")
    assert drain.drain(SHARD, CONTEXT).callbacks == 2
    assert redis.xlen(keyspace.dead) == 1


def test_draining_stops_while_nobody_takes_the_audit_lines_and_loses_none(
    drain: Drain,
    store: Store,
    settings: Settings,
    redis: Redis,
    audit: AuditOutput,
    deposit: Deposit,
) -> None:
    deposit(*SCENE)
    with Path("/dev/full").open("wb", buffering=0) as full:
        stuck = Drain(store, bounds_of(settings), Lines(full.fileno()))
        for _ in range(2):
            with pytest.raises(AuditOutputError, match="No space left"):
                stuck.drain(SHARD, CONTEXT)
            assert store.waiting() == [SHARD]
    deposit(ended(700_000))
    drain.drain(SHARD, CONTEXT)
    assert [line["n"] for line in audit.read() if "n" in line] == [1, 2, 3, 4, 5, 6]
    check_chain(published(redis))


def test_a_retraction_carries_the_data_of_the_eviction_as_it_was_published(
    drain: Drain, redis: Redis, deposit: Deposit
) -> None:
    # The laptop is known from a track first; its connect callback moves its start by 1 ms, which
    # is not said again, and the room's end takes the eviction back.
    deposit(
        created(),
        connected(PHONE, 1_000),
        track("added", LAPTOP, 60_000),
        disconnected(PHONE, 60_300),
        connected(LAPTOP, 60_001),
        ended(60_900),
    )
    drain.drain(SHARD, CONTEXT)
    told, withdrawn = [event.data for event in published(redis) if "evict" in event.kind]
    assert told == withdrawn
    assert told["gap_ms"] == 300


def test_a_full_slice_hands_the_shard_on_so_that_no_other_starves(
    store: Store, settings: Settings, audit: AuditOutput, redis: Redis, deposit: Deposit
) -> None:
    deposit(*[connected(PHONE, at) for at in range(300)])
    drain = Drain(store, bounds_of(settings), Lines(audit.writing), slice_seconds=0.0)
    first = drain.drain(SHARD, CONTEXT)
    assert (first.callbacks, first.handed_on) == (256, True)
    second = drain.drain(SHARD, CONTEXT)
    assert (second.callbacks, second.handed_on) == (44, False)


def test_records_of_a_newer_version_are_handed_back_untouched(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    # It comes to light when others of the same batch have been digested.
    assert shard_of(OTHER_ROOM, 8) == SHARD
    deposit(created() | {"RoomSid": OTHER_ROOM}, created())
    keys = keyspace.shard(SHARD)
    newer = records.encode(structs.replace(records.NEW, version=records.VERSION + 1))
    redis.set(keys.room(ROOM), newer)
    with pytest.raises(UnknownVersionError):
        drain.drain(SHARD, CONTEXT)
    assert redis.get(keys.room(ROOM)) == newer
    assert not redis.exists(keys.room(OTHER_ROOM))
    assert not redis.exists(keys.events)
    assert redis.xlen(keys.inbox) == 2
    assert not redis.exists(keys.lease)


def test_a_newer_record_that_is_due_is_handed_back_and_stays_due(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    keys = keyspace.shard(SHARD)
    newer = records.encode(structs.replace(records.NEW, version=records.VERSION + 1))
    redis.set(keys.room(ROOM), newer)
    redis.zadd(keys.due, {keys.room(ROOM): 1})
    deposit(created() | {"RoomSid": OTHER_ROOM})
    with pytest.raises(UnknownVersionError):
        drain.drain(SHARD, CONTEXT)
    assert redis.get(keys.room(ROOM)) == newer
    assert redis.zscore(keys.due, keys.room(ROOM)) == 1
    assert not redis.exists(keys.lease)


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("room_sid", [ROOM, f"shard-{SHARD}"])
def test_a_record_that_was_mended_is_read_with_the_next_callback(
    drain: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit, *, room_sid: str, newer: bool
) -> None:
    key = keyspace.shard(SHARD).room(room_sid)
    unknown = records.encode(structs.replace(records.NEW, version=records.VERSION + 1))
    redis.set(key, unknown if newer else b"damaged")
    deposit(created())
    with suppress(UnknownVersionError, UnreadableRecordError):
        drain.drain(SHARD, CONTEXT)
    assert published(redis) == []
    redis.delete(key)
    deposit(connected(PHONE, 0))
    drain.drain(SHARD, CONTEXT)
    told = [event.kind for event in published(redis)]
    assert told == ["room.opened", "participant.joined", "identity.arrived"]


def test_what_a_late_worker_has_loaded_is_not_taken_for_what_redis_went_back_to(
    drain: Drain,
    redis: Redis,
    store: Store,
    settings: Settings,
    audit: AuditOutput,
    deposit: Deposit,
) -> None:
    late = Drain(store, bounds_of(settings), Lines(audit.writing))
    lease = Keyspace(settings.prefix).shard(SHARD).lease
    deposit(created())
    drain.drain(SHARD, CONTEXT)
    deposit(connected(PHONE, 0))
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    # It holds the shard, stalls, and loads what another has committed meanwhile.
    work = late.begin(SHARD, CONTEXT)
    wanted: Any = next(work)
    while wanted.step != "load":
        (answer,) = store.send([wanted])
        wanted = work.send(answer)
    redis.delete(lease)
    drain.drain(SHARD, CONTEXT)
    (loaded,) = store.send([wanted])
    (committed,) = store.send([work.send(loaded)])
    with pytest.raises(LeaseLostError):
        work.send(committed)
    # Redis loses its tail: that commit, and not the callback.
    redis.flushdb()
    for key, value in before.items():
        redis.restore(key, 0, value)
    redis.delete(lease)
    late.drain(SHARD, CONTEXT)
    told = [event.kind for event in published(redis)]
    assert told == ["room.opened", "participant.joined", "identity.arrived"]


def test_what_cannot_be_digested_is_set_aside_and_the_shard_goes_on(
    drain: Drain, redis: Redis, keyspace: Keyspace, audit: AuditOutput, deposit: Deposit
) -> None:
    inbox = keyspace.shard(SHARD).inbox
    deposit(created())
    redis.xadd(inbox, {"rubbish": b"\xff\x00"})
    redis.xadd(inbox, {"params": json.dumps(connected(PHONE, 0) | {"Timestamp": "noon"})})
    deposit(connected(PHONE, 1_000))
    assert drain.drain(SHARD, CONTEXT).callbacks == 4
    dead = [fields for _, fields in redis.xrange(keyspace.dead)]
    assert [one[b"reason"] for one in dead] == [b"indigestible"] * 2
    assert dead[0][b"entry.rubbish"] == b"\xff\x00"
    assert b"Timestamp" in dead[1][b"detail"]
    assert dead[1][b"room_sid"] == ROOM.encode()
    kinds = [event.kind for event in published(redis)]
    assert kinds == ["room.opened", "participant.joined", "identity.arrived"]
    alerts = [
        (one.data["alert"], one.data["room_sid"]) for one in published(redis, keyspace.alerts)
    ]
    assert alerts == [
        ("callback-set-aside", f"shard-{SHARD}"),
        ("callback-set-aside", ROOM),
    ]
    assert [line["event"] for line in audit.read()] == [
        "callback_applied",
        "callback_set_aside",
        "callback_set_aside",
        "callback_applied",
    ]


def test_each_callback_has_one_audit_line_and_the_chain_of_its_room_is_whole(
    drain: Drain, redis: Redis, keyspace: Keyspace, audit: AuditOutput, deposit: Deposit
) -> None:
    deposit(*SCENE, SCENE[0], {**created(), "StatusCallbackEvent": "room-painted"})
    drain.drain(SHARD, CONTEXT)
    lines = audit.read()
    assert [line["event"] for line in lines] == [
        *["callback_applied"] * 5,
        "callback_duplicate",
        "callback_unrecognised",
    ]
    previous = ""
    for number, line in enumerate(lines, start=1):
        assert line["n"] == number
        assert line["prev"] == previous
        assert line["hash"] == digest_of(line)
        previous = line["hash"]
    ledger = record_of(redis, keyspace).ledger
    assert (ledger.audit_records, ledger.audit_head) == (7, previous)


def test_an_audit_line_holds_the_callback_as_received_and_what_came_of_it(
    drain: Drain, redis: Redis, audit: AuditOutput, deposit: Deposit
) -> None:
    deposit(*SCENE)
    drain.drain(SHARD, CONTEXT)
    last = audit.read()[-1]
    assert last["params"] == SCENE[-1]
    assert last["events"] == [event.attributes["id"] for event in published(redis)[-3:]]
    assert last["alerts"] == [one.attributes["id"] for one in published(redis, "rollcall:alerts")]
    assert (last["shard"], last["task_id"]) == (SHARD, "of-the-test")
    assert (last["revision_before"], last["revision"], last["late"]) == (5, 8, False)


def test_a_batch_stays_within_its_bytes(
    drain: Drain, store: Store, deposit: Deposit, redis: Redis
) -> None:
    # Sixty callbacks of 32 KiB are two mebibytes: the drain takes them in more than one commit.
    deposit(*[connected(PHONE, at) | {"Extra": "x" * 32_768} for at in range(60)])
    drain.drain(SHARD, CONTEXT)
    taken = asked(store, store.take(SHARD, "next"))
    assert taken
    commits = int(taken.hold.token.partition(":")[0])
    assert commits >= 2
    assert by_room(published(redis)).keys() == {ROOM}
