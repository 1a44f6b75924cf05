"""What the console does not answer, and that nobody without a token learns anything from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from flask.testing import FlaskClient
from readers import API_TOKEN, SHOWN
from redis import Redis
from rooms import connected, created
from strategies import ACCOUNT, ROOM, sid
from structlog.testing import LogCapture

from console.api import create_app
from console.embedded import free_port
from schemas.errors import BadSettingError, RollcallError, UnansweredError
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings
from workers import records
from workers.room.facts import Facts

EVENTS = (Path(__file__).parent.parent.parent / "docs" / "events.md").read_text()
PATHS = ["/api/rooms", f"/api/rooms/{ROOM}", "/api/nothing", "/"]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    for module in ("api", "unanswered"):
        logger = structlog.wrap_logger(None, processors=[capture])
        monkeypatch.setattr(f"console.{module}._log", logger)
    return capture.entries


def store(redis: Redis, record: bytes, room_sid: str = ROOM) -> None:
    keys = Keyspace("rollcall").shard(shard_of(room_sid, 8))
    redis.set(keys.room(room_sid), record)
    redis.zadd(keys.due, {keys.room(room_sid): 1})


def problem(api: FlaskClient, path: str, status: int, **kwargs: Any) -> dict[str, Any]:
    answer = api.get(path, **{"headers": SHOWN} | kwargs)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json is not None
    assert answer.json["status"] == status
    assert answer.json["type"] == f"urn:rollcall:problem:{answer.json['reason']}"
    return answer.json


def test_without_a_token_there_is_no_console(settings: Settings) -> None:
    with pytest.raises(BadSettingError, match="ROLLCALL_API_TOKEN"):
        create_app(settings)


def test_no_token_is_shown_with_the_settings(asked: Settings) -> None:
    assert API_TOKEN not in repr(asked)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "token-missing"),
        ("", "token-missing"),
        ("Bearer", "token-missing"),
        ("Bearer   ", "token-missing"),
        (API_TOKEN, "token-missing"),
        (f"Basic {API_TOKEN}", "token-missing"),
        ("Bearer another", "token-mismatch"),
        (f"Bearer {API_TOKEN[:-1]}", "token-mismatch"),
        (f"Bearer {API_TOKEN}, {API_TOKEN}", "token-mismatch"),
        (f"Bearer {API_TOKEN.upper()}", "token-mismatch"),
        ("Bearer caf\xe9", "token-mismatch"),
    ],
)
def test_the_token_comes_before_anything_else(
    api: FlaskClient, path: str, header: str | None, reason: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method in ("GET", "POST", "OPTIONS"):
        answer = api.open(path, method=method, headers=headers)
        assert (answer.status_code, answer.json and answer.json["reason"]) == (401, reason)
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="rollcall"')
        assert ("invalid_token" in challenge) == (reason == "token-mismatch")


def test_each_of_several_tokens_is_taken(redis: Redis, settings: Settings) -> None:
    api = create_app(replace(settings, api_tokens=("the-old", "the-new"))).test_client()
    for shown in ("Bearer the-old", "bearer the-new", "BEARER  the-new "):
        assert api.get("/api/rooms", headers={"Authorization": shown}).status_code == 200


def test_no_token_is_in_a_log_line_or_an_answer(api: FlaskClient, log: list[Any]) -> None:
    for shown in (API_TOKEN, "the-wrong-one"):
        headers = {"Authorization": f"Bearer {shown}"}
        for path in (*PATHS, f"/api/rooms?limit={shown}", f"/api/rooms/{shown}", f"/{shown}"):
            answer = api.get(path, headers=headers)
            assert shown not in answer.text
            assert shown not in str(answer.headers)
    assert {line["event"] for line in log} == {"snapshot_given", "snapshot_refused"}
    assert API_TOKEN not in str(log)
    assert "the-wrong-one" not in str(log)


@pytest.mark.parametrize("path", ["/api/rooms", f"/api/rooms/{ROOM}", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_allowed(api: FlaskClient, path: str, method: str) -> None:
    answer = api.open(path, method=method, headers=SHOWN)
    assert answer.json is not None
    assert (answer.status_code, answer.json["reason"]) == (405, "method-not-allowed")
    assert set(answer.allow) == {"GET", "HEAD"}


def test_who_watches_over_the_process_needs_no_token(api: FlaskClient) -> None:
    assert api.get("/healthz").json == {"status": "ok"}
    assert api.get("/readyz").json == {"status": "ready"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=%D9%A1",
        "limit=" + "9" * 5000,
        "limit=1&limit=1",
        "cursor=",
        "cursor=*",
        "cursor=%C3%A9",
        "cursor=LTE6",
        "cursor=" + "A" * 5000,
        "nmae=Team",
    ],
)
def test_a_query_that_cannot_be_answered_is_named(api: FlaskClient, query: str) -> None:
    assert problem(api, f"/api/rooms?{query}", 400)["reason"] == "bad-query"


@pytest.mark.parametrize("room_sid", [ROOM, "x", "%00", "%F0%9F%92%A9", "R" * 5000])
def test_a_room_never_heard_of_is_unknown(api: FlaskClient, room_sid: str) -> None:
    assert problem(api, f"/api/rooms/{room_sid}", 404)["reason"] == "unknown-room"


@pytest.mark.parametrize("path", ["/", "/api", "/api/rooms/", f"/api/rooms/{ROOM}/tracks"])
def test_there_are_no_other_paths(api: FlaskClient, path: str) -> None:
    assert problem(api, path, 404)["reason"] == "not-found"


def test_what_is_only_told_of_the_account_is_no_room(
    api: FlaskClient, play: Callable[..., None]
) -> None:
    play({"AccountSid": ACCOUNT, "StatusCallbackEvent": "weather", "RoomSid": ACCOUNT})
    assert problem(api, f"/api/rooms/{ACCOUNT}", 404)["reason"] == "unknown-room"


def test_of_a_room_that_ended_long_ago_it_is_said_that_it_has_been(
    api: FlaskClient, redis: Redis
) -> None:
    store(redis, records.encode(records.Record(facts=Facts(room_sid=ROOM, expired=True))))
    assert problem(api, f"/api/rooms/{ROOM}", 410)["reason"] == "expired"
    listed = api.get("/api/rooms", headers=SHOWN).json
    assert listed == {"rooms": [], "unread": [], "next": None}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (msgspec.msgpack.encode((records.VERSION + 1, {}, {})), "unknown-version"),
        (b"no record", "unreadable-record"),
    ],
)
def test_a_room_that_cannot_be_read_is_named_and_hides_no_other(
    api: FlaskClient, play: Callable[..., None], redis: Redis, record: bytes, reason: str
) -> None:
    other = sid("RM", 1)
    play(created() | {"RoomSid": other}, connected(sid("PA", 1), 1_000) | {"RoomSid": other})
    store(redis, record)
    assert problem(api, f"/api/rooms/{ROOM}", 503)["reason"] == reason
    page = api.get("/api/rooms", headers=SHOWN).json
    assert page is not None
    assert [room["room"]["room_sid"] for room in page["rooms"]] == [other]
    assert page["unread"] == [{"room_sid": ROOM, "reason": reason}]


def test_while_redis_is_away_it_is_said_at_once(asked: Settings, log: list[Any]) -> None:
    url = f"redis://:a-password@127.0.0.1:{free_port()}/0"
    api = create_app(replace(asked, redis_url=url)).test_client()
    for path in ("/api/rooms", f"/api/rooms/{ROOM}"):
        assert problem(api, path, 503)["reason"] == "unavailable"
    assert api.get("/healthz").status_code == 200
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json) == (503, {"status": "unavailable"})
    assert "a-password" not in str(log)


def test_another_count_of_shards_is_no_reason_to_call_a_room_unknown(
    asked: Settings, redis: Redis
) -> None:
    redis.set("rollcall:shards", 5)
    api = create_app(asked).test_client()
    refused = problem(api, f"/api/rooms/{ROOM}", 503)
    assert refused["reason"] == "cannot-start"
    assert "ROLLCALL_SHARDS" in refused["detail"]
    assert api.get("/readyz").status_code == 503


def test_a_fault_of_our_own_tells_nothing_of_itself(
    asked: Settings, redis: Redis, log: list[Any]
) -> None:
    app = create_app(asked)

    @app.get("/fault")
    def fault() -> str:
        raise ValueError("something secret")

    answer = app.test_client().get("/fault", headers=SHOWN)
    assert answer.json is not None
    assert (answer.status_code, answer.json["reason"]) == (500, "error")
    assert "secret" not in answer.text
    assert log[-1]["event"] == "request_failed"


def test_the_readme_has_the_reasons() -> None:
    head = re.search(
        r"^\| `reason` of the console \|.*\n\|[-|]+\n((?:\|.*\n)+)", EVENTS, re.MULTILINE
    )
    assert head
    shown = {
        (reason, int(status))
        for reasons, status in re.findall(r"^\| (.*?) \| (\d+) \|", head[1], re.MULTILINE)
        for reason in re.findall(r"`([^`]+)`", reasons)
    }
    told = {(one.reason, one.status) for one in UnansweredError.__subclasses__()}
    others = {("not-found", 404), ("method-not-allowed", 405), (RollcallError.reason, 500)}
    away = {("unavailable", 503), ("unknown-version", 503), ("unreadable-record", 503)}
    assert shown == told | others | away | {("cannot-start", 503)}
