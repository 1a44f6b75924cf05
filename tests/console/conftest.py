"""What the tests of the console share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from audits import AuditOutput
from flask.testing import FlaskClient
from readers import API_TOKEN
from redis import Redis

from console.api import create_app
from console.embedded import free_port
from ingest.inbox import Inbox
from schemas.keys import Keyspace
from schemas.logs import Lines
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.store import Store


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Those of all tests, with the changes that a test may name as a parameter."""
    return replace(settings, **getattr(request, "param", {}))


@pytest.fixture
def asked(settings: Settings) -> Settings:
    return replace(settings, api_tokens=(API_TOKEN,))


@pytest.fixture
def api(asked: Settings, redis: Redis) -> FlaskClient:
    return create_app(asked).test_client()


@pytest.fixture
def play(redis: Redis, settings: Settings) -> Iterator[Callable[..., None]]:
    """Deposit callbacks as the door does, and have them drained as a worker does."""
    keyspace = Keyspace(settings.prefix)
    inbox = Inbox(redis, keyspace, settings.shards)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    audit = AuditOutput()
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))

    def put(*callbacks: dict[str, str]) -> None:
        for params in callbacks:
            inbox.deposit(params, "")
        for shard in range(settings.shards):
            drain.drain(shard, {"task_id": "of-the-test"})

    yield put
    audit.close()
