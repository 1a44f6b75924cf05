"""What time does by itself: rooms that are due, in Redis; and what is let go of in the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from asked import asked, waiting_in
from audits import AuditOutput
from redis import Redis
from rooms import ARRIVED, BOUNDS, LAPTOP, PHONE, connected, created, disconnected, ended, track
from strategies import ROOM, sid
from streams import check_chain, published

from schemas.audit import digest_of
from schemas.inbox import encode_params
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from workers import records
from workers.arrivals import read_entries
from workers.asking import Ask
from workers.batch import Batch, Hold, Stored
from workers.digest import Digester
from workers.drain import Drain
from workers.intake import callback_from
from workers.room.conclude import conclude
from workers.room.facts import NOTHING
from workers.room.patience import elapse, next_due
from workers.room.value import replace
from workers.rounds import Rounds, Terms
from workers.scribe import Scribe
from workers.steps import Circumstances
from workers.store import BATCH_CALLBACKS, DUE_ROOMS, Store
from workers.turns import Drained

SHARD = shard_of(ROOM, 8)
LINGER = 50_000
Deposit = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]
HOUR = 3_600_000_000
DAY = 24 * HOUR


@pytest.fixture
def hasty(store: Store, audit: AuditOutput) -> Drain:
    """A drain for which nobody has left for more than 50 ms."""
    return Drain(store, BOUNDS._replace(linger=LINGER), Lines(audit.writing))


def test_somebody_departs_when_nothing_comes_and_the_room_is_due(
    hasty: Drain,
    store: Store,
    redis: Redis,
    audit: AuditOutput,
    deposit: Deposit,
    eventually: Eventually,
) -> None:
    deposit(created(), connected(PHONE, 0), disconnected(PHONE, 1_000))
    assert hasty.drain(SHARD, {}).callbacks == 3
    left = published(redis)[-1]
    assert left.kind == "participant.left"
    eventually(lambda: store.waiting() == [SHARD])
    assert hasty.drain(SHARD, {}).callbacks == 0
    departed = published(redis)[-1]
    assert (departed.kind, departed.data["identity"]) == ("identity.departed", "Dana")
    assert departed.data["left_at"] == left.attributes["time"]
    assert store.waiting() == []
    check_chain(published(redis))
    *_, line = audit.read()
    assert (line["event"], line["due"]) == ("timer_elapsed", departed.attributes["time"])
    assert line["events"] == [departed.attributes["id"]]
    assert line["hash"] == digest_of(line)


def test_after_an_outage_of_the_workers_nobody_seems_to_have_left_who_came_back(
    hasty: Drain, store: Store, redis: Redis, deposit: Deposit, eventually: Eventually
) -> None:
    deposit(created(), connected(PHONE, 0))
    hasty.drain(SHARD, {})
    deposit(disconnected(PHONE, 1_000), connected(LAPTOP, 1_500))
    # Nobody drains for longer than anybody may be away.
    seconds, microseconds = redis.time()
    over = seconds * 1_000_000 + microseconds + 2 * LINGER
    eventually(lambda: redis.time() > divmod(over, 1_000_000))
    hasty.drain(SHARD, {})
    assert "identity.departed" not in [event.kind for event in published(redis)]


def test_time_does_not_run_while_callbacks_wait(
    store: Store, redis: Redis, keyspace: Keyspace, deposit: Deposit
) -> None:
    taken = asked(store, store.take(SHARD, "mine"))
    assert taken
    deposit(created())
    batch = Batch(None, {ROOM: Stored(b"new")}, b"", {}, [["id", "1"]], [], [])
    assert asked(store, store.commit(taken.hold, batch)) is None
    assert redis.get(keyspace.shard(SHARD).room(ROOM)) is None
    assert redis.xlen(keyspace.events) == 0
    # The hold is as good as before.
    assert (
        asked(
            store,
            store.commit(
                taken.hold, batch._replace(taken=[entry for entry, _ in waiting_in(store, SHARD)])
            ),
        )
        is not None
    )


def test_a_room_that_is_due_and_gone_is_looked_at_once(
    drain: Drain, store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    keys = keyspace.shard(SHARD)
    redis.zadd(keys.due, {keys.room(ROOM): 1})
    assert store.waiting() == [SHARD]
    drain.drain(SHARD, {})
    assert store.waiting() == []
    assert redis.get(keys.room(ROOM)) is None


def test_a_damaged_record_that_is_due_is_left_as_it_is(
    drain: Drain, store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    keys = keyspace.shard(SHARD)
    redis.set(keys.room(ROOM), b"\xc1")
    redis.zadd(keys.due, {keys.room(ROOM): 1})
    drain.drain(SHARD, {})
    assert redis.get(keys.room(ROOM)) == b"\xc1"
    assert store.waiting() == []


def test_more_rooms_than_one_commit_takes_are_all_looked_at(
    hasty: Drain, redis: Redis, deposit: Deposit, eventually: Eventually
) -> None:
    rooms = [one for number in range(2000) if shard_of(one := sid("RM", number), 8) == SHARD][:150]
    for room in rooms:
        who = {"RoomSid": room, "ParticipantSid": "PA" + room[2:]}
        deposit(connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who)

    def departed() -> int:
        hasty.drain(SHARD, {})
        return [event.kind for event in published(redis)].count("identity.departed")

    eventually(lambda: departed() == len(rooms))


# -- what is let go of ----------------------------------------------------------------------------


def test_a_room_that_ended_a_day_ago_leaves_a_tombstone_of_less_than_200_bytes() -> None:
    history = [created(), connected(PHONE, 0), connected(LAPTOP, 10), disconnected(PHONE, 20)]
    entries = [
        (b"%d-%d" % (ARRIVED // 1000, number), {b"params": encode_params(one), b"token": b""})
        for number, one in enumerate([*history, ended(90_000)])
    ]
    around = Circumstances(SHARD, {}, BOUNDS, lambda: ARRIVED, Scribe(BOUNDS))
    batch, _ = Digester({ROOM: None}, around).digest(read_entries(SHARD, entries), until=math.inf)
    stored = batch.rooms[ROOM]
    assert stored.keep_ms == 0
    batch = Digester({ROOM: stored.record}, around).elapse([ROOM], ARRIVED + DAY, until=math.inf)
    before, (tomb, keep_ms, due_ms) = records.decode(stored.record), batch.rooms[ROOM]
    assert len(tomb) < 200
    assert (keep_ms, due_ms) == (30 * 24 * 3_600_000, 0)
    risen = records.decode(tomb)
    assert risen.facts.expired
    assert risen.ledger.revision == before.ledger.revision + 1  # settled
    assert risen.ledger.last_event_id == dict(zip(*[iter(batch.events[-1])] * 2, strict=True))["id"]
    # The timer, and the closing record.
    assert risen.ledger.audit_records == before.ledger.audit_records + 2
    assert len(risen.ledger.audit_head) == 64

    late = callback_from(disconnected(LAPTOP, 80_000), ARRIVED + 2 * DAY)
    outcome = conclude(risen.facts, late, BOUNDS)
    assert (outcome.verdict, outcome.facts, outcome.events) == ("too-late", risen.facts, [])


@pytest.mark.parametrize(("people", "tracks"), [(1, 0), (30, 3)])
def test_ten_thousand_rejoins_in_a_day_take_less_than_64_kib(people: int, tracks: int) -> None:
    facts, largest = NOTHING, 0
    pause = DAY // 10_000
    for number in range(10_000):
        at = ARRIVED + number * pause
        identity, who = f"person {number % people}", sid("PA", number)
        milliseconds = number * pause // 1000
        story = [
            connected(who, milliseconds, identity),
            *(track("added", who, milliseconds, sid("MT", one), identity) for one in range(tracks)),
            disconnected(sid("PA", number - people), milliseconds + 100, identity),
        ]
        for params in story[: None if number >= people else -1]:
            # The times of a whole day: those of the stories end after four hours.
            stamped = callback_from(params | {"Timestamp": "2023-08-14T20:00:00.000Z"}, at)
            told = replace(stamped, at=stamped.at + milliseconds * 1000)
            facts = conclude(facts, told, BOUNDS).facts
        if number % 500 == 0:
            largest = max(largest, len(records.encode(records.Record(facts=facts))))
    assert 5_000 < largest < 65_536
    assert sum(tally.sessions for tally in facts.tallies.values()) > 9_000


def test_nothing_is_waited_for_in_a_room_that_was_never_heard_of() -> None:
    assert next_due(NOTHING) is None
    assert [*elapse(NOTHING, ARRIVED + 1000 * DAY, BOUNDS)] == []


def test_a_room_that_cannot_be_looked_at_stops_no_other(
    hasty: Drain, redis: Redis, keyspace: Keyspace, deposit: Deposit, eventually: Eventually
) -> None:
    other = next(one for number in range(9999) if shard_of(one := sid("RM", number), 8) == SHARD)
    keys = keyspace.shard(SHARD)
    who = {"RoomSid": other}
    deposit(connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who)
    hasty.drain(SHARD, {})
    # Its index names a session that there is not.
    broken = records.Record(facts=replace(NOTHING, room_sid=ROOM, waits={"Dana": 1}, first=1))
    broken = replace(broken, facts=replace(broken.facts, people={"Dana": ("PA1",)}))
    redis.set(keys.room(ROOM), records.encode(broken))
    redis.zadd(keys.due, {keys.room(ROOM): 1, keys.room(other): 2})
    # To say what is wrong with the one may take so long that the other waits for the next slice.
    eventually(
        lambda: (
            bool(hasty.drain(SHARD, {}))
            and "identity.departed" in [event.kind for event in published(redis)]
        )
    )
    # It is looked at again in an hour, should somebody have mended it.
    score = redis.zscore(keys.due, keys.room(ROOM))
    assert score > redis.time()[0] * 1000 + 3_000_000


def test_rooms_of_a_busy_shard_are_looked_at_while_callbacks_wait(
    store: Store, audit: AuditOutput, redis: Redis, deposit: Deposit, keyspace: Keyspace
) -> None:
    busy = Drain(store, BOUNDS._replace(linger=1_000), Lines(audit.writing), slice_seconds=0.0)
    other = next(one for number in range(9999) if shard_of(one := sid("RM", number), 8) == SHARD)
    who = {"RoomSid": other}
    deposit(connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who)
    busy.drain(SHARD, {})
    # A slice takes one batch; there is always more in the inbox.
    left: list[str] = []
    for number in range(4):
        deposit(*(connected(sid("PA", 1000 * number + one), one) for one in range(300)))
        assert busy.drain(SHARD, {}).handed_on
        assert redis.xlen(keyspace.shard(SHARD).inbox) > 0
        left = [event.kind for event in published(redis) if event.attributes["roomsid"] == other]
        if "identity.departed" in left:
            break
    assert "identity.departed" in left


def leave(
    redis: Redis, keyspace: Keyspace, deposit: Deposit, drain: Drain, count: int, wait: Eventually
) -> None:
    """Have somebody leave each of so many rooms, and wait until they are gone for good."""
    numbers = (sid("RM", number) for number in range(9999))
    for room in islice((one for one in numbers if shard_of(one, 8) == SHARD), count):
        who = {"RoomSid": room, "ParticipantSid": "PA" + room[2:]}
        deposit(connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who)
    drain.drain(SHARD, {})

    def are_due() -> bool:
        seconds, microseconds = redis.time()
        now = seconds * 1000 + microseconds // 1000
        # On a machine that is very busy, some are looked at in that drain.
        return redis.zcount(keyspace.shard(SHARD).due, "-inf", now) + departed(redis) == count

    wait(are_due)


def departed(redis: Redis) -> int:
    return [event.kind for event in published(redis)].count("identity.departed")


def test_a_slice_ends_with_all_rooms_looked_at_that_are_due(
    store: Store,
    audit: AuditOutput,
    redis: Redis,
    deposit: Deposit,
    keyspace: Keyspace,
    eventually: Eventually,
) -> None:
    bounds = BOUNDS._replace(linger=10 * LINGER)
    calm = Drain(store, bounds, Lines(audit.writing))
    busy = Drain(store, bounds, Lines(audit.writing), slice_seconds=0.0)
    leave(redis, keyspace, deposit, calm, 2 * DUE_ROOMS + 1, eventually)
    deposit(created())
    assert busy.drain(SHARD, {}) == Drained(SHARD, 1, handed_on=False)
    assert departed(redis) == 2 * DUE_ROOMS + 1


@pytest.mark.parametrize("waiting", [0, BATCH_CALLBACKS])
def test_a_slice_ends_so_whatever_comes_meanwhile(
    redis: Redis,
    keyspace: Keyspace,
    audit: AuditOutput,
    deposit: Deposit,
    eventually: Eventually,
    waiting: int,
) -> None:
    class ComesMeanwhile(Store):
        """A store for which a callback comes whenever it is asked which rooms are due."""

        def due(self, hold: Hold, *, by_ms: int | None = None) -> Ask[tuple[int, list[str]]]:
            deposit(created())
            return super().due(hold, by_ms=by_ms)

    bounds = BOUNDS._replace(linger=10 * LINGER)
    calm = Drain(Store(redis, keyspace, shards=8, maxlen=1000), bounds, Lines(audit.writing))
    leave(redis, keyspace, deposit, calm, DUE_ROOMS + 1, eventually)
    deposit(*[created()] * (1 + waiting))
    store = ComesMeanwhile(redis, keyspace, shards=8, maxlen=1000)
    drained = Drain(store, bounds, Lines(audit.writing), slice_seconds=0.0).drain(SHARD, {})
    assert drained.handed_on
    assert departed(redis) == DUE_ROOMS + 1


def test_a_process_that_is_to_end_leaves_rooms_that_are_due_to_the_next(
    store: Store,
    audit: AuditOutput,
    redis: Redis,
    deposit: Deposit,
    keyspace: Keyspace,
    eventually: Eventually,
) -> None:
    drain = Drain(store, BOUNDS._replace(linger=10 * LINGER), Lines(audit.writing))
    leave(redis, keyspace, deposit, drain, 2 * DUE_ROOMS + 1, eventually)
    deposit(created())
    terms = Terms(leaving=lambda: True)
    drained = Rounds(store, lambda one: drain.begin(one, {}), terms).serve(SHARD)
    assert drained == [Drained(SHARD, 1, handed_on=True)]
    assert departed(redis) < 2 * DUE_ROOMS + 1


def test_time_that_takes_longer_than_a_batch_may_is_committed_by_parts() -> None:
    entries = []
    for number in range(300):
        who = {"ParticipantSid": sid("PA", number), "ParticipantIdentity": f"person {number}"}
        for params in (connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who):
            fields = {b"params": encode_params(params), b"token": b""}
            entries.append((b"%d-0" % (ARRIVED // 1000 + len(entries)), fields))
    around = Circumstances(SHARD, {}, BOUNDS, lambda: ARRIVED, Scribe(BOUNDS))
    late = (
        b"%d-0" % (ARRIVED // 1000 + 10_000),
        {b"params": encode_params(created()), b"token": b""},
    )
    batch, _ = Digester({ROOM: None}, around).digest(read_entries(SHARD, entries), until=math.inf)
    parts, taken = 0, 0
    while not taken:
        stored = {ROOM: batch.rooms[ROOM].record}
        batch, taken = Digester(stored, around).digest(read_entries(SHARD, [late]), until=0.0)
        parts += 1
    assert parts > 100
