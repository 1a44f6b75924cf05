"""The replay: what was spooled gets into Redis once, and nothing holds up what lies behind it."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis import Redis
from structlog.testing import LogCapture

from console.embedded import EmbeddedRedis
from ingest.deposits import Deposits
from ingest.inbox import Inbox, open_inbox
from ingest.receipts import Limits
from ingest.spool import Spool
from ingest.spool_file import SpoolFile
from ingest.spool_rows import Row
from schemas.errors import UnavailableError
from schemas.inbox import decode, encode_params
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings

MEBIBYTE = 1 << 20
SHARDS = 8
SOON = 5.0
ROOM = "RM" + "1" * 32
OTHER = "RM" + "2" * 32
KEYS, OTHERS = (Keyspace("rollcall").shard(shard_of(room, SHARDS)) for room in (ROOM, OTHER))


def callback(number: int, room: str = ROOM) -> dict[str, str]:
    return {
        "AccountSid": "AC" + "0" * 32,
        "RoomSid": room,
        "StatusCallbackEvent": "room-created",
        "Timestamp": "2023-08-14T20:00:00.000Z",
        "SequenceNumber": str(number),
    }


def params(numbers: range, room: str = ROOM) -> list[bytes]:
    return [encode_params(callback(number, room)) for number in numbers]


class Silent:
    def ring(self, shard: int) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    made = Spool(folder, 4 * MEBIBYTE)
    yield made
    made.close()


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, Keyspace("rollcall"), SHARDS)


@pytest.fixture
def deposits(inbox: Inbox, spool: Spool) -> Deposits:
    """`look` is called by the test."""
    return Deposits(inbox, spool, Silent())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    for module in ("deposits", "replay", "spool"):
        logger = structlog.wrap_logger(None, processors=[capture])
        monkeypatch.setattr(f"ingest.{module}._log", logger)
    return capture.entries


def left_by_the_dead(folder: Path, name: str, *kept: bytes) -> Path:
    """Make a file as a process leaves it that is killed."""
    made = SpoolFile.make(folder)
    made.add([Row(one, "") for one in kept])
    made.close(keep=True)
    made.path.with_suffix(".lock").unlink()
    return made.path.rename(folder / name)


def numbers(client: Redis, inbox: str = KEYS.inbox) -> list[int]:
    entries: Any = client.xrange(inbox)
    return [int(decode(fields).params["SequenceNumber"]) for _, fields in entries]


def events(log: list[Any], name: str) -> list[Any]:
    return [one for one in log if one["event"] == name]


# -- what nobody can read -------------------------------------------------------------------------


def test_a_callback_that_nobody_can_read_is_set_aside_and_holds_up_nothing(
    folder: Path, deposits: Deposits, spool: Spool, redis: Redis, log: list[Any]
) -> None:
    sound, more = params(range(5)), params(range(5, 12))
    path = left_by_the_dead(folder, "1-mixed.spool", b"\xff", sound[0], b"{}", *sound[1:])
    left_by_the_dead(folder, "2-sound.spool", *more)
    for _ in range(3):
        deposits.look()
    assert numbers(redis) == list(range(12))
    assert spool.callbacks == 0
    assert [one["ids"] for one in events(log, "spooled_callback_unreadable")] == [[1, 3]]
    # For a person to look at; nobody adopts it again and again.
    assert [one["set_aside"] for one in events(log, "spool_file_left")] == [2]
    with sqlite3.connect(path) as kept:
        aside = kept.execute("select params from set_aside").fetchall()
        assert kept.execute("select count(*) from callbacks").fetchone() == (0,)
    kept.close()
    assert aside == [(b"\xff",), (b"{}",)]
    assert Spool(folder, MEBIBYTE).adopt() == 0
    assert path.exists()
    assert not (folder / "2-sound.spool").exists()


# In SQLite's own format, by what a page begins with: damage to the one kind shows when the file is
# opened, to the other when a callback is read.
@pytest.mark.parametrize(
    ("page", "told"), [(b"\x0d", "spool_not_adopted"), (b"\0\0", "spool_file_damaged")]
)
def test_a_file_with_damaged_pages_holds_up_no_other(
    folder: Path, deposits: Deposits, redis: Redis, log: list[Any], page: bytes, told: str
) -> None:
    large = [one + b" " * 10_000 for one in params(range(50))]
    path = left_by_the_dead(folder, "1-damaged.spool", *large)
    left_by_the_dead(folder, "2-sound.spool", *params(range(50, 60)))
    raw = bytearray(path.read_bytes())
    for at in range(len(raw) // 2 // 4096 * 4096, len(raw), 4096):
        if raw.startswith(page, at):
            raw[at : at + 8] = b"\xff" * 8
    path.write_bytes(raw)
    for _ in range(3):
        deposits._adopt_at = 0.0  # noqa: SLF001  # else it would look again after five seconds
        deposits.look()
    assert set(numbers(redis)) >= set(range(50, 60))
    assert len(numbers(redis)) == len(set(numbers(redis)))
    assert [one["file"] for one in events(log, told)] == ["1-damaged.spool"]
    assert path.exists()


# -- a shard that takes nothing -------------------------------------------------------------------


def test_one_full_shard_does_not_hold_up_the_others(
    spool: Spool, redis: Redis, log: list[Any]
) -> None:
    deposits = Deposits(
        Inbox(redis, Keyspace("rollcall"), SHARDS, Limits(maxlen=30)), spool, Silent()
    )
    for one in [*params(range(250)), *params(range(20), OTHER)]:
        spool.put(one, "", seconds=SOON)
    deposits.look()
    assert numbers(redis) == list(range(30))
    assert numbers(redis, OTHERS.inbox) == list(range(20))
    assert spool.callbacks == 220
    for _ in range(3):
        deposits.look()
    assert [one["reason"] for one in events(log, "replay_held_up")] == ["inbox-full"]
    assert len(events(log, "inbox_full")) == 1


def test_one_broken_shard_does_not_have_the_others_filled_with_doubles(
    deposits: Deposits, spool: Spool, redis: Redis, eventually: Callable[..., None]
) -> None:
    redis.set(OTHERS.inbox, "what somebody else has put there")
    for one in [*params(range(50)), *params(range(1), OTHER), *params(range(50, 99))]:
        spool.put(one, "", seconds=SOON)
    for _ in range(5):
        deposits.look()
    assert numbers(redis) == list(range(99))
    assert spool.callbacks == 1
    assert not deposits.deposit(callback(99), "").spooled
    redis.delete(OTHERS.inbox)

    def got_in() -> bool:
        deposits.look()
        return spool.callbacks == 0

    eventually(got_in)
    assert numbers(redis, OTHERS.inbox) == [0]


# -- a disk that does not let go ------------------------------------------------------------------


def test_what_redis_has_taken_is_not_sent_again_while_the_disk_does_not_let_go(
    deposits: Deposits, spool: Spool, redis: Redis, log: list[Any]
) -> None:
    for one in params(range(250)):
        spool.put(one, "", seconds=SOON)
    (file,) = spool.waiting()
    # A full disk and a locked file are the same to who would write.
    shell = sqlite3.connect(file.path, isolation_level=None)
    shell.execute("begin immediate")
    for _ in range(5):
        deposits.look()
    shell.execute("rollback")
    assert numbers(redis) == list(range(250))
    assert len(events(log, "replay_held_up")) == 1
    spool.put(params(range(250, 251))[0], "", seconds=SOON)
    deposits._replay.hurry()  # noqa: SLF001  # nobody needs to wait for the disk in a test
    deposits.look()
    assert numbers(redis) == list(range(251))
    assert shell.execute("select count(*) from callbacks").fetchone() == (0,)
    shell.close()


def test_a_batch_has_no_more_bytes_than_a_round_trip_should(spool: Spool) -> None:
    for _ in range(20):
        spool.put(b"x" * 100_000, "", seconds=SOON)
    (file,) = spool.waiting()
    batch = file.oldest(100)
    assert 0 < sum(one.size for one in batch) <= MEBIBYTE
    assert len(batch) + len(file.oldest(100, after=batch[-1].id)) == 20


# -- what the door tells of it --------------------------------------------------------------------


def test_a_door_whose_inbox_is_full_says_that_it_spools_and_says_so_once_in_the_log(
    spool: Spool, redis: Redis, log: list[Any]
) -> None:
    full = Inbox(redis, Keyspace("rollcall"), SHARDS, Limits(maxlen=1))
    deposits = Deposits(full, spool, Silent())
    assert deposits.state() == "ready"
    assert [deposits.deposit(callback(n), "").spooled for n in range(4)] == [False, *[True] * 3]
    assert deposits.state() == "spooling"
    assert deposits.redis_answers()
    assert len(events(log, "inbox_full")) == 1


def test_a_full_inbox_and_no_spool_is_unavailable_and_not_for_want_of_redis(
    folder: Path, redis: Redis
) -> None:
    full = Inbox(redis, Keyspace("rollcall"), SHARDS, Limits(maxlen=0))
    deposits = Deposits(full, Spool(folder, 0), Silent())
    with pytest.raises(UnavailableError) as caught:
        deposits.deposit(callback(1), "")
    assert "away" not in str(caught.value)
    assert deposits.state() == "unavailable"


# -- a peer that is no Redis ----------------------------------------------------------------------


@pytest.fixture(
    params=[b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n+x\r\n", b":1\r\n", b"+OK\r\n"]
)
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that answers everything with the same."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer: socket.socket) -> None:
        with suppress(OSError), peer:
            while peer.recv(65_536):
                peer.sendall(request.param)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(SOON)


def test_callbacks_are_spooled_whatever_answers_in_the_place_of_redis(
    stranger: str, settings: Settings, spool: Spool
) -> None:
    inbox = open_inbox(replace(settings, redis_url=stranger))
    deposits = Deposits(inbox, spool, Silent())
    for number in range(3):
        assert deposits.deposit(callback(number), "").spooled
        deposits.look()
    assert deposits.state() == "spooling"
    assert spool.callbacks == 3
    inbox.close()


def test_a_probe_that_fails_in_any_way_does_not_end_the_replay(
    private_redis: EmbeddedRedis, private_client: Redis, spool: Spool
) -> None:
    inbox = Inbox(private_client, Keyspace("rollcall"), SHARDS)
    deposits = Deposits(inbox, spool, Silent())
    private_client.lpush(Keyspace("rollcall").shard_count, "no number")
    spool.put(params(range(1))[0], "", seconds=SOON)
    deposits.look()
    assert spool.callbacks == 1
    private_client.delete(Keyspace("rollcall").shard_count)
    deposits.look()
    assert (spool.callbacks, numbers(private_client)) == (0, [0])
