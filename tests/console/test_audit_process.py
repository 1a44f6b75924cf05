"""The audit of real worker processes: without names, and with nobody who takes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from procfile import lines_of, processes, wait_for
from redis import Redis

from console.commands import rollcall
from console.embedded import EmbeddedRedis
from ingest.inbox import Inbox
from schemas.audit import STARTED, digest_of
from schemas.audit_keys import SigningKey, VerifyingKey
from schemas.keys import Keyspace
from schemas.reading import room_of

Params = dict[str, str]
KEY, SEED = SigningKey.generated()
NAMED = ("ParticipantIdentity", "RoomName", "TrackName")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own: worker processes of another test must not drain it."""
    own = EmbeddedRedis(tmp_path / "redis")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def environment(server: EmbeddedRedis) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "REDIS_URL": server.url, "ROLLCALL_AUDIT_KEY": SEED}


def deposit(server: EmbeddedRedis, callbacks: list[Params]) -> None:
    with Redis.from_url(server.url) as redis:
        inbox = Inbox(redis, Keyspace("rollcall"), 8)
        for params in callbacks:
            inbox.deposit(params, "")


def records(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(log) if "hash" in line]


def test_a_worker_that_hashes_names_names_nobody_and_its_log_is_whole_and_identical(
    server: EmbeddedRedis,
    environment: dict[str, str],
    recorded: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    callbacks = [one["params"] for one in recorded]
    callbacks.append(callbacks[0] | {"Timestamp": "noon", "Mood": "of the Visitor"})
    environment |= {"ROLLCALL_AUDIT_IDENTITY": "hashed", "ROLLCALL_AUDIT_IDENTITY_KEY": "k" * 32}
    with processes(environment, tmp_path) as start:
        worker, beat = start("worker"), start("beat")
        deposit(server, callbacks)
        wait_for(lambda: len(records(worker.log)) >= len(callbacks))
        assert [beat.terminate(), worker.terminate()] == [0, 0]
    written = worker.log.read_bytes() + beat.log.read_bytes()
    for name in {params[one] for params in callbacks for one in NAMED if one in params}:
        assert name.encode() not in written
        assert json.dumps(name)[1:-1].encode() not in written
    assert b"of the Visitor" not in written
    [started] = [line for line in lines_of(worker.log)[:5] if line["event"] == STARTED]
    assert started["key_id"] == KEY.public.key_id
    assert started["basis"] == records(worker.log)[0]["basis"]
    assert started["terms"]["identities"].startswith("hashed:")
    for command in ("verify", "replay"):
        said = CliRunner().invoke(rollcall, ["audit", command, str(worker.log)])
        assert said.exit_code == 0, said.output


def test_a_worker_whose_output_nobody_takes_stops_says_why_and_loses_no_record(
    server: EmbeddedRedis,
    environment: dict[str, str],
    recorded_room: list[Params],
    tmp_path: Path,
) -> None:
    said = tmp_path / "said.log"
    with Path("/dev/full").open("wb") as full, said.open("wb") as errors:
        stuck = subprocess.Popen(
            [Path(sys.executable).with_name("rollcall"), "worker"],
            env=environment,
            stdout=full,
            stderr=errors,
            cwd=tmp_path,
            start_new_session=True,
        )
        try:
            deposit(server, recorded_room[:9])
            wait_for(lambda: b'"audit-output"' in said.read_bytes())
            # The first batch was committed; what comes now is left in the inbox.
            deposit(server, recorded_room[9:])
            asked = said.read_bytes().count(b'"audit-output"')
            wait_for(lambda: said.read_bytes().count(b'"audit-output"') > asked)
            with Redis.from_url(server.url) as redis:
                keys = [Keyspace("rollcall").shard(number) for number in range(8)]
                waiting = sum(redis.xlen(one.inbox) for one in keys)
                kept = sum(
                    redis.get(one.audit).count(b"\n") for one in keys if redis.get(one.audit)
                )
            assert waiting >= len(recorded_room) - 9
            assert waiting + kept == len(recorded_room)
        finally:
            os.killpg(stuck.pid, signal.SIGKILL)
            stuck.wait(30)
    assert b"No space left on device" in said.read_bytes()
    with processes(environment, tmp_path) as start:
        worker = start("worker")
        wait_for(lambda: len(records(worker.log)) >= len(recorded_room))
        assert worker.terminate() == 0
    written = records(worker.log)
    assert [one["n"] for one in written[: len(recorded_room)]] == [
        *range(1, len(recorded_room) + 1)
    ]
    assert {room_of(one["params"]) for one in written} == {recorded_room[0]["RoomSid"]}
    assert all(digest_of(one) == one["hash"] for one in written)


def test_a_worker_with_a_key_that_is_none_does_not_start(environment: dict[str, str]) -> None:
    environment["ROLLCALL_AUDIT_KEY"] = "no key"
    done = subprocess.run(
        [Path(sys.executable).with_name("rollcall"), "worker"],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rollcall: ROLLCALL_AUDIT_KEY: must be an Ed25519 key")


def test_keygen_makes_keys_that_the_settings_take() -> None:
    said = CliRunner().invoke(rollcall, ["audit", "keygen"]).output
    made = dict(
        line.split("=", 1) for line in said.splitlines() if line and not line.startswith("#")
    )
    key = SigningKey(made["ROLLCALL_AUDIT_KEY"])
    assert len(made["ROLLCALL_AUDIT_IDENTITY_KEY"]) == 64
    [public] = [line.split()[-1] for line in said.splitlines() if "--key" in line]
    assert VerifyingKey(public).key_id == key.public.key_id
    assert key.public.key_id in said
    assert CliRunner().invoke(rollcall, ["audit", "keygen"]).output != said


def test_forget_tells_what_to_discard_and_what_is_left() -> None:
    said = CliRunner().invoke(rollcall, ["audit", "forget"])
    assert said.exit_code == 0
    assert "ROLLCALL_AUDIT_IDENTITY_KEY" in said.output
    assert "What is not covered by that" in said.output
