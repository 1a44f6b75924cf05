"""The spool: what is answered 204 while Redis is away is on the disk, and nothing of it is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from console.embedded import EmbeddedRedis
from ingest.deposits import Deposits
from ingest.inbox import Inbox
from ingest.receipts import Limits
from ingest.spool import Spool
from schemas.errors import UnavailableError
from schemas.inbox import decode, encode_params
from schemas.keys import Keyspace, shard_of

ROOM = "RM" + "1" * 32
KEYS = Keyspace("rollcall").shard(shard_of(ROOM, 8))
MEBIBYTE = 1 << 20
SOON = 5.0


def callback(number: int) -> dict[str, str]:
    return {
        "AccountSid": "AC" + "0" * 32,
        "RoomSid": ROOM,
        "StatusCallbackEvent": "room-created",
        "Timestamp": "2023-08-14T20:00:00.000Z",
        "SequenceNumber": str(number),
    }


class Rung:
    def __init__(self) -> None:
        self.shards: list[int] = []

    def ring(self, shard: int) -> None:
        self.shards.append(shard)


@pytest.fixture
def bell() -> Rung:
    return Rung()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", MEBIBYTE)
    yield made
    made.close()


@pytest.fixture
def deposits(private_inbox: Inbox, spool: Spool, bell: Rung) -> Deposits:
    """A door's deposits over a Redis that the test may break; `look` is called by the test."""
    return Deposits(private_inbox, spool, bell)


def numbers(client: Redis) -> list[str]:
    entries: Any = client.xrange(KEYS.inbox)
    return [decode(fields).params["SequenceNumber"] for _, fields in entries]


def test_a_failed_deposit_is_on_the_disk_and_the_next_ones_do_not_ask_redis(
    deposits: Deposits, private_redis: EmbeddedRedis, spool: Spool
) -> None:
    private_redis.stop()
    first = deposits.deposit(callback(1), "token")
    assert first.spooled
    assert spool.callbacks == 1
    # A Redis that is back is not asked before the probe has seen it.
    private_redis.start()
    assert deposits.deposit(callback(2), "token").spooled
    assert spool.callbacks == 2
    assert deposits.state() == "spooling"


def test_what_was_spooled_is_replayed_with_its_token_and_wakes_its_shard(
    deposits: Deposits,
    private_redis: EmbeddedRedis,
    private_client: Redis,
    spool: Spool,
    bell: Rung,
) -> None:
    private_redis.stop()
    for number in range(250):
        deposits.deposit(callback(number), f"token-{number}")
    deposits.look()
    assert spool.callbacks == 250
    private_redis.start()
    deposits.look()
    assert deposits.state() == "ready"
    assert numbers(private_client) == [str(number) for number in range(250)]
    entries: Any = private_client.xrange(KEYS.inbox)
    assert decode(entries[7][1]).token == "token-7"
    assert bell.shards == [shard_of(ROOM, 8)]
    assert spool.callbacks == 0
    assert spool.size == 0
    assert not deposits.deposit(callback(250), "").spooled


def test_a_redis_that_hangs_costs_one_time_out_and_not_one_a_request(
    deposits: Deposits, private_redis: EmbeddedRedis, spool: Spool
) -> None:
    os.kill(private_redis.pid, signal.SIGSTOP)
    try:
        for number in range(100):
            assert deposits.deposit(callback(number), "").spooled
        # Redis would have been asked for half a second each time.
        assert spool.callbacks == 100
    finally:
        os.kill(private_redis.pid, signal.SIGCONT)


def test_a_full_inbox_is_spooled_past_and_tried_again_later(
    private_client: Redis, spool: Spool, bell: Rung, eventually: Callable[..., None]
) -> None:
    inbox = Inbox(private_client, Keyspace("rollcall"), 8, Limits(maxlen=3))
    deposits = Deposits(inbox, spool, bell)
    spooled = [deposits.deposit(callback(number), "").spooled for number in range(5)]
    assert spooled == [False, False, False, True, True]
    deposits.look()
    assert spool.callbacks == 2
    private_client.xtrim(KEYS.inbox, maxlen=2, approximate=False)

    def one_more_got_in() -> bool:
        deposits.look()
        return spool.callbacks == 1

    eventually(one_more_got_in)
    assert numbers(private_client) == ["1", "2", "3"]


def test_a_full_spool_refuses_at_once(
    private_inbox: Inbox, private_redis: EmbeddedRedis, tmp_path: Path, bell: Rung
) -> None:
    private_redis.stop()
    small = Spool(tmp_path / "small", 140_000)
    deposits = Deposits(private_inbox, small, bell)
    # Whoever asks is told what the next callback would be told, at each step.
    while deposits.state() == "spooling":
        assert deposits.deposit(callback(small.callbacks), "").spooled
    assert deposits.state() == "unavailable"
    with pytest.raises(UnavailableError, match="the spool is full"):
        deposits.deposit(callback(1), "")
    assert 0 < small.size <= 140_000
    small.close()


def test_a_spool_that_is_switched_off_makes_no_folder(
    private_inbox: Inbox, private_redis: EmbeddedRedis, tmp_path: Path, bell: Rung
) -> None:
    private_redis.stop()
    deposits = Deposits(private_inbox, Spool(tmp_path / "none", 0), bell)
    with pytest.raises(UnavailableError, match="switched off"):
        deposits.deposit(callback(1), "")
    assert not (tmp_path / "none").exists()


def test_many_requests_at_once_are_all_on_the_disk(spool: Spool) -> None:
    def put(first: int) -> None:
        for number in range(first, first + 25):
            spool.put(encode_params(callback(number)), "", seconds=SOON)

    threads = [threading.Thread(target=put, args=(25 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    (file,) = spool.waiting()
    told = {decode({b"params": one.params}).params["SequenceNumber"] for one in file.oldest(500)}
    assert told == {str(number) for number in range(400)}


def test_each_commit_is_synced_to_the_disk(spool: Spool) -> None:
    spool.put(b"{}", "", seconds=SOON)
    (file,) = spool.waiting()
    assert file._database.execute("pragma journal_mode").fetchone() == ("wal",)  # noqa: SLF001  # nobody else can tell
    full = 2
    assert file._database.execute("pragma synchronous").fetchone() == (full,)  # noqa: SLF001  # as above


KILLED = """
import os, sys
from pathlib import Path
from ingest.spool import Spool
spool = Spool(Path(sys.argv[1]), 1 << 20)
for number in range(10):
    spool.put(b'{"n": "%d"}' % number, "", seconds=5)
print("kept", flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_file_of_a_killed_process_is_adopted_and_none_of_a_living_one(
    tmp_path: Path, spool: Spool
) -> None:
    folder = tmp_path / "spool"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], capture_output=True, check=False
    )
    assert (ended.stdout, ended.returncode) == (b"kept\n", -signal.SIGKILL)
    living = Spool(folder, MEBIBYTE)
    living.put(b"{}", "", seconds=SOON)
    assert spool.adopt() == 10
    (adopted,) = spool.waiting()
    assert [one.params for one in adopted.oldest(99)] == [b'{"n": "%d"}' % n for n in range(10)]
    adopted.forget(adopted.oldest(99))
    spool.tidy()
    assert spool.adopt() == 0
    living.close()
    assert len(list(folder.glob("*.spool"))) == 1


def test_a_disk_that_takes_nothing_is_unavailable(tmp_path: Path, spool: Spool) -> None:
    spool.put(b"{}", "", seconds=SOON)
    (file,) = spool.waiting()
    # SQLite answers a full disk and a full file alike.
    file._database.execute("pragma max_page_count = 1")  # noqa: SLF001  # to fill a disk takes root
    with pytest.raises(UnavailableError) as caught:
        spool.put(b"x" * 100_000, "", seconds=SOON)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert "full" in str(caught.value.__cause__)


def test_the_door_answers_204_while_redis_is_away_and_503_when_nothing_keeps_it(
    door: Callable[..., Any],
    private_inbox: Inbox,
    private_redis: EmbeddedRedis,
    recorded: list[dict[str, Any]],
) -> None:
    private_redis.stop()
    spooling = door(inbox=private_inbox)
    assert spooling.post(recorded[0]["body"]).status_code == 204
    ready = spooling.client.get("/readyz")
    assert (ready.status_code, ready.json) == (200, {"status": "spooling"})
    refusing = door(inbox=private_inbox, spool_max_bytes=0)
    answer = refusing.post(recorded[0]["body"])
    assert (answer.status_code, answer.json["reason"]) == (503, "unavailable")
    unready = refusing.client.get("/readyz")
    assert (unready.status_code, unready.json) == (503, {"status": "unavailable"})
