"""The URLs of Redis: what each says, and that a bad one names the setting and what to write."""

from __future__ import annotations

from typing import Any

import pytest
from redis.sentinel import SentinelManagedSSLConnection

from schemas.connection import connect, servers
from schemas.errors import BadSettingError
from schemas.redis_urls import Address, read_address
from schemas.settings import Settings
from schemas.wakeups import celery_config

SENTINEL = "redis+sentinel://u:p%2Fw@one:1,two,[::1]:3/master-name/2"
CLUSTER = "redis+cluster://:pw@one:1,two"


def settings_of(url: str) -> Settings:
    return Settings(redis_url=url, celery_broker_url=url)


def complaint(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError) as caught:
        Settings.from_environment()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_a_url_of_sentinels_names_them_and_the_master() -> None:
    assert read_address(SENTINEL) == Address(
        kind="sentinel",
        hosts=(("one", 1), ("two", 26_379), ("::1", 3)),
        tls=False,
        database=2,
        master="master-name",
        options={"username": "u", "password": "p/w"},
        sentinel_options={},
    )


def test_sentinels_have_users_of_their_own_and_the_same_tls() -> None:
    query = "ssl_cert_reqs=none&sentinel_username=s&sentinel_password=p%26w"
    address = read_address(f"rediss+sentinel://:pw@one/m?{query}")
    assert (address.tls, address.database) == (True, 0)
    assert address.options == {"password": "pw", "ssl_cert_reqs": "none"}
    assert address.sentinel_options == {
        "ssl_cert_reqs": "none",
        "username": "s",
        "password": "p&w",
    }


def test_a_url_of_a_cluster_names_some_of_its_nodes() -> None:
    address = read_address(CLUSTER)
    assert (address.kind, address.hosts) == ("cluster", (("one", 1), ("two", 6379)))
    assert address.options == {"password": "pw"}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis+sentinel://redis.example", "must name the master"),
        ("redis+sentinel://:secret@a,b/", "redis+sentinel://host:26379,host:26379/master-name/0"),
        ("redis+sentinel://:secret@a,b/0/1/2", "must name the master"),
        ("redis+sentinel://:secret@a,,b/m/0", "a host between its commas is missing"),
        ("redis+sentinel://:secret@a:x,b/m/0", "its host or port cannot be read"),
        ("redis+sentinel://:secret/x@a:1,b/m/0", "its host or port cannot be read"),
        ("redis+sentinel://:secret@a/m/0?socket_timeout=9", "takes no options but ssl_..., sentin"),
        ("redis+cluster://:secret@a:1,b:2/3", "names a database, and a cluster has none"),
        ("redis+cluster://:secret@a?sentinel_password=secret", "takes no options but ssl_...;"),
        ("rediss+cluster://a?ssl_cert_reqs=perhaps", "options that the Redis client does not"),
        ("redis+other://a", "must begin with redis://, redis+sentinel:// or redis+cluster://"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, url: str, what: str
) -> None:
    told = complaint(monkeypatch, REDIS_URL=url, CELERY_BROKER_URL="amqp://rabbit.example")
    assert told.startswith("REDIS_URL: ")
    assert what in told


def test_a_cluster_as_broker_is_refused_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, REDIS_URL=CLUSTER)
    assert told.startswith("CELERY_BROKER_URL: is not set, and REDIS_URL names a cluster, which")
    assert "set it to a Redis outside of it, like redis://host:6379/0" in told
    told = complaint(monkeypatch, REDIS_URL=SENTINEL, CELERY_BROKER_URL=CLUSTER)
    assert told.startswith("CELERY_BROKER_URL: names a cluster, which cannot carry the wake-ups")


def test_a_cluster_with_a_broker_apart_and_sentinels_for_both_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", SENTINEL)
    assert Settings.from_environment().celery_broker_url == SENTINEL
    monkeypatch.setenv("REDIS_URL", CLUSTER)
    monkeypatch.setenv("CELERY_BROKER_URL", SENTINEL)
    settings = Settings.from_environment()
    assert (settings.redis_url, settings.celery_broker_url) == (CLUSTER, SENTINEL)
    assert "pw" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@a/3",
        "rediss://:p@a",
        SENTINEL,
        "rediss+sentinel://a,b/m?ssl_cert_reqs=none",
        CLUSTER,
        "rediss+cluster://:pw@a",
    ],
)
def test_every_connection_is_bounded_in_time_and_tries_once(url: str) -> None:
    client = connect(settings_of(url), timeout=1.0)
    clients = servers(client)
    pool: Any = client.connection_pool
    if hasattr(pool, "sentinel_manager"):
        clients += pool.sentinel_manager.sentinels
    for one in clients:
        options = one.connection_pool.connection_kwargs
        assert 0 < options["socket_timeout"] <= 1.0
        assert options["socket_connect_timeout"] == options["socket_timeout"]
        assert options["retry"].get_retries() == 0
        assert options["protocol"] == 2


def test_kombu_is_told_of_sentinels_in_its_own_words() -> None:
    config = celery_config(settings_of(SENTINEL))
    assert config["broker_url"] == (
        "sentinel://u:p%2Fw@one:1/2;sentinel://u:p%2Fw@two:26379/2;sentinel://u:p%2Fw@[::1]:3/2"
    )
    options = config["broker_transport_options"]
    assert options["master_name"] == "master-name"
    assert options["sentinel_kwargs"]["socket_timeout"] == pytest.approx(1 / 3)
    assert options["socket_timeout"] == 5.0
    assert "broker_use_ssl" not in config


def test_sentinels_that_speak_tls_are_spoken_to_with_tls() -> None:
    settings = settings_of("rediss+sentinel://:pw@a/m?sentinel_password=spw")
    config = celery_config(settings)
    assert config["broker_use_ssl"] == {"ssl_cert_reqs": "required"}
    assert config["broker_transport_options"]["sentinel_kwargs"]["ssl"] is True
    assert config["broker_transport_options"]["sentinel_kwargs"]["password"] == "spw"
    pool = connect(settings, timeout=1.0).connection_pool
    assert pool.connection_class is SentinelManagedSSLConnection
