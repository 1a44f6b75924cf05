"""The delivery in Celery: tasks that name a target, sent by the sweep, and forgotten ones again."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import receivers
from alerting import event, publish
from celery import Celery
from receivers import Sink
from redis import Redis
from structlog.testing import capture_logs

from console.embedded import free_port
from schemas.alert_targets import read_targets
from schemas.connection import connect
from schemas.errors import BadSettingError
from schemas.settings import Settings
from schemas.wakeups import NOTIFY, WakeUps, celery_config
from workers.notify.register import register

SECRET = "whsec_" + b64encode(bytes(32)).decode()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with receivers.sink() as made:
        yield made


@pytest.fixture
def aimed(settings: Settings, sink: Sink) -> Settings:
    url = f"webhook://127.0.0.1:{sink.port}/?secret={SECRET}"
    return replace(settings, alert_targets=read_targets(url))


def made(settings: Settings, redis: Redis) -> tuple[Celery, Callable[[], None]]:
    app = Celery("rollcall", set_as_current=False)
    app.conf.update(celery_config(settings))
    wake_ups = WakeUps(app, settings)
    return app, register(app, settings, redis, lambda target: wake_ups.send(NOTIFY, target))


def messages(redis: Redis) -> list[dict[str, Any]]:
    raw = redis.lrange("rollcall:wakeups", 0, -1)
    redis.delete("rollcall:wakeups")
    return [msgspec.json.decode(one) for one in raw]


def test_the_sweep_sends_a_task_that_names_the_target_and_carries_nothing_else(
    aimed: Settings, redis: Redis, sink: Sink
) -> None:
    app, sweep = made(aimed, redis)
    sweep()
    assert messages(redis) == []
    one = publish(redis, event())
    sweep()
    [message] = messages(redis)
    assert message["headers"]["task"] == NOTIFY
    assert message["headers"]["expires"]
    [name] = msgspec.json.decode(b64decode(message["body"]))[0]
    assert name == aimed.alert_targets[0].name
    # That message was lost; the next sweep sends another.
    sweep()
    assert len(messages(redis)) == 1
    app.tasks[NOTIFY](name)
    assert [posted.headers["webhook-id"] for posted in sink.posted] == [one]
    # It comes a second time.
    app.tasks[NOTIFY](name)
    sweep()
    assert messages(redis) == []
    assert len(sink.posted) == 1


def test_without_targets_nothing_is_looked_at(settings: Settings, redis: Redis) -> None:
    app, sweep = made(settings, redis)
    publish(redis, event())
    sweep()
    assert redis.keys("*target*") == []
    with capture_logs() as logs:
        app.tasks[NOTIFY]("slack-01234567")
    assert [line["event"] for line in logs] == ["no_such_alert_target"]


def test_a_broker_that_is_away_is_said_and_ends_no_sweep(aimed: Settings, redis: Redis) -> None:
    away = replace(aimed, celery_broker_url=f"redis://127.0.0.1:{free_port()}/0")
    _, sweep = made(away, redis)
    sweep()
    publish(redis, event())
    with capture_logs() as logs:
        sweep()
    assert [line["event"] for line in logs] == ["wake_up_failed"]


def test_a_redis_that_is_away_interrupts_a_delivery_and_loses_nothing(
    aimed: Settings, redis: Redis, sink: Sink
) -> None:
    _, sweep = made(aimed, redis)
    sweep()
    one = publish(redis, event())
    nowhere = replace(aimed, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with connect(nowhere, timeout=1.0) as away, capture_logs() as logs:
        made(aimed, away)[0].tasks[NOTIFY](aimed.alert_targets[0].name)
    assert "delivery_interrupted" in [line["event"] for line in logs]
    made(aimed, redis)[0].tasks[NOTIFY](aimed.alert_targets[0].name)
    assert [posted.headers["webhook-id"] for posted in sink.posted] == [one]


def test_a_target_that_apprise_does_not_understand_stops_the_start(
    settings: Settings, redis: Redis
) -> None:
    wrong = replace(settings, alert_targets=read_targets("slack://hidden"))
    with pytest.raises(BadSettingError):
        made(wrong, redis)


def test_apprise_is_loaded_only_for_a_target_that_needs_it() -> None:
    check = "import sys, workers.notify.register; sys.exit('apprise' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
