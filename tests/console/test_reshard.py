"""Another number of shards: nothing of a room is lost or changed, whenever the change is killed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from asked import asked
from audits import AuditOutput
from click.testing import CliRunner, Result
from redis import Redis, RedisError
from redis.client import Pipeline
from rooms import PHONE, connected, created, disconnected
from servers import Clustered, wait_until
from strategies import ACCOUNT, sid
from streams import by_room, check_chain, published

from console.commands import rollcall
from console.reshard import reshard
from ingest.deposits import Deposits
from ingest.inbox import Inbox, open_inbox
from ingest.spool import Spool
from schemas.alert_targets import read_targets
from schemas.connection import claim_shards, connect, keyspace_of
from schemas.errors import ReshardError, StartError, UnavailableError
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.arrivals import pseudo_room
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.moves import Moves
from workers.notify.alertmanager import Fired
from workers.notify.outbox import Outbox
from workers.reshard import Reshard
from workers.safety import masters
from workers.store import Store

SHARDS = 8
ROOMS = [*(sid("RM", number) for number in range(150)), ACCOUNT]


def spread(settings: Settings, to: int) -> None:
    """Do what `rollcall reshard` does, where no door is running that would have to notice."""
    reshard(settings, to, patience_seconds=0.0, notice_seconds=0.0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that comes after it is done."""


class Silent:
    def ring(self, shard: int) -> None: ...

    def stop(self) -> None: ...


class Kept(NamedTuple):
    """What Redis has of a room."""

    record: bytes | None
    lives: bool
    due: float | None


class Rollcall:
    """A door and a worker, with so many shards."""

    def __init__(self, redis: Redis, settings: Settings, shards: int, audit: AuditOutput) -> None:
        keyspace = keyspace_of(settings)
        claim_shards(redis, keyspace, shards)
        self.shards = shards
        self.inbox = Inbox(redis, keyspace, shards)
        self.store = Store(redis, keyspace, shards=shards, maxlen=settings.events_maxlen)
        self.drain = Drain(self.store, bounds_of(settings), Lines(audit.writing))

    def tell(self, *callbacks: dict[str, str]) -> None:
        for params in callbacks:
            self.inbox.deposit(params, "")
        for shard in range(self.shards):
            self.drain.drain(shard, {})


@pytest.fixture
def audit() -> Iterator[AuditOutput]:
    output = AuditOutput()
    yield output
    output.close()


@pytest.fixture
def keyspace(settings: Settings) -> Keyspace:
    return keyspace_of(settings)


@pytest.fixture
def populated(redis: Redis, settings: Settings, audit: AuditOutput) -> dict[str, Kept]:
    """Rooms over eight shards, some without an end and some that expire; and what is kept."""
    return populate(redis, settings, audit)


def populate(redis: Redis, settings: Settings, audit: AuditOutput) -> dict[str, Kept]:
    keyspace = keyspace_of(settings)
    eight = Rollcall(redis, settings, SHARDS, audit)
    rooms = [room for room in ROOMS if room != ACCOUNT]
    eight.tell(*(told | {"RoomSid": room} for room in rooms for told in (created(), joined(room))))
    eight.tell({"AccountSid": ACCOUNT, "StatusCallbackEvent": "planet-painted"})
    for shard in range(SHARDS):
        # What nobody can read is told of in the room that stands for its shard.
        redis.xadd(keyspace.shard(shard).inbox, {"params": "not JSON"})
        eight.drain.drain(shard, {})
    for number, room in enumerate(rooms[::5]):
        keys = keyspace.shard(shard_of(room, SHARDS))
        redis.pexpire(keys.room(room), 1_000_000 + number)
        redis.zrem(keys.due, keys.room(room))
    lie = lying(redis, keyspace, SHARDS)
    assert set(lie) == {*ROOMS, *map(pseudo_room, range(SHARDS))}
    return lie


def joined(room: str) -> dict[str, str]:
    return connected(PHONE, 1_000, identity=f"Who is in {room[-3:]}")


def home(room: str, shards: int) -> int:
    own = {pseudo_room(number): number for number in range(shards)}
    return own.get(room, shard_of(room, shards))


def target_of(settings: Settings) -> str:
    return settings.alert_targets[0].name


def lying(redis: Redis, keyspace: Keyspace, shards: int) -> dict[str, Kept]:
    """Read every room where so many shards have it looked for; there must be no other."""
    found: dict[str, Kept] = {}
    for _, node in masters(redis):
        for key in node.scan_iter("*room:*"):
            room = key.decode().rpartition(":")[2]
            keys = keyspace.shard(home(room, shards))
            assert key.decode() == keys.room(room)
            lives = redis.pttl(key)
            assert lives == -1 or 900_000 < lives <= 1_000_150 or room not in ROOMS
            found[room] = Kept(redis.get(key), lives != -1, redis.zscore(keys.due, key))
    return found


def own_keys(redis: Redis) -> set[str]:
    """The names of all keys but those of rooms."""
    names = (key.decode() for _, node in masters(redis) for key in node.scan_iter("*"))
    return {name for name in names if ":room:" not in name}


def killed_after(settings: Settings, to: int, round_trips: int) -> bool:
    """Change the count, and be killed in the middle of a round trip; tell whether that happened."""
    made = itertools.count()
    command, pipeline = Redis.execute_command, Pipeline.execute

    def send(redis: Redis, *args: Any, **options: Any) -> Any:
        if next(made) >= round_trips:
            raise Killed
        return command(redis, *args, **options)

    def send_all(several: Pipeline, raise_on_error: bool = True) -> Any:
        if next(made) < round_trips:
            return pipeline(several, raise_on_error)
        # Half of it still reaches Redis.
        del several.command_stack[len(several.command_stack) // 2 :]
        pipeline(several, raise_on_error)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Redis, "execute_command", send)
        patch.setattr(Pipeline, "execute", send_all)
        try:
            spread(settings, to)
        except Killed:
            return True
        return False


def after_a_kill(redis: Redis, keyspace: Keyspace) -> None:
    # Nobody waits for the minute that the dead one is believed to live.
    redis.delete(keyspace.resharding)


@pytest.mark.parametrize("to", [1, 3, 16])
def test_every_room_lies_under_its_new_shard_byte_for_byte(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept], to: int
) -> None:
    spread(settings, to)
    assert lying(redis, keyspace, to) == populated
    assert redis.get(keyspace.shard_count) == b"%d" % to


@pytest.mark.parametrize("to", [3, 16])
def test_a_change_that_was_killed_anywhere_is_finished_by_running_it_again(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept], to: int
) -> None:
    verdicts = Inbox(redis, keyspace, SHARDS).backlog().verdicts
    kills = itertools.takewhile(lambda steps: killed_after(settings, to, steps), itertools.count())
    for _ in kills:
        after_a_kill(redis, keyspace)
    assert lying(redis, keyspace, to) == populated
    after = Inbox(redis, keyspace, to)
    assert after.backlog().verdicts == verdicts
    after.deposit(created(), "")


@pytest.mark.parametrize("to", [3, 16])
def test_workers_go_on_with_the_next_revision(
    redis: Redis,
    settings: Settings,
    keyspace: Keyspace,
    audit: AuditOutput,
    populated: dict[str, Kept],
    to: int,
) -> None:
    spread(settings, to)
    after = Rollcall(redis, settings, to, audit)
    after.tell(*(disconnected(PHONE, 5_000) | {"RoomSid": room} for room in ROOMS[:-1]))
    rooms = by_room(published(redis))
    for room in ROOMS[:-1]:
        # The first callback after the change, by which time has come as far as well.
        assert {one.kind for one in rooms[room][-2:]} == {"participant.left", "identity.departed"}
        check_chain(rooms[room])
    assert lying(redis, keyspace, to).keys() == populated.keys()


def test_there_and_back_leaves_nothing_but_inboxes_that_are_shut(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept]
) -> None:
    before = own_keys(redis)
    for to in (3, 16, SHARDS):
        spread(settings, to)
    assert lying(redis, keyspace, SHARDS) == populated
    # Empty inboxes are made anew by whoever deposits; those that are given up take nothing.
    shut = {keyspace.shard(number).inbox for number in range(SHARDS, 16)}
    assert own_keys(redis) <= before | shut
    assert {redis.type(key) for key in own_keys(redis) & shut} == {b"string"}


def test_no_commit_token_comes_twice(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept]
) -> None:
    def numbers(shards: int) -> list[int]:
        tokens = [redis.get(keyspace.shard(number).commit) for number in range(shards)]
        return [int(token.partition(b":")[0]) for token in tokens if token]

    highest = max(numbers(SHARDS))
    for to in (3, 16):
        spread(settings, to)
        assert len(numbers(to)) == to
        assert min(numbers(to)) > highest
        highest = max(numbers(to))


def test_nothing_is_changed_while_anything_waits_or_works(
    redis: Redis,
    settings: Settings,
    keyspace: Keyspace,
    audit: AuditOutput,
    populated: dict[str, Kept],
) -> None:
    keys = [keyspace.shard(number) for number in range(SHARDS)]
    redis.set(keys[1].lease, "a worker's")
    redis.xadd(keys[2].inbox, {"params": "{}"})
    redis.set(keys[5].audit, "lines")
    with pytest.raises(ReshardError) as refusal:
        spread(settings, 3)
    assert "a worker is at shard 1, and callbacks wait in shard 2, and audit" in str(refusal.value)
    assert redis.get(keyspace.shard_count) == b"8"
    assert lying(redis, keyspace, SHARDS) == populated
    redis.delete(keys[1].lease, keys[2].inbox, keys[5].audit)
    # All that it held is free again.
    Rollcall(redis, settings, SHARDS, audit).tell(disconnected(PHONE, 2_000))


def test_nobody_drains_or_deposits_while_rooms_are_moved(
    redis: Redis,
    settings: Settings,
    keyspace: Keyspace,
    audit: AuditOutput,
    populated: dict[str, Kept],
) -> None:
    left_running = Rollcall(redis, settings, SHARDS, audit)
    change = Reshard(redis, keyspace, 16)
    with change.alone():
        assert change.begin()
        assert asked(left_running.store, left_running.store.take(3, "mine")) is None
        # The door keeps such a callback on its disk.
        with pytest.raises(UnavailableError):
            left_running.inbox.deposit(created(), "")
        assert left_running.store.waiting() == []
        for shards in (8, 16):
            with pytest.raises(StartError, match="from 8 to 16 shards"):
                claim_shards(redis, keyspace, shards)


def test_a_door_that_runs_on_notices_and_its_callbacks_go_where_the_new_count_looks(
    redis: Redis, settings: Settings, populated: dict[str, Kept]
) -> None:
    before = Deposits(open_inbox(settings), Spool(settings.spool_dir, 1 << 20), Silent())
    before.look()
    room = next(one for one in ROOMS if shard_of(one, 16) >= SHARDS)
    # It has nothing to do meanwhile, and notices all the same.
    threading.Timer(0.2, reshard, [settings, 16]).start()
    wait_until(lambda: before.look() or before.state() == "spooling")
    wait_until(lambda: redis.get(keyspace_of(settings).shard_count) == b"16")
    before.look()
    assert before.deposit(created() | {"RoomSid": room}, "").spooled
    before.stop()
    grown = replace(settings, shards=16)
    after = Deposits(open_inbox(grown), Spool(settings.spool_dir, 1 << 20), Silent())
    inbox = keyspace_of(grown).shard(shard_of(room, 16)).inbox
    wait_until(lambda: after.look() or redis.xlen(inbox) == 1)
    after.stop()


def test_a_change_waits_for_workers_that_empty_the_inboxes(
    redis: Redis,
    settings: Settings,
    keyspace: Keyspace,
    audit: AuditOutput,
    populated: dict[str, Kept],
) -> None:
    running = Rollcall(redis, settings, SHARDS, audit)
    running.inbox.deposit(created() | {"RoomSid": ROOMS[0]}, "")
    threading.Timer(0.3, running.drain.drain, [shard_of(ROOMS[0], SHARDS), {}]).start()
    reshard(settings, 16, notice_seconds=0.0)
    assert redis.get(keyspace.shard_count) == b"16"


def test_two_changes_do_not_run_at_once(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept]
) -> None:
    change = Reshard(redis, keyspace, 16)
    with change.alone():
        with pytest.raises(ReshardError, match="Another `rollcall reshard`"):
            spread(settings, 16)
        # Held up for a minute, it is believed to be dead.
        redis.delete(keyspace.resharding)
        assert change.begin()
        with pytest.raises(ReshardError, match="held up"):
            list(change.move(change.misplaced()))
    spread(settings, 16)
    assert lying(redis, keyspace, 16) == populated


def test_a_change_that_was_begun_is_finished_before_another(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept]
) -> None:
    change = Reshard(redis, keyspace, 16)
    with change.alone():
        change.begin()
    with pytest.raises(ReshardError, match="from 8 to 16 shards was begun"):
        spread(settings, 3)


def test_what_lies_at_the_new_place_already_is_never_written_over(
    redis: Redis, settings: Settings, keyspace: Keyspace, populated: dict[str, Kept]
) -> None:
    room = next(one for one in ROOMS if shard_of(one, SHARDS) != shard_of(one, 3))
    there = keyspace.shard(shard_of(room, 3)).room(room)
    redis.set(there, "another's")
    with pytest.raises(ReshardError, match=room):
        spread(settings, 3)
    assert redis.get(there) == b"another's"
    redis.delete(there)
    spread(settings, 3)
    assert lying(redis, keyspace, 3) == populated


def test_redis_breaking_off_is_one_sentence(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch, populated: dict[str, Kept]
) -> None:
    def broken(*_: object) -> None:
        raise RedisError

    with monkeypatch.context() as patch:
        patch.setattr(Moves, "_remove", broken)
        with pytest.raises(ReshardError, match="run the same again"):
            spread(settings, 3)
    spread(settings, 3)


def told(settings: Settings, monkeypatch: pytest.MonkeyPatch, to: int) -> Result:
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    return CliRunner().invoke(rollcall, ["reshard", str(to)], catch_exceptions=False)


def test_the_command_says_what_it_did_and_what_to_do_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, populated: dict[str, Kept]
) -> None:
    output = told(settings, monkeypatch, 3).output
    assert "rooms were moved. Set ROLLCALL_SHARDS=3 for all processes, and start them" in output
    assert told(settings, monkeypatch, 3).output == "There are 3 shards already.\n"


def test_before_the_first_start_there_is_nothing_to_change(
    redis: Redis, settings: Settings
) -> None:
    with pytest.raises(ReshardError, match="set ROLLCALL_SHARDS=16, and start"):
        spread(settings, 16)


@pytest.fixture
def clustered(tmp_path: Path) -> Iterator[Settings]:
    with Clustered(tmp_path) as cluster:
        yield Settings(
            redis_url=cluster.url,
            celery_broker_url="amqp://127.0.0.1",
            spool_dir=tmp_path / "spool",
            alert_targets=read_targets("alertmanager://127.0.0.1:9093"),
        )


@pytest.mark.parametrize("to", [3, 16])
def test_rooms_move_from_node_to_node_of_a_cluster(
    clustered: Settings, audit: AuditOutput, to: int
) -> None:
    with connect(clustered, timeout=5.0) as redis:
        populated = populate(redis, clustered, audit)
        assert killed_after(clustered, to, 60)
        after_a_kill(redis, keyspace_of(clustered))
        spread(clustered, to)
        assert lying(redis, keyspace_of(clustered), to) == populated


def test_what_an_alertmanager_was_told_goes_with_the_room_in_a_cluster(clustered: Settings) -> None:
    keyspace, room = keyspace_of(clustered), sid("RM", 1)
    old, new = shard_of(room, SHARDS), shard_of(room, 3)
    firing = [keyspace.target(lane).firing for lane in keyspace.lanes(target_of(clustered), SHARDS)]
    fired = msgspec.msgpack.encode(Fired({"room_sid": room}, {}, "", 0))
    with connect(clustered, timeout=5.0) as redis:
        claim_shards(redis, keyspace, SHARDS)
        redis.hset(firing[old], mapping={"its key": fired})
        spread(clustered, 3)
        assert redis.hgetall(firing[new]) == {b"its key": fired}
        assert redis.exists(firing[old]) == 0


def test_a_shard_with_alerts_to_deliver_is_not_given_up_in_a_cluster(clustered: Settings) -> None:
    keyspace = keyspace_of(clustered)
    *_, lane = keyspace.lanes(target_of(clustered), SHARDS)
    with connect(clustered, timeout=5.0) as redis:
        claim_shards(redis, keyspace, SHARDS)
        Outbox(redis, keyspace).begin(lane, "0-0")
        redis.xadd(keyspace.shard(SHARDS - 1).alerts, {"id": "a1"})
        with pytest.raises(ReshardError, match="alerts of shard 7 are not delivered yet"):
            spread(clustered, 3)
        spread(clustered, 16)
