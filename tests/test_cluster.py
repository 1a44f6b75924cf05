"""Redis Cluster as the store: its client, and the processes while a slot moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from outage import ROOMS, TOKEN
from procfile import post, wait_for
from proxy import Proxy
from receivers import Sink
from redis import ConnectionError, Redis, RedisError  # noqa: A004  # redis-py calls it so
from servers import Clustered, RedisServer, wait_until
from under_load import SHARDS, SIDS, load

from console.rooms import Place, Rooms
from console.tail import Tail
from ingest.inbox import open_inbox
from schemas.connection import connect, keyspace_of, servers
from schemas.keys import shard_of
from schemas.settings import Settings

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "rollcall:{1}:x"
COUNT = "return redis.call('INCR', KEYS[1])"


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    with Clustered(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def settings(clustered: Clustered) -> Settings:
    for node in clustered.nodes:
        with node.client() as client:
            client.flushall()
            client.script_flush()
    return Settings(redis_url=clustered.url, celery_broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def client(settings: Settings) -> Iterator[Redis]:
    with connect(settings, timeout=2.0) as redis:
        yield redis


def elsewhere(cluster: Clustered, key: str) -> RedisServer:
    owner = cluster.owner(key)
    return next(node for node in cluster.nodes if node is not owner)


def test_commands_scripts_and_pipelines_find_the_nodes_of_their_keys(client: Redis) -> None:
    count = client.register_script(COUNT)
    keys = [f"rollcall:{{{shard}}}:x" for shard in range(SHARDS)]
    assert [count([key], []) for key in keys] == [1] * SHARDS
    with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        for key in keys:
            count([key], [], client=pipeline)
            pipeline.get(key)
        (seconds, _), *answers = pipeline.execute()
    assert abs(seconds - time.time()) < 60
    assert answers == [2, b"2"] * SHARDS
    assert client.mget(["a{1}", KEY]) == [None, b"2"]
    assert len(servers(client)) == 3


def test_a_slot_that_moves_is_followed_and_no_command_is_done_twice(
    clustered: Clustered, client: Redis
) -> None:
    count = client.register_script(COUNT)
    assert count([KEY], []) == 1
    clustered.move_slot(KEY, elsewhere(clustered, KEY))
    # The node that has it now knows neither the client nor the script.
    assert count([KEY], []) == 2
    clustered.move_slot(KEY, elsewhere(clustered, KEY))
    with client.pipeline(transaction=False) as pipeline:
        count([KEY], [], client=pipeline)
        pipeline.wait(0, 10)
        assert pipeline.execute() == [3, 0]


def _incremented(client: Redis, *, in_a_pipeline: bool) -> None:
    if not in_a_pipeline:
        client.incr(KEY)
        return
    with client.pipeline(transaction=False) as pipeline:
        pipeline.incr(KEY)
        pipeline.execute()


@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_a_command_whose_reply_is_lost_is_not_sent_again(
    clustered: Clustered, settings: Settings, *, in_a_pipeline: bool
) -> None:
    proxy = Proxy(clustered.owner(KEY).url)
    port = proxy.url.rpartition(":")[2].partition("/")[0]
    through = Settings(
        redis_url=f"redis+cluster://127.0.0.1:{port}", celery_broker_url="redis://127.0.0.1:1/0"
    )
    try:
        with connect(through, timeout=2.0) as client:
            assert client.incr(KEY) == 1
            proxy.lose_reply_to(b"INCRBY")
            with pytest.raises(ConnectionError):
                _incremented(client, in_a_pipeline=in_a_pipeline)
            assert proxy.cuts == 1
            assert client.get(KEY) == b"2"
    finally:
        proxy.close()


def test_a_node_that_hangs_costs_its_own_keys_only_and_no_more_than_the_time_allowed(
    clustered: Clustered, client: Redis
) -> None:
    keys = [f"rollcall:{{{shard}}}:x" for shard in range(SHARDS)]
    for key in keys:
        client.set(key, "there")
    hanging = clustered.owner(KEY)
    hanging.pause()
    began = time.monotonic()
    try:
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.get(key)
            answers = pipeline.execute(raise_on_error=False)
    finally:
        hanging.resume()
    assert time.monotonic() - began < 3.5
    for key, answer in zip(keys, answers, strict=True):
        of_it = clustered.owner(key) is hanging
        assert isinstance(answer, RedisError) if of_it else answer == b"there"


def _failed_recording(room_sid: str) -> dict[str, str]:
    return {
        "AccountSid": "AC" + "0" * 32,
        "RoomSid": room_sid,
        "StatusCallbackEvent": "recording-failed",
        "Timestamp": "2023-08-14T20:00:00.000Z",
        "RecordingSid": "RT" + room_sid[2:],
    }


def test_while_a_node_hangs_the_door_tells_what_waits_on_the_others_and_no_verdicts(
    clustered: Clustered, settings: Settings, client: Redis
) -> None:
    keys = [keyspace_of(settings).shard(number) for number in range(settings.shards)]
    for one in keys:
        client.xadd(one.inbox, {"params": "{}"})
        client.hincrby(one.verdicts, "applied", 2)
    inbox = open_inbox(settings)
    try:
        assert inbox.backlog().verdicts == {"applied": 2 * settings.shards}
        hanging = clustered.owner(keys[0].inbox)
        others = sum(clustered.owner(one.inbox) is not hanging for one in keys)
        hanging.pause()
        try:
            told = inbox.backlog()
        finally:
            hanging.resume()
    finally:
        inbox.close()
    assert (told.callbacks, told.verdicts) == (others, {})
    assert 0 < others < settings.shards
    assert told.oldest_seconds < 60


@pytest.mark.slow
def test_a_slot_that_moves_under_load_loses_and_doubles_nothing_and_alerts_are_delivered(
    clustered: Clustered, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink, broker = Sink(), RedisServer(tmp_path / "broker")
    target = f"webhook://127.0.0.1:{sink.port}/?secret={SECRET}"
    own = {"CELERY_BROKER_URL": broker.url, "ROLLCALL_ALERT_TARGETS": target}
    # The rooms of two shards.
    failed = [SIDS[0], next(sid for sid in SIDS if shard_of(sid, 8) != shard_of(SIDS[0], 8))]
    moved = keyspace_of(settings).shard(shard_of(SIDS[0], SHARDS)).inbox
    try:
        with broker, load(tmp_path, 100, clustered.url, own) as seen:
            with seen.traffic.running():
                wait_until(lambda: seen.applied() > 50)
                clustered.move_slot(moved, elsewhere(clustered, moved), pause=0.05)
                seen.wait_until_applied()
            seen.wait_until_applied()
            seen.check()
            with_rooms = Rooms(settings, seen.redis)
            assert len(with_rooms.page(Place(), 100).rooms) == ROOMS
            Tail(seen.redis, settings, from_beginning=True).show(1.0)
            for sid in failed:
                params = _failed_recording(sid)
                assert post(seen.port, urlencode(params, quote_via=quote), TOKEN, params) == 204
            wait_for(lambda: len(sink.posted) == 2)
    finally:
        sink.close()
    assert {posted.json["data"]["room_sid"] for posted in sink.posted} == set(failed)
    # As much as one look shows, of all streams.
    assert len(capsys.readouterr().out.splitlines()) >= 4 * ROOMS
