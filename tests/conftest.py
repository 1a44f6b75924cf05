"""What all tests share: one real Redis for the run, emptied before each test that asks for it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from redis import Redis

from console.embedded import EmbeddedRedis
from schemas.connection import connect
from schemas.settings import Settings

# The machine may be slow, so no example is too slow.
hypothesis.settings.register_profile("usual", deadline=None)
hypothesis.settings.load_profile("usual")
# For `make test-long`.
hypothesis.settings.register_profile("long", max_examples=20_000, deadline=None)

TOKEN = "a-token-of-the-tests"
ACCOUNT = "ACeb59002778257c4fc6af6cfaf92aaa5a"
SCENES = Path(__file__).parent.parent / "console" / "scenes"
# Who starts the tests in the background of a shell has them, and what they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_OURS = ("TWILIO_", "ROLLCALL_", "REDIS_URL", "CELERY_", "PUBLIC_URL", "PORT")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_logs_configured_for_others() -> Iterator[None]:
    """A test that leaves its log configured has later ones write to what has long been closed."""
    before = structlog.get_config()
    yield
    assert structlog.get_config() == before


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(redis_server: EmbeddedRedis, tmp_path: Path) -> Settings:
    return Settings(
        spool_dir=tmp_path / "spool",
        redis_url=redis_server.url,
        celery_broker_url=redis_server.url,
        auth_tokens=(TOKEN,),
        public_url="https://rollcall.example",
    )


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with connect(settings, timeout=5.0) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def recorded() -> list[dict[str, Any]]:
    """Every recorded callback: `params`, `body` and `headers` as they came."""
    lines = (SCENES / "recorded.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def recorded_room(recorded: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The one room of which a whole meeting was recorded, in the order it arrived."""
    room_sid = recorded[0]["params"]["RoomSid"]
    return [one["params"] for one in recorded if one["params"]["RoomSid"] == room_sid]


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so, for as long as a slow machine may need."""

    def wait(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "It did not come about."
            time.sleep(0.01)

    return wait
