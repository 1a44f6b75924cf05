"""The application and its process: health, starting, stopping, and what it writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from twilio.request_validator import RequestValidator

from console.embedded import EmbeddedRedis, free_port
from ingest.app import create_app
from ingest.inbox import Inbox
from ingest.serve import serve
from schemas.errors import BadSettingError, StartError
from schemas.keys import Keyspace
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-of-the-tests"
IDENTITY = "Front Desk"
START = """
from ingest.serve import serve
from schemas.settings import Settings
serve(Settings.from_environment())
"""
LOADED = """
import sys
import ingest.serve, ingest.app
print([name for name in sys.modules if name.startswith(("workers", "console"))])
"""
Eventually = Callable[[Callable[[], bool]], None]


@pytest.mark.parametrize("start", [create_app, serve])
def test_without_a_token_nothing_starts_and_the_setting_is_named(
    settings: Settings, start: Callable[[Settings], Any]
) -> None:
    with pytest.raises(BadSettingError, match="TWILIO_AUTH_TOKEN"):
        start(replace(settings, auth_tokens=()))


def test_a_port_in_use_is_told_in_one_sentence(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"PORT: {port} is in use by another process"):
            serve(replace(settings, port=port))


def test_an_app_is_made_without_redis_and_without_a_broker(settings: Settings) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    app = create_app(replace(settings, redis_url=away, celery_broker_url=away, spool_max_bytes=0))
    assert app.test_client().get("/healthz").status_code == 200
    assert app.test_client().get("/readyz").status_code == 503


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_ready_while_redis_is_there(twilio: Any, method: str) -> None:
    answer = twilio.client.open("/readyz", method=method)
    assert answer.status_code == 200
    assert method == "HEAD" or answer.json == {"status": "ready"}


def test_it_is_not_ready_while_redis_hangs_but_healthy(
    door: Callable[..., Any], private_inbox: Inbox, private_redis: EmbeddedRedis
) -> None:
    client = door(inbox=private_inbox, spool_max_bytes=0).client
    os.kill(private_redis.pid, signal.SIGSTOP)
    began = time.monotonic()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert client.get("/healthz").json == {"status": "ok"}
    assert time.monotonic() - began < 1.0


def test_it_deposits_nothing_where_others_count_the_shards_differently(
    twilio: Any, redis: Redis, settings: Settings, recorded: list[dict[str, Any]]
) -> None:
    redis.set(Keyspace(settings.prefix).shard_count, settings.shards + 1)
    assert twilio.client.get("/readyz").json == {"status": "spooling"}
    assert twilio.post(recorded[0]["body"]).status_code == 204
    assert redis.keys("*inbox*") == []


def test_ingest_loads_nothing_of_the_workers_or_the_console() -> None:
    said = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"


class Web:
    """A web process of its own, as `rollcall web` will start it."""

    def __init__(self, redis_url: str, log: Path) -> None:
        self.port = free_port()
        self.log = log
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "REDIS_URL": redis_url,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": "https://rollcall.example",
        }
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def ask(self, method: str, path: str, *args: Any, **kwargs: Any) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, *args, **kwargs)
            return connection.getresponse().status
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz") == 200
        except OSError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def web(
    redis: Redis, redis_server: EmbeddedRedis, tmp_path: Path, eventually: Eventually
) -> Iterator[Web]:
    web = Web(redis_server.url, tmp_path / "web.log")
    eventually(web.answers)
    yield web
    if web.process.poll() is None:
        web.process.kill()
    web.process.wait()


def test_the_process_takes_callbacks_wakes_workers_and_ends_when_told(
    web: Web, redis: Redis, recorded: list[dict[str, Any]], eventually: Eventually
) -> None:
    validator = RequestValidator(TOKEN)
    url = "https://rollcall.example/callbacks"
    for one in recorded:
        signature = validator.compute_signature(url, one["params"])
        headers = one["headers"] | {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": signature,
        }
        headers.pop("connection", None)
        assert web.ask("POST", "/callbacks", one["body"].encode(), headers) == 204
        signature = validator.compute_signature(f"{url}?{one['body']}", {})
        headers = {"x-twilio-signature": signature}
        assert web.ask("GET", f"/callbacks?{one['body']}", headers=headers) == 204
    assert web.ask("POST", "/callbacks", b"a=1") == 403
    assert web.ask("POST", "//callbacks", b"a=1") == 404
    # A body that tells no length.
    assert web.ask("POST", "/callbacks", iter([b"x" * 1000] * 70), headers) == 413
    eventually(lambda: redis.llen("rollcall:wakeups") > 0)

    # An idle connection does not keep it.
    with socket.create_connection(("127.0.0.1", web.port)):
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(10) == 0

    lines = web.lines()
    assert {line["process"] for line in lines} == {"web"}
    events = [line["event"] for line in lines]
    assert events.count("callback_accepted") == 2 * len(recorded)
    assert events.count("callback_refused") == 3
    assert set(events) == {"web_starting", "callback_accepted", "callback_refused"}
    said = web.log.read_text()
    assert not [secret for secret in (TOKEN, signature, IDENTITY) if secret in said]


def test_a_worker_ends_when_its_main_process_is_killed(web: Web, eventually: Eventually) -> None:
    web.process.kill()
    web.process.wait()
    # It kept the port, and nobody was left to stop it.
    eventually(lambda: not web.answers())


def test_a_worker_that_is_killed_comes_back(web: Web, eventually: Eventually) -> None:
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
    if not children.exists():
        pytest.skip("Only Linux tells the children of a process like this.")
    # Granian gives up on a worker that dies within 5.5 s of its predecessor, not on this first one.
    first = children.read_text().split()[0]
    os.kill(int(first), signal.SIGKILL)
    eventually(lambda: first not in children.read_text().split() and web.answers())
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(10) == 0
