"""The broker of the wake-ups: whether it answers, and how it is set up. It carries no data."""

from __future__ import annotations

from dataclasses import replace

from kombu.transport.redis import Channel
from redis import RedisError

from console.doctor.data import REPLY_SECONDS
from console.readiness import check_broker
from schemas.connection import connect
from schemas.errors import StartError
from schemas.redis_urls import kind_of
from schemas.settings import Settings
from schemas.wakeups import celery_config
from workers.notify.outbox import LEASE_MS
from workers.rounds import SLICE_SECONDS
from workers.safety import Finding, Server, judge, servers_of

# Of a broker's Redis, what else is unsafe concerns data alone.
_CONCERNS = {"too-old", "loading", "replica", "eviction", "memory", "disk"}


def look_at_broker(settings: Settings) -> list[Finding]:
    """Ask whether it answers and how it is set up."""
    url = settings.celery_broker_url
    try:
        check_broker(settings)
    except StartError as error:
        what, _, todo = str(error).rstrip(".").rpartition("; ")
        return [Finding("error", "broker", what, todo)]
    own = url != settings.redis_url
    findings = [Finding("ok", "broker", "it answers" if own else "that of REDIS_URL")]
    if kind_of(url) is None:
        return findings
    if own:
        findings += _look_at_redis(replace(settings, redis_url=url))
    options = celery_config(settings)["broker_transport_options"]
    seconds = options.get("visibility_timeout", Channel.visibility_timeout)
    return [*findings, judge_visibility(seconds)]


def _look_at_redis(settings: Settings) -> list[Finding]:
    with connect(settings, timeout=REPLY_SECONDS) as redis:
        try:
            servers = servers_of(redis)
        except RedisError as error:
            told = f"it cannot be told how it is set up ({type(error).__name__})"
            return [Finding("warning", "broker", told, "see what its user may ask")]
    return [found for server in servers for found in judge_broker(server)]


def judge_broker(server: Server) -> list[Finding]:
    return [
        found._replace(
            mark="warning" if found.reason == "eviction" else found.mark,
            reason=f"broker-{found.reason}",
            what=f"the broker: {found.what}",
            todo=found.todo.replace("REDIS_URL", "CELERY_BROKER_URL"),
        )
        for found in judge(server)
        if found.reason in _CONCERNS and found.mark != "ok"
    ]


def judge_visibility(seconds: float) -> Finding:
    # While somebody works on a message for longer than this, it is given to another worker as well
    # (https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html).
    longest = max(SLICE_SECONDS, LEASE_MS / 1000)
    if seconds > longest:
        return Finding("ok", "visibility", f"the visibility timeout is {seconds:g} s")
    return Finding(
        "warning",
        "visibility",
        f"the visibility timeout is {seconds:g} s, and a delivery may take {longest:g} s: wake-ups"
        " come twice",
        "raise it",
    )
