"""The URLs of Redis: a single server, one behind Sentinel, or a cluster. Connects to nothing.

redis-py reads the URL of a single server only. For the other two, as many hosts as are known stand
where it has one, and the scheme says what they are. A URL may hold passwords: no error quotes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from redis import ConnectionPool, RedisError
from redis.connection import parse_url

from schemas.errors import BadSettingError

Kind = Literal["single", "sentinel", "cluster"]

# What each kind is written like, and the port where none is named.
_FORMS: dict[Kind, tuple[str, int]] = {
    "single": ("redis://host:6379/0", 6379),
    "sentinel": ("redis+sentinel://host:26379,host:26379/master-name/0", 26379),
    "cluster": ("redis+cluster://host:6379,host:6379", 6379),
}
_KINDS: dict[str, Kind] = {"": "single", "+sentinel": "sentinel", "+cluster": "cluster"}
_SCHEME = re.compile(r"redis(s?)(|\+sentinel|\+cluster)")
# The client would let any other win over ours, and with them the bounds on every wait.
_TLS_OPTION = "ssl_"
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}
_PATHS: dict[Kind, str] = {
    "single": r"/?(?P<database>\d*)",
    "sentinel": r"/(?P<master>[A-Za-z0-9._-]+)(?:/(?P<database>\d*))?",
    # A cluster has one database
    # (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
    "cluster": r"/?(?P<database>0?)",
}

_PATH_WRONG: dict[Kind, str] = {
    "single": "{name}: must end in a database's number, like {form}.",
    "sentinel": "{name}: must name the master that the sentinels watch, like {form}.",
    "cluster": "{name}: names a database, and a cluster has none; write it like {form}.",
}


class Address(NamedTuple):
    """Where a Redis is, and how to speak to it."""

    kind: Kind
    # The server; or the sentinels; or some nodes of the cluster, which name the others.
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    database: int
    # What sentinels call the master.
    master: str
    # For connections to the Redis itself: user, password, what TLS needs.
    options: Mapping[str, Any]
    # For those to sentinels, which have users of their own, or none.
    sentinel_options: Mapping[str, Any]


def kind_of(url: str) -> Kind | None:
    """Tell what a URL's scheme says; None where it is none of Redis."""
    scheme = _SCHEME.fullmatch(url.partition("://")[0])
    return _KINDS[scheme[2]] if scheme else None


def read_address(url: str, *, name: str = "REDIS_URL") -> Address:
    """Read a URL.

    Args:
        url: as it stands in the setting.
        name: of the setting.

    Raises:
        BadSettingError: names the setting and says what to write.
    """
    scheme = _SCHEME.fullmatch(url.partition("://")[0])
    if not scheme:
        raise BadSettingError(
            f"{name}: must begin with redis://, redis+sentinel:// or redis+cluster://, or with"
            " rediss in place of redis for TLS."
        )
    tls, kind = bool(scheme[1]), _KINDS[scheme[2]]
    form, port = _FORMS[kind]
    parts = urlsplit_of(name, url) if kind == "single" else _split_list(url)
    credentials, at, listed = parts.netloc.rpartition("@")
    hosts = tuple(_host(name, one, port, form) for one in listed.split(","))
    path = _path(name, kind, parts.path)
    ours, theirs = _options(name, kind, parts.query)
    options = _as_read(name, f"redis{scheme[1]}://{credentials}{at}localhost?{urlencode(ours)}")
    tls_options = {key: value for key, value in options.items() if key.startswith(_TLS_OPTION)}
    return Address(
        kind=kind,
        hosts=hosts,
        tls=tls,
        database=int(path["database"] or 0),
        master=path.groupdict().get("master") or "",
        options=options,
        sentinel_options=tls_options | theirs,
    )


def check_broker_url(url: str, *, inherited: bool) -> None:
    """Check the URL of the broker; what options an amqp:// one may have, Celery knows.

    Args:
        url: the broker's.
        inherited: whether it is that of REDIS_URL.

    Raises:
        BadSettingError: names the setting and says what to write.
    """
    name, kind = "CELERY_BROKER_URL", kind_of(url)
    if kind == "cluster":
        # Celery takes from several lists in one command, and those would have to share a slot.
        said = "is not set, and REDIS_URL names a cluster" if inherited else "names a cluster"
        raise BadSettingError(
            f"{name}: {said}, which cannot carry the wake-ups; set it to a Redis outside of it,"
            " like redis://host:6379/0, or to a redis+sentinel:// or amqp:// URL."
        )
    if kind == "sentinel":
        read_address(url, name=name)
        return
    parts = urlsplit_of(name, url)
    if kind == "single":
        _path(name, kind, parts.path)
        # kombu would let them win over ours, or fail at the first wake-up.
        _options(name, kind, parts.query)
    elif parts.scheme not in {"amqp", "amqps"}:
        raise BadSettingError(
            f"{name}: must begin with redis://, rediss://, redis+sentinel:// or amqp://."
        )


def _split_list(url: str) -> SplitResult:
    """Take a URL of several hosts apart.

    The library takes such a one for malformed where an IPv6 address is not the first of them, since
    its mending of CVE-2024-11168.
    """
    found = re.fullmatch(r"(.*?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", url, re.DOTALL)
    # The scheme was read before.
    assert found is not None  # noqa: S101
    return SplitResult(*(part or "" for part in found.groups()))


def urlsplit_of(name: str, url: str) -> SplitResult:
    """Take a URL apart, and make sure of its port, which the library reads only when asked.

    Raises:
        BadSettingError: it cannot be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # The library's own message would show what stands where the port should: of a password
        # with a slash in it, that is the password.
        raise BadSettingError(
            f"{name}: its host or port cannot be read; a password's special characters must be"
            " percent-encoded."
        ) from None
    return parts


def _path(name: str, kind: Kind, path: str) -> re.Match[str]:
    found = re.fullmatch(_PATHS[kind], path, re.ASCII)
    if not found:
        # redis-py would take anything else for database 0, and kombu would not start.
        raise BadSettingError(_PATH_WRONG[kind].format(name=name, form=_FORMS[kind][0]))
    return found


def _host(name: str, listed: str, port: int, form: str) -> tuple[str, int]:
    parts = urlsplit_of(name, f"//{listed.strip()}")
    if not parts.hostname and form != _FORMS["single"][0]:
        raise BadSettingError(
            f"{name}: a host between its commas is missing; write it like {form}."
        )
    return parts.hostname or "localhost", parts.port or port


def _options(name: str, kind: Kind, query: str) -> tuple[dict[str, str], dict[str, str]]:
    """Read the options behind the path: for the Redis, and for sentinels."""
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    for key, value in parse_qsl(query):
        if key.startswith(_TLS_OPTION):
            ours[key] = value
        elif kind == "sentinel" and key in _OF_SENTINELS:
            theirs[_OF_SENTINELS[key]] = value
        else:
            allowed = "ssl_..."
            if kind == "sentinel":
                allowed += ", sentinel_username and sentinel_password"
            raise BadSettingError(f"{name}: takes no options but {allowed}; not {key!r}.")
    return ours, theirs


def _as_read(name: str, url: str) -> dict[str, Any]:
    """Have the client read what a single server's URL may hold, as it will when it connects."""
    try:
        ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, RedisError):
        raise BadSettingError(f"{name}: has options that the Redis client does not take.") from None
    of_the_address = ("host", "port", "db", "connection_class")
    return {key: value for key, value in parse_url(url).items() if key not in of_the_address}
