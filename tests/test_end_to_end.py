"""From the POST to the stream: the Procfile's three processes, a real Redis, the recorded room."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import receivers
from procfile import PUBLIC_URL, healthy, lines_of, metrics, post, processes, wait_for
from redis import Redis
from rooms import LAPTOP, PHONE, connected, disconnected
from standardwebhooks import Webhook
from streams import by_room, check_chain, folded, published

from console.embedded import EmbeddedRedis, free_port
from schemas.audit import digest_of
from schemas.connection import claim_shards
from schemas.inbox import encode_params
from schemas.keys import Keyspace, shard_of
from schemas.reading import room_of
from workers import records
from workers.room.bounds import Bounds
from workers.room.view import view

Params = dict[str, str]
TOKEN = "a-token-of-the-tests"
BOUNDS = Bounds(250_000, 15_000_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own: worker processes of another test must not drain it."""
    own = EmbeddedRedis(tmp_path / "redis")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def environment(server: EmbeddedRedis) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(free_port()),
    }


def inboxes(redis: Redis) -> int:
    return sum(redis.xlen(Keyspace("rollcall").shard(number).inbox) for number in range(8))


def record_of(redis: Redis, room_sid: str) -> records.Record:
    shard = Keyspace("rollcall").shard(shard_of(room_sid, 8))
    return records.decode(redis.get(shard.room(room_sid)))


def test_the_recorded_callbacks_go_in_by_http_and_come_out_as_derived_events(
    server: EmbeddedRedis,
    environment: dict[str, str],
    tmp_path: Path,
    recorded: list[dict[str, Any]],
) -> None:
    port = int(environment["PORT"])
    with processes(environment, tmp_path) as start, Redis.from_url(server.url) as redis:
        web, worker, beat = start("web"), start("worker"), start("beat")
        wait_for(lambda: healthy(port))
        answers = [post(port, one["body"], TOKEN, one["params"]) for one in recorded]
        assert answers == [204] * len(recorded)
        room_sid = recorded[0]["params"]["RoomSid"]
        lines = [one for one in recorded if one["params"]["RoomSid"] == room_sid]
        wait_for(lambda: record_of(redis, room_sid).ledger.audit_records == len(lines))
        wait_for(lambda: inboxes(redis) == 0)
        before = len(published(redis))
        # A captured request, sent again by whoever captured it.
        assert post(port, recorded[0]["body"], TOKEN, recorded[0]["params"]) == 204
        wait_for(lambda: b'concluded_total{verdict="duplicate"} 1.0' in metrics(port))
        assert len(published(redis)) == before
        assert [process.terminate() for process in (web, beat, worker)] == [0, 0, 0]

        rooms = by_room(published(redis))
        for events in rooms.values():
            check_chain(events)
        room = rooms[room_sid]
        assert Counter(event.kind for event in room) == {
            "room.opened": 1,
            "participant.joined": 3,
            "identity.arrived": 2,
            "participant.left": 1,
            "track.published": 8,
            "track.unpublished": 4,
            "track.disabled": 2,
            "track.enabled": 1,
        }
        (left,) = [event for event in room if event.kind == "participant.left"]
        assert left.data["identity"] == "Visitor's Phone "
        assert left.data["duration_seconds"] == 184
        inferred = [e.data["inferred"] for e in room if e.kind == "participant.joined"]
        assert inferred == [False, False, True]
        assert folded(room) == view(record_of(redis, room_sid).facts, BOUNDS)
    _check_audit(worker.log, [*recorded, recorded[0]])


def _check_audit(log: Path, recorded: list[dict[str, Any]]) -> None:
    audit = [line for line in lines_of(log) if line["event"].startswith("callback_")]
    # Inboxes count their entries each for itself, so the order holds within a room only.
    assert sorted((line["params"] for line in audit), key=repr_of) == sorted(
        (one["params"] for one in recorded), key=repr_of
    )
    assert all(line["hash"] == digest_of(line) for line in audit)
    assert {line["idempotency_token"] for line in audit} == {"f119f19c-b042-4454-8ab0-ce388602ba05"}


def repr_of(params: Params) -> str:
    return repr(sorted(params.items()))


def rooms_of_callbacks(rooms: int, tracks: int) -> list[Params]:
    """Callbacks of many rooms, all different, room by room in turn."""
    made = []
    for number in range(tracks):
        for room in range(rooms):
            sid = f"{room:08x}" + "0" * 16 + f"{number:08x}"
            made.append(
                {
                    "AccountSid": "AC" + "0" * 32,
                    "RoomSid": f"RM{room:032x}",
                    "StatusCallbackEvent": "track-added",
                    "Timestamp": f"2023-08-14T20:00:00.{number % 1000:03d}Z",
                    "SequenceNumber": str(number),
                    "ParticipantSid": "PA" + f"{room:032x}",
                    "ParticipantIdentity": "Dana",
                    "TrackSid": "MT" + sid,
                    "TrackKind": "audio",
                }
            )
    return made


@pytest.mark.slow
def test_after_kill_9_of_the_worker_in_the_middle_every_callback_is_applied_once(
    server: EmbeddedRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    rooms, tracks, kills = 24, 250, 3
    callbacks = rooms_of_callbacks(rooms, tracks)
    keyspace = Keyspace("rollcall")
    with processes(environment, tmp_path) as start, Redis.from_url(server.url) as redis:
        with redis.pipeline(transaction=False) as pipeline:
            for params in callbacks:
                inbox = keyspace.shard(shard_of(room_of(params), 8)).inbox
                pipeline.xadd(inbox, {"params": encode_params(params), "token": ""})
            pipeline.execute()
        for kill in range(1, kills + 1):
            worker = start("worker")
            goal = len(callbacks) * (kills + 1 - kill) // (kills + 1)
            wait_for(lambda goal=goal: inboxes(redis) <= goal)
            # Under way, and not done: the kill falls into a batch.
            worker.kill()
            assert inboxes(redis) > 0
        start("worker")
        wait_for(lambda: inboxes(redis) == 0)

        events = by_room(published(redis))
        assert len(events) == rooms
        for room_sid, told in events.items():
            check_chain(told)
            assert Counter(event.kind for event in told) == {
                "room.opened": 1,
                "participant.joined": 1,
                "identity.arrived": 1,
                "track.published": tracks,
            }
            record = record_of(redis, room_sid)
            assert record.ledger.audit_records == tracks
            assert [(one.least, one.most) for one in record.facts.sequences] == [(0, tracks - 1)]


def test_a_worker_that_starts_before_redis_waits_and_says_so(tmp_path: Path) -> None:
    late = EmbeddedRedis(tmp_path / "redis")
    late.port = free_port()
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": late.url}
    with processes(environment, tmp_path) as start:
        worker = start("worker")
        wait_for(lambda: b"waiting_for_redis" in worker.log.read_bytes())
        late.start()
        try:
            wait_for(lambda: b"worker_ready" in worker.log.read_bytes())
            assert worker.terminate() == 0
        finally:
            late.stop()


def test_the_worker_comes_back_by_itself_when_redis_was_restarted(
    server: EmbeddedRedis, environment: dict[str, str], tmp_path: Path, recorded_room: list[Params]
) -> None:
    keyspace = Keyspace("rollcall")
    with processes(environment, tmp_path) as start:
        worker = start("worker")
        wait_for(lambda: b"worker_ready" in worker.log.read_bytes())
        server.stop()
        server.start()
        with Redis.from_url(server.url) as redis:
            for params in recorded_room:
                inbox = keyspace.shard(shard_of(room_of(params), 8)).inbox
                redis.xadd(inbox, {"params": encode_params(params), "token": ""})
            wait_for(lambda: inboxes(redis) == 0)
            check_chain(published(redis))
            assert len(published(redis)) == 22


@pytest.mark.parametrize("process", ["web", "worker", "beat"])
def test_a_bad_setting_stops_the_process_with_a_sentence_that_names_it(
    environment: dict[str, str], tmp_path: Path, process: str
) -> None:
    with processes(environment | {"ROLLCALL_SHARDS": "many"}, tmp_path) as start:
        stopped = start(process)
        assert stopped.wait() == 2
        said = stopped.log.read_text().strip()
    assert said == "rollcall: ROLLCALL_SHARDS: must be a whole number from 1 to 1024, not 'many'."


@pytest.mark.parametrize("process", ["web", "worker", "beat"])
def test_a_process_that_counts_the_shards_differently_refuses_to_start(
    server: EmbeddedRedis, environment: dict[str, str], tmp_path: Path, process: str
) -> None:
    with Redis.from_url(server.url) as redis:
        claim_shards(redis, Keyspace("rollcall"), 4)
    with processes(environment, tmp_path) as start:
        stopped = start(process)
        assert stopped.wait() == 1
        said = stopped.log.read_text().strip().splitlines()[-1]
    assert said.startswith("rollcall: ROLLCALL_SHARDS: is 8 here, but this Redis is kept with 4;")


def test_an_eviction_that_is_posted_ends_as_a_signed_alert_at_a_target_that_fails_first(
    server: EmbeddedRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    secret = "whsec_" + b64encode(bytes(32)).decode()
    with receivers.sink() as sink:
        sink.answer(503, 204)
        environment["ROLLCALL_ALERT_TARGETS"] = f"webhook://127.0.0.1:{sink.port}/?secret={secret}"
        _play_into(sink, Webhook(secret), server, environment, tmp_path)
        assert secret.encode() not in (tmp_path / "worker.log").read_bytes()


def _play_into(
    sink: receivers.Sink,
    webhook: Webhook,
    server: EmbeddedRedis,
    environment: dict[str, str],
    folder: Path,
) -> None:
    port = int(environment["PORT"])
    story = [connected(PHONE, 0), connected(LAPTOP, 60_000), disconnected(PHONE, 60_300)]
    with processes(environment, folder) as start:
        web, worker = start("web"), start("worker")
        wait_for(lambda: healthy(port))
        wait_for(lambda: b"worker_ready" in worker.log.read_bytes())
        # A new target begins with the next alert, so the worker must have seen it before.
        with Redis.from_url(server.url) as redis:
            wait_for(lambda: redis.keys("rollcall:*target*"))
        for params in story:
            assert post(port, urlencode(params), TOKEN, params) == 204
        wait_for(lambda: len(sink.posted) == 2)
        refused, taken = sink.posted
        assert refused.body == taken.body
        webhook.verify(taken.body, taken.headers)
        event = json.loads(taken.body)
        assert (event["type"], event["subject"]) == ("rollcall.alert.raised", PHONE)
        assert event["data"]["alert"] == "duplicate-identity"
        assert [web.terminate(), worker.terminate()] == [0, 0]
