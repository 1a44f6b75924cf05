"""The application and its process: health, starting, stopping, and what it writes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doors import TOKEN, URL, Web
from redis import Redis
from twilio.request_validator import RequestValidator

from console.embedded import EmbeddedRedis, free_port
from ingest.app import create_app
from ingest.inbox import Inbox
from ingest.metrics import forget_dead_processes
from ingest.serve import serve
from ingest.sharing import SHARED_FOLDER
from schemas.errors import BadSettingError, StartError
from schemas.keys import Keyspace
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent.parent
IDENTITY = "Front Desk"
LOADED = """
import sys
import {module}
print([name for name in sys.modules if name.startswith({prefixes})])
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
    assert method == "HEAD" or answer.json == {"status": "ready", "inbox": "flowing"}


def test_it_is_ready_and_says_so_when_callbacks_wait_for_too_long(
    twilio: Any, redis: Redis, settings: Settings
) -> None:
    long_ago = f"{(redis.time()[0] - settings.stalled_seconds - 1) * 1000}-0"
    redis.xadd(Keyspace(settings.prefix).shard(3).inbox, {"params": b"{}"}, id=long_ago)
    answer = twilio.client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ready", "inbox": "stalled"})


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


@pytest.mark.parametrize(
    ("module", "prefixes"),
    [
        ("ingest.app", ("workers", "console")),
        ("ingest.serve", ("workers", "console", "ingest.app", "prometheus_client")),
    ],
)
def test_ingest_loads_nothing_that_it_must_not_know(module: str, prefixes: tuple[str, ...]) -> None:
    code = LOADED.format(module=module, prefixes=prefixes)
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"


def test_the_process_takes_callbacks_wakes_workers_and_ends_when_told(
    web: Web, redis: Redis, recorded: list[dict[str, Any]], eventually: Eventually
) -> None:
    validator = RequestValidator(TOKEN)
    for one in recorded:
        assert web.post(one) == 204
        signature = validator.compute_signature(f"{URL}?{one['body']}", {})
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


def test_several_processes_share_the_port_and_what_they_count(
    start_web: Callable[..., Web], recorded: list[dict[str, Any]], eventually: Eventually
) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    answers: list[int] = []

    def both_have_answered() -> bool:
        answers.append(web.post(recorded[0]))
        lines = web.lines()
        return len({line["pid"] for line in lines if line["event"] == "callback_accepted"}) == 2

    eventually(both_have_answered)
    assert set(answers) == {204}
    for _ in range(8):
        assert web.metric("rollcall_callbacks_accepted_total", where="inbox") == len(answers)
        assert web.metric("rollcall_inbox_callbacks") == len(answers)
        assert web.metric("rollcall_door_state", state="ready") == 1
    assert [path.name for path in web.folder.glob("rollcall-metrics-*")] != []
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(10) == 0
    assert [path.name for path in web.folder.glob("rollcall-metrics-*")] == []


def test_what_a_killed_process_counted_stays_and_its_gauges_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    for pid in (dead.pid, os.getpid()):
        for kind in ("counter", "gauge_livesum"):
            (tmp_path / f"{kind}_{pid}.db").touch()
    forget_dead_processes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"counter_{dead.pid}.db", f"counter_{os.getpid()}.db"} | {
        f"gauge_livesum_{os.getpid()}.db"
    }
