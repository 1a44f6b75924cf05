"""What the tests of the door share: a sender that signs as Twilio does, and servers to break."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import structlog
from doors import Web
from flask.testing import FlaskClient
from redis import Redis
from structlog.testing import LogCapture
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from console.embedded import EmbeddedRedis
from ingest.app import create_app
from ingest.form import read_form
from ingest.inbox import Inbox, open_inbox
from schemas.connection import connect
from schemas.inbox import decode
from schemas.keys import Keyspace
from schemas.settings import Settings

FORM = "application/x-www-form-urlencoded"


class RecordingBell:
    """A doorbell that only remembers who rang."""

    def __init__(self) -> None:
        self.rung: list[int] = []

    def ring(self, shard: int) -> None:
        self.rung.append(shard)

    def stop(self) -> None: ...


@dataclass
class Twilio:
    """Sends requests with a signature that Twilio's own library made."""

    client: FlaskClient
    token: str
    url: str = "https://rollcall.example/callbacks"
    headers: Mapping[str, str] = field(default_factory=dict)

    def signing(self, **changes: Any) -> Twilio:
        return replace(self, **changes)

    def post(
        self, body: str | bytes, *, query: str = "", content_type: str = FORM, **kwargs: Any
    ) -> TestResponse:
        raw = body.encode() if isinstance(body, str) else body
        form = MultiDict(read_form(raw).pairs)
        return self.client.post(
            "/callbacks",
            data=raw,
            query_string=query,
            content_type=content_type,
            headers=self.signed(f"{self.url}?{query}" if query else self.url, form),
            **kwargs,
        )

    def get(self, query: str, **kwargs: Any) -> TestResponse:
        headers = self.signed(f"{self.url}?{query}", {})
        return self.client.get("/callbacks", query_string=query, headers=headers, **kwargs)

    def signed(self, url: str, form: Any) -> dict[str, str]:
        signature = RequestValidator(self.token).compute_signature(url, form)
        return {"X-Twilio-Signature": signature, **self.headers}


@pytest.fixture
def bell() -> RecordingBell:
    return RecordingBell()


@pytest.fixture
def inbox(settings: Settings, redis: Redis) -> Iterator[Inbox]:
    inbox = open_inbox(settings)
    yield inbox
    inbox.close()


@pytest.fixture
def door(inbox: Inbox, bell: RecordingBell, settings: Settings) -> Callable[..., Twilio]:
    """A door with other settings than the usual ones, and somebody to knock."""

    def make(*, inbox: Inbox = inbox, **changes: Any) -> Twilio:
        app = create_app(replace(settings, **changes), inbox=inbox, doorbell=bell)
        return Twilio(app.test_client(), settings.auth_tokens[0])

    return make


@pytest.fixture
def twilio(door: Callable[..., Twilio]) -> Twilio:
    return door()


@pytest.fixture
def deposited(redis: Redis, settings: Settings) -> Callable[[], list[tuple[dict[str, str], str]]]:
    """Everything that lies in the inboxes."""
    keyspace = Keyspace(settings.prefix)

    def read() -> list[tuple[dict[str, str], str]]:
        entries = []
        for shard in range(settings.shards):
            entries += redis.xrange(keyspace.shard(shard).inbox)
        return [tuple(decode(fields)) for _, fields in sorted(entries, key=itemgetter(0))]

    return read


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that a test may break."""
    server = EmbeddedRedis(tmp_path / "private")
    server.start()
    yield server
    with suppress(Exception):
        os.kill(server.pid, signal.SIGCONT)
    server.stop()


@pytest.fixture
def private_settings(private_redis: EmbeddedRedis, settings: Settings) -> Settings:
    return replace(settings, redis_url=private_redis.url, celery_broker_url=private_redis.url)


@pytest.fixture
def private_client(private_settings: Settings) -> Iterator[Redis]:
    with connect(private_settings, timeout=5.0) as client:
        yield client


@pytest.fixture
def private_inbox(private_settings: Settings) -> Iterator[Inbox]:
    inbox = open_inbox(private_settings)
    yield inbox
    inbox.close()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The log lines of the door, however structlog is configured at the moment."""
    capture = LogCapture()
    for module in ("callbacks", "deposits", "doorbell", "losses", "problems", "spool"):
        logger = structlog.wrap_logger(None, processors=[capture])
        monkeypatch.setattr(f"ingest.{module}._log", logger)
    return capture.entries


@pytest.fixture
def start_web(
    redis: Redis,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    eventually: Callable[[Callable[[], bool]], None],
) -> Iterator[Callable[..., Web]]:
    """Start a web process with these settings beside the usual ones; it ends with the test."""
    started: list[Web] = []

    def start(**settings: str) -> Web:
        web = Web(redis_server.url, tmp_path, **settings)
        started.append(web)
        eventually(web.answers)
        return web

    yield start
    for web in started:
        if web.process.poll() is None:
            web.process.kill()
        web.process.wait()


@pytest.fixture
def web(start_web: Callable[..., Web]) -> Web:
    return start_web()
