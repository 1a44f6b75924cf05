"""What the tests of the workers share: a store and a drain over the real Redis of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from audits import AuditOutput
from redis import Redis

from ingest.inbox import Inbox
from schemas.keys import Keyspace
from schemas.logs import Lines
from schemas.settings import Settings
from workers.app import bounds_of
from workers.drain import Drain
from workers.store import Store

Params = dict[str, str]


@pytest.fixture
def keyspace(settings: Settings) -> Keyspace:
    return Keyspace(settings.prefix)


@pytest.fixture
def store(redis: Redis, keyspace: Keyspace, settings: Settings) -> Store:
    return Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)


@pytest.fixture
def audit() -> Iterator[AuditOutput]:
    output = AuditOutput()
    yield output
    output.close()


@pytest.fixture
def drain(store: Store, settings: Settings, audit: AuditOutput) -> Drain:
    return Drain(store, bounds_of(settings), Lines(audit.writing))


@pytest.fixture
def deposit(redis: Redis, settings: Settings) -> Callable[..., Any]:
    """Deposit callbacks as the door does."""
    inbox = Inbox(redis, Keyspace(settings.prefix), settings.shards)

    def put(*callbacks: Params) -> None:
        for params in callbacks:
            inbox.deposit(params, "")

    return put
