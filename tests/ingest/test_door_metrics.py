"""`/metrics`: what is counted, and that every word is there from the start and none is input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from redis import Redis

from ingest.app import create_app
from ingest.inbox import Inbox
from ingest.metrics import Metrics
from ingest.spool import Spool
from schemas.errors import RefusedError, RollcallError, UnavailableError
from schemas.keys import Keyspace
from schemas.settings import Settings

ODD_SCRAPER = {"Accept": "application/openmetrics-text;version=9.9\u00e9,*/*;q=0.1"}


class Nothing(Collector):
    """Nothing is asked for beside what is counted."""

    def collect(self) -> Iterator[Metric]:
        return iter(())


NOTHING = Nothing()


def reasons(kind: type[RollcallError] = RefusedError) -> Iterator[str]:
    """The words of the leaves of the tree."""
    subclasses = kind.__subclasses__()
    if not subclasses:
        yield kind.reason
    for one in subclasses:
        yield from reasons(one)


@pytest.fixture
def app(settings: Settings, inbox: Inbox, bell: Any) -> Flask:
    return create_app(settings, inbox=inbox, doorbell=bell)


@pytest.fixture
def knock(twilio: Any, app: Flask) -> Any:
    return twilio.signing(client=app.test_client())


@pytest.fixture
def read(app: Flask) -> Callable[..., float]:
    """Read one sample as Prometheus would."""

    def sample(name: str, **labels: str) -> float:
        [value] = [
            one.value
            for one in scrape(app.test_client())
            if (one.name, one.labels) == (name, labels)
        ]
        return value

    return sample


def scrape(client: FlaskClient) -> list[Any]:
    text = client.get("/metrics").text
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def test_every_word_is_there_before_anything_has_happened(app: Flask) -> None:
    samples = scrape(app.test_client())
    refused = {
        one.labels["reason"]: one.value
        for one in samples
        if one.name == "rollcall_callbacks_refused_total"
    }
    assert refused == dict.fromkeys([*reasons(), RollcallError.reason], 0.0)
    accepted = {
        one.labels["where"]: one.value
        for one in samples
        if one.name == "rollcall_callbacks_accepted_total"
    }
    assert accepted == {"inbox": 0.0, "spool": 0.0}


@pytest.mark.parametrize("headers", [{}, ODD_SCRAPER])
def test_it_is_prometheus_text_whatever_is_asked_for(app: Flask, headers: dict[str, str]) -> None:
    answer = app.test_client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"


def test_what_is_taken_is_counted_and_timed(
    knock: Any, read: Callable[..., float], recorded: list[dict[str, Any]]
) -> None:
    for one in recorded[:3]:
        assert knock.post(one["body"]).status_code == 204
    assert read("rollcall_callbacks_accepted_total", where="inbox") == 3
    assert read("rollcall_callbacks_accepted_total", where="spool") == 0
    assert read("rollcall_deposit_seconds_count") == 3
    assert read("rollcall_deposit_seconds_bucket", le="+Inf") == 3
    assert 0 < read("rollcall_deposit_seconds_sum") < 3


def test_what_is_spooled_is_counted_and_can_be_seen_to_lie_there(
    knock: Any,
    read: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[dict[str, Any]],
) -> None:
    assert read("rollcall_spool_callbacks") == read("rollcall_spool_bytes") == 0
    monkeypatch.setattr(Inbox, "deposit_all", _away)
    assert knock.post(recorded[0]["body"]).status_code == 204
    assert read("rollcall_callbacks_accepted_total", where="spool") == 1
    assert read("rollcall_callbacks_accepted_total", where="inbox") == 0
    assert read("rollcall_spool_callbacks") == 1
    assert read("rollcall_spool_bytes") > 100


def test_the_state_is_read_when_somebody_asks(
    read: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def states() -> list[str]:
        known = ("ready", "spooling", "unavailable")
        told = {state: read("rollcall_door_state", state=state) for state in known}
        assert sorted(told.values()) == [0, 0, 1]
        return [state for state, value in told.items() if value]

    assert states() == ["ready"]
    monkeypatch.setattr(Inbox, "check", _away)
    assert states() == ["spooling"]
    monkeypatch.setattr(Spool, "has_room", False)
    assert states() == ["unavailable"]


def test_what_waits_for_the_workers_and_what_they_concluded_is_read_from_redis(
    knock: Any,
    redis: Redis,
    settings: Settings,
    read: Callable[..., float],
    recorded: list[dict[str, Any]],
) -> None:
    assert read("rollcall_inbox_callbacks") == read("rollcall_inbox_oldest_seconds") == 0
    for one in recorded[:3]:
        assert knock.post(one["body"]).status_code == 204
    assert read("rollcall_inbox_callbacks") == 3
    assert 0 < read("rollcall_inbox_oldest_seconds") < 30
    shards = [Keyspace(settings.prefix).shard(number) for number in range(settings.shards)]
    for number, shard in enumerate(shards):
        redis.hset(shard.verdicts, mapping={"applied": number, "duplicate": 1})
    assert read("rollcall_callbacks_concluded_total", verdict="applied") == 28
    assert read("rollcall_callbacks_concluded_total", verdict="duplicate") == 8


def test_while_redis_is_away_a_scrape_tells_the_rest(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "backlog", _away)
    names = {one.name for one in scrape(app.test_client())}
    assert "rollcall_inbox_callbacks" not in names
    assert "rollcall_callbacks_accepted_total" in names


def test_a_deposit_that_fails_is_timed_and_counted_as_refused(
    knock: Any,
    read: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[dict[str, Any]],
) -> None:
    monkeypatch.setattr(Inbox, "deposit_all", _away)
    monkeypatch.setattr(Spool, "put", _away)
    assert knock.post(recorded[0]["body"]).status_code == 503
    assert read("rollcall_deposit_seconds_count") == 1
    assert read("rollcall_callbacks_refused_total", reason="unavailable") == 1
    assert read("rollcall_callbacks_accepted_total", where="inbox") == 0


def test_refusals_are_counted_by_what_the_sender_was_told(
    knock: Any, app: Flask, read: Callable[..., float], recorded: list[dict[str, Any]]
) -> None:
    client = app.test_client()
    knock.post("StatusCallbackEvent=room-ended")
    knock.signing(token="another").post(recorded[0]["body"])
    client.post("/callbacks", data=recorded[0]["body"])
    client.post("/callbacks", data=b"x" * 100_000)
    client.head("/callbacks")
    client.put("/callbacks")
    client.get("/wp-login.php")
    counted = {
        "malformed": 1,
        "signature-mismatch": 1,
        "signature-missing": 1,
        "too-large": 1,
        "method-not-allowed": 2,
        "not-found": 1,
    }
    for reason in reasons():
        expected = counted.get(reason, 0)
        assert read("rollcall_callbacks_refused_total", reason=reason) == expected, reason


def test_a_failure_of_our_own_is_counted_too(
    knock: Any,
    read: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[dict[str, Any]],
) -> None:
    def broken(*_args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Inbox, "deposit_all", _away)
    monkeypatch.setattr(Inbox, "receipt_of_spooled", broken)
    assert knock.post(recorded[0]["body"]).status_code == 500
    assert read("rollcall_callbacks_refused_total", reason="error") == 1


def test_no_label_is_taken_from_what_is_not_known() -> None:
    metrics = Metrics()
    metrics.refused("something-new")
    told = metrics.exposition(NOTHING)
    assert b"something-new" not in told
    assert b'refused_total{reason="error"} 1.0' in told


def test_two_applications_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.accepted("inbox")
    assert b'accepted_total{where="inbox"} 1.0' in one.exposition(NOTHING)
    assert b'accepted_total{where="inbox"} 0.0' in other.exposition(NOTHING)


def _away(*_args: Any, **_kwargs: Any) -> Any:
    raise UnavailableError
