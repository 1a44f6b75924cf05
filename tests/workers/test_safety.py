"""What a worker says of its Redis when it starts, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from procfile import processes, wait_for
from redis import Redis
from servers import RedisServer
from structlog.testing import capture_logs

from schemas.errors import StartError
from workers import safety
from workers.safety import Server, judge

# What a server tells that is safe.
SAFE: dict[str, Any] = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}
EVERYSEC = {"appendfsync": "everysec"}


def found(info: dict[str, Any], config: dict[str, str] = EVERYSEC) -> dict[str, str]:
    findings = judge(Server("", SAFE | info, config))
    return {one.reason: one.mark for one in findings if one.mark != "ok"}


def test_a_safe_redis_is_not_spoken_of(redis: Redis) -> None:
    with capture_logs() as logs:
        safety.look(redis)
    assert logs == []


@pytest.mark.parametrize(
    ("info", "reasons"),
    [
        ({"redis_version": "6.2.0"}, {}),
        ({"redis_version": "6.0.16"}, {"too-old": "error"}),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}, {}),
        ({"redis_version": "unstable"}, {"version": "warning"}),
        ({"loading": 1}, {"loading": "error"}),
        ({"aof_last_write_status": "err"}, {"disk": "error"}),
        ({"aof_last_bgrewrite_status": "err"}, {"disk": "warning"}),
        # What a managed Redis may leave out.
        ({"maxmemory_policy": None, "aof_enabled": None},
         {"eviction": "warning", "append-only": "warning"}),
    ],
)  # fmt: skip
def test_what_a_server_tells_is_judged(info: dict[str, Any], reasons: dict[str, str]) -> None:
    assert found(info) == reasons


def test_a_redis_that_is_too_old_refuses_the_start() -> None:
    with pytest.raises(StartError, match=r"Redis 5\.0\.7 is too old; upgrade it to 6\.2 or newer"):
        safety.tell([Server("", {"redis_version": "5.0.7"}, {})])


def test_a_redis_that_tells_nothing_does_not_stop_a_worker(redis: Redis) -> None:
    redis.acl_setuser("shy", True, nopass=True, commands=["+@all"])
    redis.execute_command("ACL", "SETUSER", "shy", "-info")
    try:
        redis.execute_command("AUTH", "shy", "any")
        with capture_logs() as logs:
            safety.look(redis)
    finally:
        redis.connection_pool.disconnect()
        redis.acl_deluser("shy")
    assert [one["event"] for one in logs] == ["redis_not_looked_at"]


def test_a_worker_says_at_its_start_what_is_unsafe(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        environment = {"PATH": os.environ["PATH"], "REDIS_URL": server.url}
        with processes(environment, tmp_path) as start:
            worker = start("worker")
            wait_for(lambda: b'"worker_ready"' in worker.log.read_bytes())
            lines = worker.log.read_text().splitlines()
    [unsafe] = [json.loads(line) for line in lines if '"redis_unsafe"' in line]
    assert (unsafe["reason"], unsafe["todo"]) == ("append-only", "set appendonly yes")
