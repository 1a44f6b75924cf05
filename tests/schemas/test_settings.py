"""The settings: read once, and a bad one stops the process with a sentence that names it."""

from __future__ import annotations

import pytest

from schemas.audit_keys import SigningKey
from schemas.errors import BadSettingError
from schemas.settings import Settings

ACCOUNT, OTHER = "AC" + "0" * 32, "AC" + "aF" * 16
REDIS = "redis://127.0.0.1:6379/0"
Environment = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _redis(monkeypatch: Environment) -> None:
    monkeypatch.setenv("REDIS_URL", REDIS)


def complaint() -> str:
    with pytest.raises(BadSettingError) as caught:
        Settings.from_environment()
    # No other error is shown beside it, since that might hold the value.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_nothing_but_the_address_of_redis_is_needed() -> None:
    settings = Settings.from_environment()
    assert settings == Settings(redis_url=REDIS, celery_broker_url=REDIS)
    assert (settings.prefix, settings.shards, settings.port) == ("rollcall", 8, 8080)
    assert (settings.auth_tokens, settings.account_sids, settings.public_url) == (
        (),
        frozenset(),
        None,
    )
    assert (settings.trusted_proxies, settings.events_maxlen) == (0, 1_000_000)
    assert (settings.eviction_before_ms, settings.eviction_after_ms) == (250, 15_000)


@pytest.mark.parametrize(
    ("name", "least", "most", "attribute"),
    [
        ("PORT", 1, 65_535, "port"),
        ("ROLLCALL_SHARDS", 1, 1024, "shards"),
        ("ROLLCALL_TRUSTED_PROXIES", 0, 16, "trusted_proxies"),
        ("ROLLCALL_MAX_AGE", 0, 315_360_000, "max_age_seconds"),
        ("ROLLCALL_EVENTS_MAXLEN", 1, 2**40, "events_maxlen"),
        ("ROLLCALL_EVICTION_BEFORE_MS", 0, 60_000, "eviction_before_ms"),
        ("ROLLCALL_EVICTION_AFTER_MS", 0, 600_000, "eviction_after_ms"),
    ],
)
def test_a_number_is_taken_within_its_bounds_and_a_bad_one_is_shown_with_them(
    monkeypatch: Environment, name: str, least: int, most: int, attribute: str
) -> None:
    for good in (least, most):
        monkeypatch.setenv(name, str(good))
        assert getattr(Settings.from_environment(), attribute) == good
    for bad in (str(least - 1), str(most + 1), "many", "1.5"):
        monkeypatch.setenv(name, bad)
        assert complaint() == f"{name}: must be a whole number from {least} to {most}, not {bad!r}."


def test_set_but_empty_is_as_good_as_not_set(monkeypatch: Environment) -> None:
    for name in ("PORT", "ROLLCALL_SHARDS", "ROLLCALL_TRUSTED_PROXIES", "ROLLCALL_EVENTS_MAXLEN"):
        monkeypatch.setenv(name, "")
    settings = Settings.from_environment()
    assert (settings.port, settings.shards, settings.trusted_proxies) == (8080, 8, 0)


@pytest.mark.parametrize("url", ["https://x.example/callbacks", "https://x.example/p/callbacks/"])
def test_a_public_url_with_the_route_in_it_is_refused(monkeypatch: Environment, url: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", url)
    assert complaint() == "PUBLIC_URL: must be given without the /callbacks at its end."


def test_options_of_a_redis_url_cannot_undo_the_bounds(monkeypatch: Environment) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1/0?socket_timeout=60")
    assert complaint() == "REDIS_URL: takes no options but ssl_...; not 'socket_timeout'."


def test_several_tokens_are_taken_and_never_shown(monkeypatch: Environment) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", " one-secret ,,another-secret,")
    settings = Settings.from_environment()
    assert settings.auth_tokens == ("one-secret", "another-secret")
    assert "secret" not in repr(settings)


def test_an_account_may_have_tokens_of_its_own_and_they_are_never_shown(
    monkeypatch: Environment,
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f"secret-1,{OTHER} = secret-2, {OTHER}=secret-3")
    settings = Settings.from_environment()
    assert settings.auth_tokens == ("secret-1",)
    assert list(settings.account_tokens.values()) == [("secret-2", "secret-3")]
    assert "secret" not in repr(settings)


def test_an_account_is_judged_by_its_own_tokens_and_any_other_by_those_of_no_account(
    monkeypatch: Environment,
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f"main,{OTHER}=own,{OTHER}=next,shared,{OTHER}=shared")
    settings = Settings.from_environment()
    for sid in (OTHER, "AC" + OTHER[2:].lower(), "AC" + OTHER[2:].upper()):
        assert settings.tokens_for([sid]) == ("own", "next", "shared")
    for sid in (ACCOUNT, "", "AC", OTHER.lower(), OTHER + " "):
        assert settings.tokens_for([sid]) == ("main", "shared")
    assert settings.tokens_for([]) == ("main", "shared")
    # Neither account's own token may speak for the other.
    assert settings.tokens_for([OTHER, ACCOUNT]) == ("shared",)
    assert settings.tokens_for([ACCOUNT, OTHER]) == ("shared",)


def test_with_tokens_of_accounts_alone_no_other_account_is_judged(
    monkeypatch: Environment,
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f"{OTHER}=own")
    settings = Settings.from_environment()
    assert settings.tokens_for([ACCOUNT]) == settings.tokens_for([]) == ()


@pytest.mark.parametrize(
    "word",
    [
        "AC123=secret",
        f"{ACCOUNT}=",
        "=secret",
        f"secret={ACCOUNT}",
        f"{ACCOUNT}=secret=",
        f"{ACCOUNT}=secret={ACCOUNT}",
        f"{OTHER.lower()}=secret",
    ],
)
def test_a_pair_that_names_no_account_or_token_is_refused_without_showing_it(
    monkeypatch: Environment, word: str
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f"secret-1,{word}")
    told = complaint()
    assert told.startswith("TWILIO_AUTH_TOKEN: ")
    assert "secret" not in told
    assert ACCOUNT not in told


def test_several_accounts_are_taken(monkeypatch: Environment) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", f"{ACCOUNT}, {OTHER}")
    assert Settings.from_environment().account_sids == {ACCOUNT, OTHER}


@pytest.mark.parametrize("sid", ["secret", f"{ACCOUNT},{'a' * 32}", "AC" + "g" * 32, ACCOUNT + "0"])
def test_what_is_no_account_is_named_but_not_shown_since_it_may_be_the_token(
    monkeypatch: Environment, sid: str
) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", sid)
    told = complaint()
    assert told.startswith("TWILIO_ACCOUNT_SID: ")
    assert sid.rpartition(",")[2] not in told


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://rollcall.example", "https://rollcall.example"),
        ("https://rollcall.example/", "https://rollcall.example"),
        (" https://rollcall.example:8443/video/ ", "https://rollcall.example:8443/video"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://user:pass@rollcall.example", "https://user:pass@rollcall.example"),
        ("", None),
        (" ", None),
    ],
)
def test_the_public_url_is_a_scheme_a_host_and_a_prefix(
    monkeypatch: Environment, url: str, taken: str | None
) -> None:
    monkeypatch.setenv("PUBLIC_URL", url)
    assert Settings.from_environment().public_url == taken


@pytest.mark.parametrize(
    "url",
    [
        "rollcall.example",
        "//rollcall.example",
        "ftp://rollcall.example",
        "https://",
        "https:///callbacks",
        "https://rollcall.example?tenant=1",
        "https://rollcall.example#rc=5",
        "https://rollcall.example:secret",
        "https://rollcall.example:65536",
        "https://[::1",
        "https://user:secret@rollcall.example?tenant=1",
    ],
)
def test_a_public_url_that_nobody_could_sign_is_refused(monkeypatch: Environment, url: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", url)
    told = complaint()
    assert told.startswith("PUBLIC_URL: ")
    assert "secret" not in told


@pytest.mark.parametrize("prefix", ["", "two words", "{0}", "x" * 65, "é", "a\n"])
def test_a_prefix_that_would_break_the_hash_tags_is_refused(
    monkeypatch: Environment, prefix: str
) -> None:
    monkeypatch.setenv("ROLLCALL_PREFIX", prefix)
    assert complaint().startswith("ROLLCALL_PREFIX: ")


def test_a_prefix_of_plain_characters_is_taken(monkeypatch: Environment) -> None:
    monkeypatch.setenv("ROLLCALL_PREFIX", "eu-1:Rollcall_2.0")
    assert Settings.from_environment().prefix == "eu-1:Rollcall_2.0"


def test_without_redis_the_sentence_says_what_to_do(monkeypatch: Environment) -> None:
    monkeypatch.delenv("REDIS_URL")
    assert "rollcall up" in complaint()
    monkeypatch.setenv("REDIS_URL", "")
    assert complaint().startswith("REDIS_URL: is not set")


def test_the_embedded_redis_serves_only_where_none_is_set(monkeypatch: Environment) -> None:
    embedded = "redis://127.0.0.1:7777/0"
    assert Settings.from_environment(redis_url=embedded).redis_url == REDIS
    monkeypatch.delenv("REDIS_URL")
    settings = Settings.from_environment(redis_url=embedded)
    assert (settings.redis_url, settings.celery_broker_url) == (embedded, embedded)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:p%2Fw@redis.example:6380/3",
        "rediss://user:pw@redis.example/1?ssl_cert_reqs=required",
        "redis://[::1]:6379/0",
    ],
)
def test_an_address_of_redis_is_taken_and_a_password_in_it_is_not_shown(
    monkeypatch: Environment, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    settings = Settings.from_environment()
    assert settings.redis_url == url
    assert "pw" not in repr(settings)
    assert "p%2Fw" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://redis.example",
        "unix:///run/redis.sock",
        "redis://h:abc",
        "redis://h:65536",
        "redis://:secret/with-a-slash@redis.example:6379/0",
        "redis://[::1",
        "redis://:secret@redis.example/zero",
        "redis://:secret@redis.example/0/1",
        "redis://:secret@redis.example?db=zero",
        "redis://:secret@redis.example?socket_timeout=soon",
        "redis://:secret@redis.example?colour=red",
        "rediss://:secret@redis.example?ssl_cert_reqs=perhaps",
    ],
)
def test_an_address_that_no_client_could_use_is_refused_without_showing_its_password(
    monkeypatch: Environment, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    told = complaint()
    assert told.startswith("REDIS_URL: ")
    assert "secret" not in told


def test_the_broker_is_redis_unless_another_is_set(monkeypatch: Environment) -> None:
    for url in ("amqp://guest:guest@rabbit.example//", "amqps://rabbit.example", REDIS + "1"):
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        assert Settings.from_environment().celery_broker_url == url
    monkeypatch.setenv("CELERY_BROKER_URL", "")
    assert Settings.from_environment().celery_broker_url == REDIS


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "sqs://secret@",
        "amqp://user:secret@rabbit.example:abc",
        "redis://:secret@redis.example:abc",
        "redis://:secret@redis.example/zero",
        "amqp://[::1",
    ],
)
def test_a_broker_that_celery_could_not_use_is_refused(monkeypatch: Environment, url: str) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    told = complaint()
    assert told.startswith("CELERY_BROKER_URL: ")
    assert "secret" not in told


def test_a_dollar_sign_in_a_password_stays_one(monkeypatch: Environment) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:a$HOME${HOME}b@redis.example/0")
    assert "a$HOME${HOME}b" in Settings.from_environment().redis_url


def test_targets_of_alerts_are_taken_and_never_shown(monkeypatch: Environment) -> None:
    assert Settings.from_environment().alert_targets == ()
    url = "slack://secret-1/secret-2\n alertmanager://user:secret-3@am.example:9093"
    monkeypatch.setenv("ROLLCALL_ALERT_TARGETS", url)
    settings = Settings.from_environment()
    assert [target.kind for target in settings.alert_targets] == ["apprise", "alertmanager"]
    assert "secret" not in repr(settings)
    assert "secret" not in repr(settings.alert_targets)


def test_a_target_that_cannot_be_used_stops_the_start_and_is_not_shown(
    monkeypatch: Environment,
) -> None:
    monkeypatch.setenv("ROLLCALL_ALERT_TARGETS", "json://fine webhooks://secret/?secret=secret")
    told = complaint()
    assert told.startswith("ROLLCALL_ALERT_TARGETS: number 2 of them needs ")
    assert "secret/" not in told


def test_a_key_for_the_audit_is_read_and_a_bad_one_is_not_shown(monkeypatch: Environment) -> None:
    _, seed = SigningKey.generated()
    monkeypatch.setenv("ROLLCALL_AUDIT_KEY", seed)
    settings = Settings.from_environment()
    assert settings.audit_key == seed
    assert seed not in repr(settings)
    for bad in ("secret", seed[:-4], "-----BEGIN PRIVATE KEY-----"):
        monkeypatch.setenv("ROLLCALL_AUDIT_KEY", bad)
        said = complaint()
        assert said.startswith("ROLLCALL_AUDIT_KEY: must be an Ed25519 key")
        assert bad not in said


def test_names_are_plain_or_hashed(monkeypatch: Environment) -> None:
    assert Settings.from_environment().audit_identity == "plain"
    monkeypatch.setenv("ROLLCALL_AUDIT_IDENTITY", "masked")
    assert complaint() == "ROLLCALL_AUDIT_IDENTITY: must be plain or hashed, not 'masked'."


def test_who_writes_hashed_names_needs_a_key_that_nobody_guesses(monkeypatch: Environment) -> None:
    monkeypatch.setenv("ROLLCALL_AUDIT_IDENTITY", "hashed")
    for bad in ("", "x" * 31):
        monkeypatch.setenv("ROLLCALL_AUDIT_IDENTITY_KEY", bad)
        with pytest.raises(BadSettingError, match="32 characters or more") as caught:
            Settings.from_environment().require_identity_key()
        assert not bad or bad not in str(caught.value)
    monkeypatch.setenv("ROLLCALL_AUDIT_IDENTITY_KEY", "x" * 32)
    settings = Settings.from_environment()
    settings.require_identity_key()
    assert "x" * 32 not in repr(settings)
