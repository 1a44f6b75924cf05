"""Whether a Redis keeps what it is given: what its servers say of themselves, and what is unsafe.

Asking and judging are apart: a check is a pure function of one server's own words. Knows nothing of
Rollcall's keys. Workers look at their start, `rollcall doctor` whenever it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import structlog
from redis import Redis, RedisError, ResponseError

from schemas.cluster import Cluster
from schemas.errors import StartError

OLDEST = (6, 2)
# From here on there is little time left until deposits are refused.
_NEARLY_FULL = 0.9
_TOO_OLD = "too-old"

Mark = Literal["ok", "warning", "error"]

log = structlog.get_logger()


class Finding(NamedTuple):
    """What was found, in one line."""

    # ok; what may lose data or soon stop the work; what does so now.
    mark: Mark
    # A stable word.
    reason: str
    what: str
    # What to do about it; empty where all is well.
    todo: str = ""


class Server(NamedTuple):
    """What one server says of itself."""

    # Its address in a cluster; empty where there is only one.
    name: str
    # As INFO has it; a managed Redis may leave some of it out.
    info: Mapping[str, Any]
    # Settings that INFO does not tell; empty where CONFIG is forbidden, as it often is.
    config: Mapping[str, str]
    # How many replicas the settings ask for.
    wait_replicas: int = 0


def look(redis: Redis, *, wait_replicas: int = 0) -> None:
    """Look at every master at the start of a worker.

    Raises:
        StartError: one is too old for the scripts.
    """
    try:
        servers = servers_of(redis, wait_replicas=wait_replicas)
    except RedisError as error:
        # Forbidden, or away again: whoever drains finds out.
        log.warning("redis_not_looked_at", error=type(error).__name__)
    else:
        tell(servers)


def tell(servers: Iterable[Server]) -> None:
    """Log what is unsafe. It is the operator's to decide whether that is acceptable.

    Raises:
        StartError: one is too old for the scripts.
    """
    for server in servers:
        for found in judge(server):
            if found.reason == _TOO_OLD:
                raise StartError(f"REDIS_URL: {found.what} is too old; {found.todo}.")
            if found.mark != "ok":
                log.warning("redis_unsafe", server=server.name or None, **found._asdict())


def servers_of(redis: Redis, *, wait_replicas: int = 0) -> list[Server]:
    """Ask every master.

    Raises:
        RedisError: one did not answer, or INFO is forbidden.
    """
    return [
        Server(name, node.info(), _config(node), wait_replicas) for name, node in masters(redis)
    ]


def masters(redis: Redis) -> Iterator[tuple[str, Redis]]:
    """List what holds the data, each with its address in the cluster; alone, it has none.

    Raises:
        RedisError: no node says who has the slots.
    """
    if not isinstance(redis, Cluster):
        yield "", redis
        return
    hosts = {(_text(master[0]), int(master[1])) for _, _, master, *_ in _slots(redis)}
    for host in sorted(hosts):
        yield f"{host[0]}:{host[1]}", redis.node(host)


def _slots(cluster: Cluster) -> Any:
    """Ask the nodes that are known, one after the other, which node has which slots."""
    *some, last = cluster.nodes()
    for node in some:
        with suppress(RedisError):
            return node.execute_command("CLUSTER", "SLOTS")
    return last.execute_command("CLUSTER", "SLOTS")


def _config(node: Redis) -> dict[str, str]:
    config: dict[str, str] = {}
    for setting in ("appendfsync", "stop-writes-on-bgsave-error"):
        try:
            answer: Any = node.config_get(setting)
        except ResponseError:
            # Forbidden, by the provider or by an ACL.
            return {}
        config.update({_text(name): _text(value) for name, value in answer.items()})
    return config


def _text(told: bytes | str) -> str:
    return told.decode() if isinstance(told, bytes) else told


def judge(server: Server) -> list[Finding]:
    """Judge one server: what is wrong, and what is well where that is good to know."""
    return [found for check in _CHECKS if (found := check(server))]


def version(server: Server) -> Finding | None:
    # Valkey tells a version of its own, and 7.2.4 for Redis's: both are new enough.
    kind = str(server.info.get("server_name", "redis")).capitalize()
    said = str(server.info.get("valkey_version") or server.info.get("redis_version", ""))
    told = re.match(r"(\d+)\.(\d+)", said)
    if told is None:
        return Finding(
            "warning",
            "version",
            "it does not tell its version",
            "make sure that it is Redis 6.2 or newer, or Valkey",
        )
    if (int(told[1]), int(told[2])) >= OLDEST:
        return Finding("ok", "version", f"{kind} {said}")
    return Finding("error", _TOO_OLD, f"{kind} {said}", "upgrade it to 6.2 or newer")


def loading(server: Server) -> Finding | None:
    if not _number(server, "loading"):
        return None
    return Finding(
        "error", "loading", "it is reading its data from disk", "wait until it has done so"
    )


def replica(server: Server) -> Finding | None:
    if server.info.get("role") != "slave":
        return None
    return Finding(
        "error",
        "replica",
        "it is a replica, which takes no writes",
        "set REDIS_URL to its master, or to Sentinels, which know who that is",
    )


def clustered(server: Server) -> Finding | None:
    if server.name or not _number(server, "cluster_enabled"):
        return None
    return Finding(
        "error",
        "cluster",
        "it is a node of a cluster, and has a share of the keys only",
        "write REDIS_URL like redis+cluster://host:6379,host:6379",
    )


def evicts(server: Server) -> Finding | None:
    policy = server.info.get("maxmemory_policy")
    if policy is None:
        return _untold("eviction", "maxmemory-policy is noeviction")
    if policy == "noeviction":
        return Finding("ok", "eviction", "maxmemory-policy is noeviction")
    full = "when it is full" if _number(server, "maxmemory") else "once it has a maxmemory"
    return Finding(
        "error" if _number(server, "maxmemory") else "warning",
        "eviction",
        f"maxmemory-policy is {policy}: {full}, it throws away rooms and callbacks",
        "set maxmemory-policy noeviction",
    )


def memory(server: Server) -> Finding | None:
    used, most = _number(server, "used_memory"), _number(server, "maxmemory")
    if not most or used < _NEARLY_FULL * most:
        return None
    return Finding(
        "error" if used >= most else "warning",
        "memory",
        f"{used * 100 // most} % of maxmemory is used; full, it takes no callbacks",
        "raise maxmemory, or lower ROLLCALL_EVENTS_MAXLEN",
    )


def append_only(server: Server) -> Finding | None:
    enabled = server.info.get("aof_enabled")
    if enabled is None:
        return _untold("append-only", "appendonly is yes")
    if enabled:
        return None
    lone = not _number(server, "connected_slaves")
    return Finding(
        "error" if lone else "warning",
        "append-only",
        "appendonly is no: when it dies, all since its last snapshot is lost"
        + ("" if lone else ", unless a replica takes over"),
        "set appendonly yes",
    )


def fsync(server: Server) -> Finding | None:
    if not _number(server, "aof_enabled"):
        return None
    how = server.config.get("appendfsync")
    if how is None:
        return _untold("fsync", "appendfsync is everysec or always")
    if how == "no":
        return Finding(
            "warning",
            "fsync",
            "appendfsync is no: a power cut may cost half a minute",
            "set appendfsync everysec, or always",
        )
    cost = "nothing" if how == "always" else "the last second"
    return Finding("ok", "fsync", f"appendfsync is {how}: a power cut costs {cost}")


def disk(server: Server) -> Finding | None:
    if server.info.get("aof_last_write_status", "ok") != "ok":
        what = "its last write to the append-only file failed, and it takes no writes"
    elif server.info.get("aof_last_bgrewrite_status", "ok") != "ok":
        what = "its last rewrite of the append-only file failed, and the file grows"
    elif server.info.get("rdb_last_bgsave_status", "ok") != "ok":
        what = "its last snapshot failed"
    else:
        return None
    # By default it takes no writes after a snapshot that failed.
    goes_on = server.config.get("stop-writes-on-bgsave-error") == "no"
    harmless = what.endswith("grows") or (what.endswith("snapshot failed") and goes_on)
    return Finding(
        "warning" if harmless else "error",
        "disk",
        what,
        "look into its log and at the free space of its disk",
    )


def replicas(server: Server) -> Finding | None:
    wanted = server.wait_replicas
    if not wanted:
        return None
    told = [server.info.get(f"slave{n}") for n in range(_number(server, "connected_slaves"))]
    online = sum(isinstance(one, Mapping) and one.get("state") == "online" for one in told)
    if online >= wanted:
        return Finding("ok", "replicas", f"{online} in sync")
    return Finding(
        "error",
        "replicas",
        f"{online} in sync, and ROLLCALL_WAIT_REPLICAS is {wanted}: every callback is spooled",
        "start replicas, or lower ROLLCALL_WAIT_REPLICAS",
    )


def _number(server: Server, name: str) -> int:
    return int(server.info.get(name) or 0)


def _untold(reason: str, wanted: str) -> Finding:
    return Finding("warning", reason, "it cannot be told", f"make sure that {wanted}")


_CHECKS: tuple[Callable[[Server], Finding | None], ...] = (
    version,
    loading,
    replica,
    clustered,
    evicts,
    memory,
    append_only,
    fsync,
    disk,
    replicas,
)
