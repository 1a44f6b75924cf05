"""What Redis took and then lost: it is told again, and said aloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from proxy import proxy_to
from redis import Redis
from servers import RedisServer, wait_until

from ingest.deposits import Deposits
from ingest.inbox import open_inbox
from ingest.losses import Losses
from ingest.recent import RecentDeposits
from ingest.spool import Spool
from schemas.errors import UnavailableError
from schemas.inbox import decode
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings

ROOM = "RM" + "1" * 32
SHARD = shard_of(ROOM, 8)
INBOX = Keyspace("rollcall").shard(SHARD).inbox


def callback(number: int) -> dict[str, str]:
    return {"AccountSid": "AC" + "0" * 32, "RoomSid": ROOM, "SequenceNumber": str(number)}


def numbers(client: Redis) -> list[int]:
    """The callbacks in the inbox, as they came."""
    entries: Any = client.xrange(INBOX)
    return [int(decode(fields).params["SequenceNumber"]) for _, fields in entries]


class Silent:
    def ring(self, shard: int) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    # A replica need not wait for others to be sent their copy together.
    with RedisServer(tmp_path / "master", options=["repl-diskless-sync-delay 0"]) as one:
        yield one


@pytest.fixture
def replica(server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    follows = f"replicaof 127.0.0.1 {server.port}"
    with RedisServer(tmp_path / "replica", options=[follows]) as one, one.client() as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        with server.client() as master:
            # The link is up before the master counts on it.
            wait_until(lambda: master.wait(1, 100) == 1)
        yield one


@pytest.fixture
def deposits(
    settings: Settings, server: RedisServer, tmp_path: Path
) -> Iterator[tuple[Deposits, Spool]]:
    inbox = open_inbox(replace(settings, redis_url=server.url))
    spool = Spool(tmp_path / "spool", 1 << 20)
    made = Deposits(inbox, spool, Silent())
    yield made, spool
    made.stop()
    inbox.close()


@pytest.mark.parametrize("kept", [0, 3])
def test_what_a_restarted_redis_has_forgotten_is_deposited_again(
    deposits: tuple[Deposits, Spool],
    server: RedisServer,
    log: list[Any],
    kept: int,
) -> None:
    door, _ = deposits
    door.look()
    with server.client() as client:
        for number in range(5):
            door.deposit(callback(number), "a-token")
            if number == kept - 1:
                client.save()
        server.kill()
        server.start()
        assert numbers(client) == [*range(kept)]
        wait_until(lambda: door.look() or len(numbers(client)) > kept)
        # Who is known to have lost something is told all of it: what it has changes nothing.
        assert numbers(client) == [*range(kept), *range(5)]
        [said] = [one for one in log if one["event"] == "redis_lost_its_tail"]
        assert (said["lost_at_least"], said["deposited_again"]) == (5 - kept, 5)


def test_a_restart_that_lost_nothing_is_not_called_a_loss(
    deposits: tuple[Deposits, Spool], server: RedisServer, log: list[Any]
) -> None:
    door, _ = deposits
    door.look()
    door.deposit(callback(0), "")
    with server.client() as client:
        client.save()
        server.kill()
        server.start()
        wait_until(lambda: door.look() or len(numbers(client)) > 1)
        assert numbers(client) == [0, 0]
    [said] = [one for one in log if one["event"].startswith("redis_")]
    assert said["event"] == "redis_replaced"


def test_what_was_replayed_from_the_disk_is_deposited_again_as_well(
    deposits: tuple[Deposits, Spool], server: RedisServer
) -> None:
    door, _ = deposits
    door.look()
    server.kill()
    door.deposit(callback(0), "")
    server.start()
    with server.client() as client:
        wait_until(lambda: door.look() or numbers(client))
        server.kill()
        server.start()
        assert numbers(client) == []
        wait_until(lambda: door.look() or numbers(client))
        assert numbers(client) == [0]


def test_what_could_not_be_deposited_again_is_not_forgotten(
    deposits: tuple[Deposits, Spool], server: RedisServer
) -> None:
    door, spool = deposits
    door.look()
    door.deposit(callback(0), "")
    server.kill()
    server.start()
    with server.client() as client:
        # Of another type, the inbox takes nothing: the callback goes to the disk.
        client.set(INBOX, "no stream")
        wait_until(lambda: door.look() or spool.callbacks)
        client.delete(INBOX)
        wait_until(lambda: door.look() or numbers(client))
        assert numbers(client) == [0]


def test_a_master_that_was_a_replica_for_a_while_is_told_what_it_lacks(
    deposits: tuple[Deposits, Spool], server: RedisServer, replica: RedisServer, log: list[Any]
) -> None:
    door, _ = deposits
    door.look()
    with server.client() as first, replica.client() as second:
        # Made a replica and a master again in the same process, it lacks what came before.
        second.replicaof("NO", "ONE")
        door.deposit(callback(0), "")
        first.replicaof("127.0.0.1", replica.port)
        wait_until(lambda: first.info("replication")["master_link_status"] == "up")
        assert numbers(first) == []
        first.replicaof("NO", "ONE")
        wait_until(lambda: door.look() or numbers(first) == [0])
    assert [one["event"] for one in log if one["event"].startswith("redis_")] == [
        "redis_lost_its_tail"
    ]


def test_a_loss_is_told_once_though_depositing_again_breaks_off(
    settings: Settings, server: RedisServer, tmp_path: Path, log: list[Any]
) -> None:
    with RedisServer(tmp_path / "another") as another, proxy_to(server.url) as proxy:
        inbox = open_inbox(replace(settings, redis_url=proxy.url))
        losses = Losses(inbox, Spool(tmp_path / "spool", 1 << 20), Silent())
        losses.look()
        for number in range(3):
            inbox.deposit(callback(number), "")
        proxy.lead_to(another.url)
        # The first reply is of the server that took them, the second of the one in its place.
        for lost in (b"rollcall:probe", b"EVALSHA"):
            proxy.lose_reply_to(lost)
            with pytest.raises(UnavailableError):
                looked(losses)
        assert looked(losses) == 3
        with another.client() as client:
            assert {*numbers(client)} == {*range(3)}
        inbox.close()
    [said] = [one for one in log if one["event"].startswith("redis_")]
    assert (said["event"], said["lost_at_least"]) == ("redis_lost_its_tail", 3)


def looked(losses: Losses) -> int:
    """Look as soon as Redis is asked again, once a second; return how many were lost."""
    lost: list[int] = []
    wait_until(lambda: lost.append(losses.look()) or lost[-1])
    return lost[-1]


def test_a_redis_that_does_not_tell_who_it_is_is_told_of_once(
    settings: Settings, server: RedisServer, tmp_path: Path, log: list[Any]
) -> None:
    with server.client() as client:
        client.acl_setuser("shy", True, passwords=["+hush"], keys=["*"], commands=["+@all"])
        client.execute_command("ACL", "SETUSER", "shy", "-info")
        inbox = open_inbox(replace(settings, redis_url=server.url.replace("//", "//shy:hush@")))
        losses = Losses(inbox, Spool(tmp_path / "spool", 1 << 20), Silent())
        wait_until(lambda: losses.look() or forbidden(client) == 2)
    [said] = [one for one in log if one["event"].startswith("redis_")]
    assert said["event"] == "redis_not_asked"
    assert said["todo"].endswith("+info")
    assert "hush" not in str(said)
    inbox.close()


def test_a_redis_that_has_no_info_takes_callbacks_all_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis", options=['rename-command INFO ""']) as server:
        inbox = open_inbox(replace(settings, redis_url=server.url))
        assert inbox.servers() == frozenset()
        inbox.close()


def forbidden(client: Redis) -> int:
    """How often somebody asked with INFO who must not."""
    counted: Any = client.info("commandstats")["cmdstat_info"]
    return int(counted["rejected_calls"])


def test_a_redis_that_takes_nothing_is_not_taken_for_well(
    deposits: tuple[Deposits, Spool], server: RedisServer
) -> None:
    door, _ = deposits
    with server.client() as client:
        client.config_set("maxmemory", 1)
        assert door.deposit(callback(0), "").spooled
        door.look()
        assert door.state() == "spooling"
        client.config_set("maxmemory", 0)
        wait_until(lambda: door.look() or numbers(client) == [0])


def test_only_the_last_minute_is_kept_and_never_more_than_fits() -> None:
    recent = RecentDeposits(keep_bytes=100)
    for number in range(10):
        recent.note(0, b"%d-0" % number, b"x" * 30, "")
    assert [one.entry for one in recent.take()] == [b"7-0", b"8-0", b"9-0"]
    assert recent.take() == []
    short = RecentDeposits(keep_seconds=0.0)
    short.note(0, b"1-0", b"x", "")
    short.note(0, b"2-0", b"x", "")
    assert [one.entry for one in short.take()] == [b"2-0"]


def test_what_is_given_back_comes_before_what_was_noted_meanwhile() -> None:
    recent = RecentDeposits()
    for number in range(3):
        recent.note(0, b"%d-0" % number, b"x", "")
    taken = recent.take()
    recent.note(0, b"3-0", b"x", "")
    recent.give_back(taken[1:])
    assert [one.entry for one in recent.take()] == [b"1-0", b"2-0", b"3-0"]


def test_a_deposit_waits_until_its_replicas_have_it(
    settings: Settings, server: RedisServer, replica: RedisServer
) -> None:
    # How soon a replica answers is the machine's affair.
    patient = replace(settings, redis_url=server.url, wait_replicas=1, deposit_timeout_ms=50_000)
    inbox = open_inbox(patient)
    with replica.client() as client:
        for number in range(20):
            inbox.deposit(callback(number), "")
            assert len(numbers(client)) == number + 1
    inbox.check()
    inbox.close()


def test_without_its_replicas_a_deposit_does_not_count(
    settings: Settings, server: RedisServer, replica: RedisServer, tmp_path: Path
) -> None:
    # Redis knows the script after this. One that does not is asked for its replicas all the same,
    # which may lag by a ping of the master's and nothing else, and then has no deposit.
    inbox = open_inbox(replace(settings, redis_url=server.url))
    inbox.deposit(callback(0), "")
    inbox.close()
    inbox = open_inbox(replace(settings, redis_url=server.url, wait_replicas=1))
    door = Deposits(inbox, Spool(tmp_path / "spool", 1 << 20), Silent())
    replica.pause()
    with pytest.raises(UnavailableError) as failed:
        inbox.deposit(callback(1), "")
    assert type(failed.value.__cause__).__name__ == "NotReplicatedError"
    with pytest.raises(UnavailableError):
        inbox.check()
    assert door.deposit(callback(2), "").spooled
    # It stays on the disk until the replica is back.
    door.look()
    assert door.state() == "spooling"
    replica.resume()
    with server.client() as master, replica.client() as client:
        wait_until(lambda: door.look() or door.state() == "ready")
        wait_until(lambda: 2 in numbers(client))
        assert set(numbers(client)) == set(numbers(master)) == {0, 1, 2}
    door.stop()
    inbox.close()
