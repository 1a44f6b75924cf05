"""The process `console` of the Procfile: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from procfile import processes, wait_for
from readers import API_TOKEN, SHOWN
from redis import Redis
from rooms import connected, created
from strategies import ROOM

from console.embedded import EmbeddedRedis


@pytest.fixture
def environment(redis_server: EmbeddedRedis, unused_port: int, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path),
        "REDIS_URL": redis_server.url,
        "ROLLCALL_API_TOKEN": API_TOKEN,
        "ROLLCALL_CONSOLE_PORT": str(unused_port),
    }


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10.0)
    try:
        connection.request(method, path, body, SHOWN)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port: int, path: str, status: int) -> bool:
    try:
        return ask(port, path)[0] == status
    except OSError:
        return False


def test_it_gives_snapshots_without_a_token_of_twilio_and_ends_when_told(
    environment: dict[str, str],
    play: Callable[..., None],
    unused_port: int,
    tmp_path: Path,
) -> None:
    play(created(), connected("PA" + "1" * 32, 1_000))
    with processes(environment, tmp_path) as start:
        console = start("console")
        wait_for(lambda: answers(unused_port, "/readyz", 200))
        status, body = ask(unused_port, f"/api/rooms/{ROOM}")
        assert (status, json.loads(body)["room"]["room_sid"]) == (200, ROOM)
        assert json.loads(ask(unused_port, "/api/rooms?limit=1")[1])["rooms"] == [json.loads(body)]
        assert ask(unused_port, "/api/rooms", "HEAD") == (200, b"")
        # Nobody waits for a body.
        assert ask(unused_port, "/api/rooms", "POST", b"x" * 1_000_000)[0] == 405
        assert console.terminate() == 0
    lines = [json.loads(line) for line in console.log.read_text().splitlines()]
    assert {line["process"] for line in lines} == {"console"}
    given = [line for line in lines if line["event"] == "snapshot_given"]
    assert given[0]["route"] == "/api/rooms/<room_sid>"
    assert API_TOKEN not in console.log.read_text()


def test_it_writes_nothing_to_redis(
    environment: dict[str, str], redis: Redis, unused_port: int, tmp_path: Path
) -> None:
    with processes(environment, tmp_path) as start:
        start("console")
        wait_for(lambda: answers(unused_port, "/api/rooms", 200))
    assert redis.keys() == []


@pytest.mark.parametrize("token", [None, "", " , "])
def test_it_refuses_to_start_without_a_token(
    environment: dict[str, str], tmp_path: Path, token: str | None
) -> None:
    del environment["ROLLCALL_API_TOKEN"]
    given = {} if token is None else {"ROLLCALL_API_TOKEN": token}
    with processes(environment | given, tmp_path) as start:
        console = start("console")
        assert console.wait() == 2
    assert console.log.read_text().startswith("rollcall: ROLLCALL_API_TOKEN: is not set; ")


def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with processes(environment | {"ROLLCALL_API_TOKEN": "a b"}, tmp_path) as start:
        console = start("console")
        assert console.wait() == 2
    said = console.log.read_text()
    assert said.startswith("rollcall: ROLLCALL_API_TOKEN: must be one or more")
    assert "a b" not in said


def test_a_port_that_is_taken_is_named_by_its_setting(
    environment: dict[str, str], unused_port: int, tmp_path: Path
) -> None:
    with socket.create_server(("", unused_port)), processes(environment, tmp_path) as start:
        console = start("console")
        assert console.wait() == 1
    assert f"ROLLCALL_CONSOLE_PORT: {unused_port} is in use" in console.log.read_text()


def test_another_count_of_shards_refuses_to_start(
    environment: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    redis.set("rollcall:shards", 5)
    with processes(environment, tmp_path) as start:
        console = start("console")
        assert console.wait() == 1
    assert "ROLLCALL_SHARDS: is 8 here" in console.log.read_text()


def test_it_starts_while_redis_is_away_and_answers_when_it_is_back(
    environment: dict[str, str], unused_port: int, tmp_path: Path
) -> None:
    server = EmbeddedRedis(tmp_path / "own")
    server.start()
    environment["REDIS_URL"] = server.url
    server.stop()
    with processes(environment, tmp_path) as start:
        start("console")
        wait_for(lambda: answers(unused_port, "/readyz", 503))
        assert ask(unused_port, "/healthz")[0] == 200
        assert ask(unused_port, "/api/rooms")[0] == 503
        server.start()
        try:
            wait_for(lambda: answers(unused_port, "/api/rooms", 200))
        finally:
            server.stop()
