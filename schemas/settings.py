"""The settings: the environment, read once at the start of a process.

A bad value stops the process with a sentence that names it. Nothing else in Rollcall reads the
environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from environs import Env
from environs.exceptions import EnvError
from marshmallow import validate
from platformdirs import user_state_path

from schemas.alert_targets import AlertTarget, read_targets
from schemas.audit import HASHED, PLAIN
from schemas.errors import BadSettingError
from schemas.redis_urls import check_broker_url, read_address, urlsplit_of

INBOX_MAXLEN = 100_000
# Of hex digits, 128 bits: whoever guesses the key can try every name.
_KEY_CHARACTERS = 32
ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")


def account_of(sid: str) -> str:
    """An AccountSid as it is compared: Twilio writes hex digits in small letters."""
    return sid[:2] + sid[2:].lower()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decides. Times are in the unit that the name ends in."""

    # Both may hold a password.
    redis_url: str = field(repr=False)
    celery_broker_url: str = field(repr=False)
    # Several while a token is being replaced: only Twilio's primary token signs, and the header
    # does not say which one that was.
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    # Of accounts that have tokens of their own, by what `account_of` makes of the AccountSid.
    account_tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    account_sids: frozenset[str] = frozenset()
    public_url: str | None = field(default=None, repr=False)
    trusted_proxies: int = 0
    prefix: str = "rollcall"
    shards: int = 8
    port: int = 8080
    # One answered 1,200 callbacks a second on two cores that ran Redis and the sender as well, and
    # an account has at most 10,000 participants at a time
    # (https://www.twilio.com/docs/video/programmable-video-limits).
    web_concurrency: int = 1
    # 0: callbacks of any age are taken. A replayed one changes nothing either way.
    max_age_seconds: int = 0
    events_maxlen: int = 1_000_000
    # An entry takes about 1 KiB: with eight shards, this many fill 800 MiB while no worker lives.
    # Beyond it the door spools, before Redis itself runs out of memory.
    inbox_maxlen: int = INBOX_MAXLEN
    # A deposit takes 0.1 ms, so half a second means that Redis is not there. Twilio itself waits
    # 15 s (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides), but a waiting
    # request holds a thread, and those behind it must be answered as well.
    deposit_timeout_ms: int = 500
    # How many replicas must have a callback before it is answered; until then it is spooled.
    wait_replicas: int = 0
    # A drain takes milliseconds, so by then nobody is at work, or too few.
    stalled_seconds: int = 30
    # Some 80,000 callbacks: minutes of a full account's, while somebody brings Redis back.
    spool_max_bytes: int = 64 * 1024 * 1024
    spool_dir: Path = field(default_factory=lambda: user_state_path("rollcall") / "spool")
    # A newcomer's connect may be stamped up to this long after the end that it caused: the two are
    # stamped by different parts of Twilio, and a track is known to come 1 ms before its own
    # participant. A goodbye and a return this close together cannot be told from an eviction.
    eviction_before_ms: int = 250
    # Twilio takes up to 15 s to notice a disruption (twilio-video.js, CHANGELOG 2.1.0), so an
    # evicted session may be stamped as ending that much after its successor's start.
    eviction_after_ms: int = 15_000
    # Who refreshes a page is back within a second or two, who reconnects within a few more.
    linger_ms: int = 5_000
    # In every recording, callbacks overtook each other by less than 2 s.
    gap_ms: int = 10_000
    # Of a group room (https://www.twilio.com/docs/video/programmable-video-limits).
    room_capacity: int = 50
    # Recordings and late callbacks come within minutes; a day is for those who look the next.
    keep_hours: int = 24
    # What was captured longer ago is of no use to anybody.
    tombstone_days: int = 30
    # Who may read snapshots; several while one is being replaced.
    api_tokens: tuple[str, ...] = field(default=(), repr=False)
    # Not PORT, which belongs to web: both run on one machine with one environment.
    console_port: int = 8090
    # Their URLs may hold secrets.
    alert_targets: tuple[AlertTarget, ...] = field(default=(), repr=False)
    # Ed25519, as `SigningKey` reads it; empty: closing records of the audit are not signed.
    audit_key: str = field(default="", repr=False)
    # `plain` or `hashed`: how identities and names are written in the worker log.
    audit_identity: str = PLAIN
    audit_identity_key: str = field(default="", repr=False)

    def tokens_for(self, account_sids: Iterable[str]) -> tuple[str, ...]:
        """The tokens that may judge what claims to be of these accounts.

        An account with tokens of its own is judged by them alone, any other by the tokens that are
        bound to no account. What names several accounts must be judged by a token of them all.
        """
        own = [
            self.account_tokens.get(account_of(sid), self.auth_tokens) for sid in account_sids
        ] or [self.auth_tokens]
        return tuple(token for token in own[0] if all(token in tokens for tokens in own))

    def require_tokens(self) -> None:
        """Refuse to run a door that cannot tell who knocks.

        Raises:
            BadSettingError: there is no auth token.
        """
        if not (self.auth_tokens or self.account_tokens):
            raise BadSettingError(
                "TWILIO_AUTH_TOKEN: is not set; set it to the auth token of your Twilio account,"
                " with which callbacks are signed."
            )

    def require_api_tokens(self) -> None:
        """Refuse to run a console that would tell everybody who is in which room.

        Raises:
            BadSettingError: there is no token.
        """
        if not self.api_tokens:
            raise BadSettingError(
                "ROLLCALL_API_TOKEN: is not set; set it to a long random text, which whoever reads"
                " snapshots must show."
            )

    def require_identity_key(self) -> None:
        """Refuse to run a worker that should hash names and has nothing to do so with.

        Raises:
            BadSettingError: there is no key, or one that could be guessed.
        """
        if self.audit_identity == HASHED and len(self.audit_identity_key) < _KEY_CHARACTERS:
            raise BadSettingError(
                "ROLLCALL_AUDIT_IDENTITY_KEY: must be a random text of"
                f" {_KEY_CHARACTERS} characters or more, since ROLLCALL_AUDIT_IDENTITY is {HASHED}."
                " `rollcall audit keygen` makes one."
            )

    @classmethod
    def from_environment(cls, *, redis_url: str | None = None) -> Settings:
        """Read the environment.

        Args:
            redis_url: used where REDIS_URL is not set; without it, REDIS_URL is required.

        Raises:
            BadSettingError: names the setting and says what is wrong with it.
        """
        env = Env(expand_vars=False)
        redis = _redis_url(env, redis_url)
        auth_tokens, account_tokens = _auth_tokens(env)
        return cls(
            redis_url=redis,
            celery_broker_url=_broker_url(env, redis),
            auth_tokens=auth_tokens,
            account_tokens=account_tokens,
            account_sids=_account_sids(env),
            public_url=_public_url(env),
            trusted_proxies=_integer(env, "ROLLCALL_TRUSTED_PROXIES", 0, 0, 16),
            prefix=_prefix(env),
            shards=_integer(env, "ROLLCALL_SHARDS", 8, 1, 1024),
            port=_integer(env, "PORT", 8080, 1, 65_535),
            # The name that gunicorn, uvicorn and Heroku use.
            web_concurrency=_integer(env, "WEB_CONCURRENCY", 1, 1, 64),
            max_age_seconds=_integer(env, "ROLLCALL_MAX_AGE", 0, 0, 315_360_000),
            events_maxlen=_integer(env, "ROLLCALL_EVENTS_MAXLEN", 1_000_000, 1, 2**40),
            inbox_maxlen=_integer(env, "ROLLCALL_INBOX_MAXLEN", INBOX_MAXLEN, 1, 2**40),
            deposit_timeout_ms=_integer(env, "ROLLCALL_DEPOSIT_TIMEOUT_MS", 500, 10, 10_000),
            wait_replicas=_integer(env, "ROLLCALL_WAIT_REPLICAS", 0, 0, 16),
            stalled_seconds=_integer(env, "ROLLCALL_STALLED_SECONDS", 30, 1, 86_400),
            spool_max_bytes=_integer(env, "ROLLCALL_SPOOL_MAX_BYTES", 64 * 1024 * 1024, 0, 2**40),
            spool_dir=_spool_dir(env),
            eviction_before_ms=_integer(env, "ROLLCALL_EVICTION_BEFORE_MS", 250, 0, 60_000),
            eviction_after_ms=_integer(env, "ROLLCALL_EVICTION_AFTER_MS", 15_000, 0, 600_000),
            linger_ms=_integer(env, "ROLLCALL_LINGER_MS", 5_000, 0, 600_000),
            gap_ms=_integer(env, "ROLLCALL_GAP_MS", 10_000, 0, 600_000),
            room_capacity=_integer(env, "ROLLCALL_ROOM_CAPACITY", 50, 1, 10_000),
            keep_hours=_integer(env, "ROLLCALL_KEEP_HOURS", 24, 1, 8_760),
            tombstone_days=_integer(env, "ROLLCALL_TOMBSTONE_DAYS", 30, 1, 365),
            api_tokens=_api_tokens(env),
            console_port=_integer(env, "ROLLCALL_CONSOLE_PORT", 8090, 1, 65_535),
            alert_targets=read_targets(env.str("ROLLCALL_ALERT_TARGETS", default="")),
            audit_key=_audit_key(env),
            audit_identity=_audit_identity(env),
            audit_identity_key=env.str("ROLLCALL_AUDIT_IDENTITY_KEY", default="").strip(),
        )


def _integer(env: Env, name: str, default: int, least: int, most: int) -> int:
    # Set but empty is what compose files make of a variable that is not set.
    if not env.str(name, default="").strip():
        return default
    try:
        return env.int(name, default=default, validate=validate.Range(least, most))
    except EnvError:
        # The library's own message would leave out what is allowed.
        raise BadSettingError(
            f"{name}: must be a whole number from {least} to {most}, not {env.str(name)!r}."
        ) from None


def _words(env: Env, name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.str(name, default="").split(",") if word.strip())


def _auth_tokens(env: Env) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Read the tokens that are bound to no account, and those of accounts."""
    tokens: list[str] = []
    bound: dict[str, tuple[str, ...]] = {}
    for word in _words(env, "TWILIO_AUTH_TOKEN"):
        first, pair, last = word.partition("=")
        if not pair:
            tokens.append(word)
            continue
        sid, token = first.strip(), last.strip()
        if not ACCOUNT_SID.fullmatch(sid) or not token or "=" in token:
            # Either side may be the token.
            raise BadSettingError(
                "TWILIO_AUTH_TOKEN: must be one or more, comma-separated, of a token, or AC and 32"
                " hex digits, = and that account's token."
            )
        account = account_of(sid)
        bound[account] = (*bound.get(account, ()), token)
    return tuple(tokens), bound


def _api_tokens(env: Env) -> tuple[str, ...]:
    tokens = _words(env, "ROLLCALL_API_TOKEN")
    for token in tokens:
        # What a header can carry (https://www.rfc-editor.org/rfc/rfc6750#section-2.1).
        if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
            raise BadSettingError(
                "ROLLCALL_API_TOKEN: must be one or more, comma-separated, of a token of the"
                " characters A-Z a-z 0-9 - . _ ~ + / and = at its end."
            )
    return tokens


def _account_sids(env: Env) -> frozenset[str]:
    sids = _words(env, "TWILIO_ACCOUNT_SID")
    for sid in sids:
        if not ACCOUNT_SID.fullmatch(sid):
            # What stands there may well be the token, put into the wrong setting.
            raise BadSettingError(
                "TWILIO_ACCOUNT_SID: must be one or more, comma-separated, of AC and 32 hex digits."
            )
    return frozenset(sids)


def _public_url(env: Env) -> str | None:
    url = env.str("PUBLIC_URL", default="").strip().rstrip("/")
    if not url:
        return None
    parts = urlsplit_of("PUBLIC_URL", url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[?#\s]", url):
        raise BadSettingError(
            "PUBLIC_URL: must be a scheme, host and path prefix like https://example.com."
        )
    if parts.path.endswith("/callbacks"):
        # Nothing that Twilio signs would ever fit.
        raise BadSettingError("PUBLIC_URL: must be given without the /callbacks at its end.")
    return url


def _spool_dir(env: Env) -> Path:
    named = env.str("ROLLCALL_SPOOL_DIR", default="").strip()
    if named and not Path(named).is_absolute():
        raise BadSettingError(f"ROLLCALL_SPOOL_DIR: must be an absolute path, not {named!r}.")
    return Path(named) if named else user_state_path("rollcall") / "spool"


def _prefix(env: Env) -> str:
    prefix = env.str("ROLLCALL_PREFIX", default="rollcall")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", prefix):
        raise BadSettingError(
            f"ROLLCALL_PREFIX: {prefix!r} is not 1 to 64 of the characters A-Z a-z 0-9 _ . : -"
        )
    return prefix


def _audit_key(env: Env) -> str:
    key = env.str("ROLLCALL_AUDIT_KEY", default="").strip()
    if key:
        # Only who signs needs the library, which takes a while to load.
        from schemas.audit_keys import SigningKey  # noqa: PLC0415

        try:
            SigningKey(key)
        except ValueError:
            raise BadSettingError(
                "ROLLCALL_AUDIT_KEY: must be an Ed25519 key: its 32-byte seed in base64, or PEM"
                " without a password. `rollcall audit keygen` makes one."
            ) from None
    return key


def _audit_identity(env: Env) -> str:
    identity = env.str("ROLLCALL_AUDIT_IDENTITY", default="").strip() or PLAIN
    if identity not in {PLAIN, HASHED}:
        raise BadSettingError(
            f"ROLLCALL_AUDIT_IDENTITY: must be {PLAIN} or {HASHED}, not {identity!r}."
        )
    return identity


def _redis_url(env: Env, fallback: str | None) -> str:
    url = env.str("REDIS_URL", default="") or fallback
    if not url:
        raise BadSettingError(
            "REDIS_URL: is not set; set it like redis://127.0.0.1:6379/0,"
            " or let `rollcall up` start an embedded Redis."
        )
    read_address(url)
    return url


def _broker_url(env: Env, redis_url: str) -> str:
    own = env.str("CELERY_BROKER_URL", default="")
    check_broker_url(own or redis_url, inherited=not own)
    return own or redis_url
