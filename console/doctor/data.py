"""The Redis of the data: whether it answers, the safety of its servers, its clock, its shards.

Asks with commands that change nothing. What may not be asked is a finding, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from redis import BusyLoadingError, Redis, RedisError
from redis.exceptions import NoPermissionError

from console.doctor.shards import look_at_dead, look_at_inboxes, look_at_shards
from schemas.connection import connect
from schemas.settings import Settings
from workers.safety import Finding, judge, masters, servers_of

# For any one answer.
REPLY_SECONDS = 3.0
# Below this nobody's patience is affected: the shortest of ours are 2 s.
_CLOCK_SECONDS = 2.0


def look_at_data(settings: Settings) -> list[Finding]:
    """Ask everything."""
    with connect(settings, timeout=REPLY_SECONDS) as redis:
        try:
            redis.ping()
        except BusyLoadingError:
            return [Finding("error", "loading", "Redis reads its data from disk", "wait for it")]
        except RedisError as error:
            return [
                Finding(
                    "error",
                    "redis",
                    f"REDIS_URL does not answer ({error})",
                    "start Redis, or set REDIS_URL to where it is",
                )
            ]
        return [
            *_asked("servers", lambda: judge_servers(redis, settings)),
            *_asked("clock", lambda: [judge_clock(clock_difference(redis))]),
            *_asked("shards", lambda: [look_at_shards(redis, settings)]),
            *_asked("inboxes", lambda: look_at_inboxes(redis, settings)),
            *_asked("set-aside", lambda: [look_at_dead(redis, settings)]),
        ]


def _asked(reason: str, ask: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return ask()
    except RedisError as error:
        return [
            Finding(
                "warning",
                reason,
                f"it cannot be told ({type(error).__name__}: {error})",
                "see what the user in REDIS_URL may ask",
            )
        ]


def judge_servers(redis: Redis, settings: Settings) -> list[Finding]:
    try:
        servers = servers_of(redis, wait_replicas=settings.wait_replicas)
    except NoPermissionError:
        return [
            Finding(
                "warning",
                "servers",
                "INFO is forbidden: what is unsafe cannot be told, and what Redis loses in a"
                " restart or failover is not deposited again",
                "allow it to the user of REDIS_URL: ACL SETUSER ... +info",
            )
        ]
    return [
        found._replace(what=f"{server.name}: {found.what}" if server.name else found.what)
        for server in servers
        for found in judge(server)
    ]


def clock_difference(redis: Redis) -> float:
    """By how many seconds Redis's clock is ahead of this machine's, at least; of all masters."""
    furthest = 0.0
    for _, node in masters(redis):
        asked = time.time()
        seconds, microseconds = node.time()
        answered = time.time()
        there = seconds + microseconds / 1_000_000
        # It was read at some moment in between.
        ahead = min(0.0, there - asked) or max(0.0, there - answered)
        furthest = max(furthest, ahead, key=abs)
    return furthest


def judge_clock(ahead: float) -> Finding:
    if abs(ahead) <= _CLOCK_SECONDS:
        return Finding("ok", "clock", "Redis's clock is that of this machine")
    side = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "warning",
        "clock",
        f"Redis's clock is {abs(ahead):.1f} s {side} this machine's; Twilio's times are compared"
        " with it",
        "have NTP set the clocks of both",
    )
