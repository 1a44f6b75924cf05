"""Redis Sentinel as store and broker: the processes follow a failover by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from servers import Replicated, wait_until
from under_load import load

from console.readiness import check_broker, check_redis
from schemas.connection import connect
from schemas.errors import StartError
from schemas.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    with Replicated(tmp_path / "redis") as servers:
        yield servers


@pytest.fixture
def client(replicated: Replicated) -> Iterator[Redis]:
    settings = Settings(redis_url=replicated.url, celery_broker_url=replicated.url)
    with connect(settings, timeout=2.0) as redis:
        yield redis


def test_a_failover_under_load_loses_and_doubles_nothing(
    replicated: Replicated, tmp_path: Path
) -> None:
    with load(tmp_path, 100, replicated.url, {}) as seen:
        with seen.traffic.running():
            wait_until(lambda: seen.applied() > 50)
            replicated.fail_over()
            seen.wait_until_applied()
        seen.wait_until_applied()
        seen.check()
        # The worker takes wake-ups again, not only what its own sweeps find.
        log = tmp_path / "worker.log"
        wait_until(lambda: log.read_text().count('"message":"Connected to sentinel:') == 2)


def test_a_client_finds_the_new_master_though_the_first_sentinel_is_dead(
    replicated: Replicated, client: Redis
) -> None:
    client.set("told", "before")
    wait_until(lambda: replicated.replica().client().get("told") == b"before")
    replicated.sentinels[0].kill()
    replicated.fail_over()
    wait_until(lambda: client.set("told", "after"))
    assert client.get("told") == b"after"


def test_sentinels_that_hang_cost_no_more_than_the_time_allowed(
    replicated: Replicated, client: Redis
) -> None:
    for sentinel in replicated.sentinels[:2]:
        sentinel.pause()
    began = time.monotonic()
    client.set("told", "in time")
    assert time.monotonic() - began < 2.0


def test_sentinels_as_broker_are_checked_before_anything_starts(replicated: Replicated) -> None:
    url = replicated.url.replace("redis+sentinel://", "redis+sentinel://:secret@")
    settings = Settings(redis_url="redis://127.0.0.1:1/0", celery_broker_url=replicated.url)
    check_broker(settings)
    check_redis(Settings(redis_url=replicated.url, celery_broker_url=replicated.url))
    with pytest.raises(StartError, match=r"^CELERY_BROKER_URL: redis\+sentinel://127") as caught:
        check_broker(replace(settings, celery_broker_url=url.replace("/0", "-of-others/0")))
    assert "secret" not in str(caught.value)


def test_a_client_leaves_a_master_that_hangs(replicated: Replicated, client: Redis) -> None:
    client.set("told", "before")
    was = replicated.master()
    was.pause()
    replicated.wait_for_failover(was)
    wait_until(lambda: client.set("told", "after"))
    with replicated.master().client() as master:
        assert master.get("told") == b"after"
